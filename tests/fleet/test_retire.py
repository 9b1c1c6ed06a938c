"""Nodes removed from several embedded servers at once, while one of them fails."""

import datetime

import pytest

from chef_devserver.state import Ace
from chef_failover.chef.trust import TrustStore
from chef_failover.fleet import credentials, retirement, session
from chef_failover.fleet.asking import Pace
from chef_failover.fleet.retire import Servers
from chef_failover.fleet.retirement import Part
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
        for kept in (server.state.nodes, server.state.acls, server.state.clients, server.requests):
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


def test_clients_go_first_and_what_was_removed_meanwhile_is_gone(fleet):
    main, standby, ask = fleet
    for server in (main, standby):
        register(server, "web-1")
    found = ask().look(["web-1"], now())
    del main.state.nodes["web-1"], main.state.acls["web-1"]
    assert parts(ask().remove(found)) == {"web-1": [("removed", "gone"), WHOLE]}
    asked = [(method, target.split("/")[3]) for method, target, _ in standby.requests]
    assert asked == [("GET", "nodes"), ("GET", "clients"), ("DELETE", "clients"), ("DELETE", "nodes")]


@pytest.mark.parametrize("is_forced", [False, True])
def test_an_object_stays_while_a_server_that_failed_meanwhile_knows_the_client(fleet, is_forced):
    main, standby, ask = fleet
    for server in (main, standby):
        register(server, "web-1", "web-2")
    found = ask().look(["web-1", "web-2"], now())
    standby.stop()
    removed = ask().remove(found, is_forced=is_forced)
    assert parts(removed)["web-2"] == [WHOLE if is_forced else ("removed", "there"), ("there", "there")]
    assert removed["web-2"][1].trouble == "connection refused"
    standby.start()
    again = ask().remove(ask().look(["web-1", "web-2"], now()))
    assert parts(again)["web-1"] == [("gone", "gone" if is_forced else "removed"), WHOLE]
    assert not (main.state.nodes or standby.state.nodes or main.state.clients or standby.state.clients)


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
