"""Nodes removed from several embedded servers at once, while one of them fails."""

import datetime
import json
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from chef_devserver.state import Ace
from chef_failover.chef.answers import Answer
from chef_failover.chef.trust import TrustStore
from chef_failover.fleet import credentials, retirement, session
from chef_failover.fleet.asking import Asker, Pace
from chef_failover.fleet.retire import Servers
from chef_failover.fleet.retirement import Part, Sighting
from tests.support.daemon_process import dev_servers
from tests.support.fleet import fill, write_credentials

NOBODY = Ace(frozenset(), frozenset())
WHOLE = ("removed", "removed")


@pytest.fixture(scope="module")
def whole_fleet(tmp_path_factory):
    """Two embedded servers, and what makes the `Servers` that ask them."""
    folder = tmp_path_factory.mktemp("fleet")
    with dev_servers("main", "standby") as servers:
        accounts = credentials.from_profiles(write_credentials(folder, servers), ["main", "standby"], {})
        trust = TrustStore((folder / "trusted_certs",))

        def ask():
            pace = Pace(1e6, sleep=lambda _: None)
            return Servers([session.begin(one, trust, None, pace, 30.0) for one in accounts])

        yield (*servers, ask)


@pytest.fixture
def fleet(whole_fleet):
    """The same, with nothing on the servers, and with nothing asked so far."""
    for server in whole_fleet[:2]:
        for kept in (
            server.state.nodes,
            server.state.acls,
            server.state.clients,
            server.state.administrators,
            server.requests,
        ):
            kept.clear()
        server.start()
    return whole_fleet


def register(server, *names):
    for name in names:
        server.register(name, "a key")
    fill(server, names, age_s=90000)


def now():
    return datetime.datetime.now(datetime.UTC)


def parts(sightings):
    return {name: [(one.client, one.node) for one in row] for name, row in sightings.items()}


def test_client_and_object_go_from_every_server_and_are_gone_the_next_time(fleet):
    main, standby, ask = fleet
    register(main, "web-1", "web-2", "stays")
    standby.register("web-1", "a key")
    fill(standby, ["web-2"], age_s=90000)
    found = ask().look(["web-1", "web-2", "never"], now())
    assert {one.seen_at is not None for one in found["web-1"]} == {True, False}
    assert parts(ask().remove(found)) == {
        "web-1": [WHOLE, ("removed", "gone")],
        "web-2": [WHOLE, ("gone", "removed")],
        "never": [("gone", "gone")] * 2,
    }
    assert [(*server.state.nodes, *server.state.clients) for server in (main, standby)] == [("stays", "stays"), ()]
    assert all(retirement.is_gone(one) for one in ask().look(["web-1", "web-2"], now()).values())


def test_the_client_goes_first_and_what_was_removed_meanwhile_is_gone(fleet):
    main, standby, ask = fleet
    for server in (main, standby):
        register(server, "web-1")
    found = ask().look(["web-1"], now())
    del main.state.nodes["web-1"], main.state.acls["web-1"]
    assert parts(ask().remove(found)) == {"web-1": [("removed", "gone"), WHOLE]}
    asked = [(method, target.split("/")[3]) for method, target, _ in standby.requests]
    assert asked == [
        ("GET", "nodes"),
        ("GET", "clients"),
        ("GET", "groups"),
        ("DELETE", "clients"),
        ("DELETE", "nodes"),
    ]


def test_what_a_run_has_saved_stays_while_something_is_left_elsewhere(fleet):
    main, standby, ask = fleet
    register(main, "web-1", "web-2")
    for name in ("web-1", "web-2"):
        standby.register(name, "a key")
    standby.put_node("web-1")
    found = ask().look(["web-1", "web-2"], now())
    standby.stop()
    removed = ask().remove(found)
    assert parts(removed) == {"web-1": [("there", "there")] * 2, "web-2": [("there", "there"), ("there", "gone")]}
    assert removed["web-2"][1].trouble == "connection refused"
    forced = ask().remove(ask().look(["web-2"], now()))
    assert parts(forced) == {"web-2": [WHOLE, ("unknown", "unknown")]}, "its trouble was known before"
    standby.start()
    assert parts(ask().remove(ask().look(["web-1"], now()))) == {"web-1": [WHOLE, WHOLE]}


def test_each_server_whose_object_a_run_has_saved_is_done_by_itself(fleet):
    main, standby, ask = fleet
    for server in (main, standby):
        register(server, "web-1")
    found = ask().look(["web-1"], now())
    standby.stop()
    assert parts(ask().remove(found)) == {"web-1": [WHOLE, ("there", "there")]}
    standby.start()
    assert parts(ask().remove(ask().look(["web-1"], now()))) == {"web-1": [("gone", "gone"), WHOLE]}


def test_a_server_that_is_down_is_asked_once(fleet):
    main, standby, ask = fleet
    register(main, "web-1", "web-2")
    standby.stop()
    found = ask().look([f"web-{number}" for number in range(20)], now())
    assert {one[1].trouble for one in found.values()} == {"connection refused"}
    assert found["web-1"][0].client is Part.THERE


def test_a_right_that_lacks_is_told_with_who_has_it_and_costs_one_node(fleet):
    main, _, ask = fleet
    register(main, "web-1", "web-2")
    main.state.acls["web-1"]["delete"] = NOBODY
    removed = ask().remove(ask().look(["web-1", "web-2"], now()))
    assert parts(removed) == {"web-1": [("removed", "there"), ("gone", "gone")], "web-2": [WHOLE, ("gone", "gone")]}
    may = "an administrator of the organization may do that (group admins)"
    assert removed["web-1"][0].trouble == f"HTTP 403: missing delete permission; {may}"
    main.state.acls["web-1"]["read"] = NOBODY
    assert ask().look(["web-1"], now())["web-1"][0].trouble.startswith("HTTP 403: missing read permission")


def test_a_validator_of_any_name_is_known(fleet):
    main, _, ask = fleet
    main.register("bootstrap", "a key")
    main.state.validators.add("bootstrap")
    assert [one.is_privileged for one in ask().look(["bootstrap"], now())["bootstrap"]] == [True, False]


def test_administrators_are_those_of_the_group_which_is_read_once(fleet):
    main, standby, ask = fleet
    for name in ("boss", "web-1"):
        main.register(name, "a key")
    main.state.administrators.add("boss")
    found = ask().look(["boss", "web-1", "never"], now())
    assert {name: row[0].is_privileged for name, row in found.items()} == {"boss": True, "web-1": False, "never": False}
    assert [target for _, target, _ in main.requests if "/groups" in target] == ["/organizations/default/groups/admins"]
    assert not [target for _, target, _ in standby.requests if "/groups/" in target]


class Scripted:
    """Has the client web-1, and gives these answers for groups: status and body by the group's name."""

    def __init__(self, groups: Any, organization: str = "/organizations/acme") -> None:
        url = f"https://main.example.com{organization}"
        self.account = SimpleNamespace(label="main", user="admin", chef_server_url=url)
        self.asker = Asker(cast("Any", self), lambda protocol: None, "admin", Pace(1e6, sleep=lambda _: None))
        self.target = SimpleNamespace(chef_server_url=url)
        self._groups = groups

    def open(self):
        return nullcontext(self)

    def request(self, _method, url, *_, **__):
        path = urlsplit(url).path
        kind, name = path.split("/")[-2:]
        objects: Any = {"clients": (200, {"name": "web-1"}), "nodes": (404, {"error": [f"node '{name}' not found"]})}
        status, body = self._groups[name] if kind == "groups" else objects[kind]
        return Answer(status, {}, json.dumps(body).encode() if isinstance(body, dict) else body, path)


def group(name, **members):
    return 200, {"name": name, "actors": [], "clients": [], "groups": [], **members}


@pytest.mark.parametrize(
    ("groups", "is_privileged", "trouble"),
    [
        ({"admins": group("admins", clients=["web-1"])}, True, None),
        ({"admins": group("admins", actors=["web-1"], clients=None, groups=[7])}, True, None),
        ({"admins": group("admins", groups=["a"]), "a": group("a", groups=["admins"], clients=["web-1"])}, True, None),
        ({"admins": group("admins", groups=[str(one) for one in range(99)])}, False, "more than 20 groups are in"),
        ({"admins": group("admins", clients=["web-10"])}, False, None),
        ({"admins": (404, {"error": ["Cannot load group admins"]})}, False, None),
        ({"admins": (404, b"<HTML>Not Found</HTML>")}, False, "HTTP 404 Not Found: not an answer of a Chef server"),
        ({"admins": (200, b"")}, False, "HTTP 200 OK: empty body"),
        ({"admins": (200, b"welcome")}, False, "HTTP 200 OK: not an answer of a Chef server"),
        ({"admins": (404, b"<title>Chef - 404 Not Found</title>")}, False, "HTTP 404 Not Found: nginx answers"),
        ({"admins": (403, {"error": ["missing read permission"]})}, False, "HTTP 403: missing read permission; an"),
    ],
)  # fmt: skip
def test_a_server_that_has_groups_tells_who_is_in_them(groups, is_privileged, trouble):
    servers = Servers([cast("Any", Scripted(groups))])
    first, again = (servers.look(["web-1"], now())["web-1"][0] for _ in range(2))
    assert first.is_privileged is again.is_privileged is is_privileged
    if trouble is None:
        assert first.trouble is again.trouble is None
    else:
        assert first.trouble.startswith(f"it does not tell who is an administrator: {trouble}")
        assert trouble in again.trouble


def test_a_server_without_organizations_has_no_groups_and_no_rights():
    servers = Servers([cast("Any", Scripted({}, ""))])
    (found,) = servers.look(["web-1"], now(), with_rights=True)["web-1"]
    assert found == Sighting("main", Part.THERE)


def test_whose_an_object_is_says_the_list_of_its_rights(fleet):
    main, _, ask = fleet
    register(main, "web-1", "web-2", "web-3")
    main.put_node("web-2", created_by="web-1", automatic={"ohai_time": 1.0})
    main.state.add_client("web-3", "the key of another client of that name")
    names = ["web-1", "web-2", "web-3"]
    assert all(row[0].is_own for row in ask().look(names, now()).values()), "it is not asked for"
    fill(main, ["web-4"])
    main.put_node("web-1", created_by="web-2")
    names.append("web-4")
    assert [row[0].is_own for row in ask().look(names, now(), with_rights=True).values()] == [True, False, False, True]
    asked = [target.split("/")[4] for _, target, _ in main.requests if target.endswith("/_acl")]
    assert asked == ["web-2", "web-3"], "no run has saved web-1, and web-4 has no client"
