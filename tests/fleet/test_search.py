"""All nodes of a Chef server, on embedded ones that show no more than an index does."""

import datetime

import pytest

from chef_devserver import search as index
from chef_devserver.faults import Fault
from chef_failover.chef.https import ChefServer, Target
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.lookup import Resolver
from chef_failover.chef.signing import ChefAuth
from chef_failover.chef.trust import TrustStore
from chef_failover.errors import SearchError
from chef_failover.fleet import search
from chef_failover.fleet.asking import Asker, Pace
from chef_failover.fleet.reading import Reading
from chef_failover.fleet.search import EVERYTHING, NodeSearch
from tests.support.chef import URL, made_up
from tests.support.daemon_process import dev_servers
from tests.support.fleet import facts, fill

ON = datetime.datetime.now(datetime.UTC)
SLEPT: list[float] = []


@pytest.fixture
def server():
    with dev_servers("main") as (server,):
        yield server


@pytest.fixture
def searcher(server, tmp_path):
    SLEPT.clear()

    def make(server=server, key=None):
        key = key or server.administrator_key
        ca_file = tmp_path / f"{server.port}.pem"
        ca_file.write_bytes(server.ca_pem)
        target = Target(server.chef_server_url, 30.0, ca_file)
        chef_server = ChefServer(target, Resolver(), TrustStore(()))
        pace = Pace(1e6, sleep=SLEPT.append)
        return NodeSearch(Asker(chef_server, lambda protocol: ChefAuth("admin", key, protocol), "admin", pace))

    return make


@pytest.fixture
def small(monkeypatch):
    """A server and a search whose window is 40 results, by pages of 5."""
    for module in (index, search):
        monkeypatch.setattr(module, "WINDOW", 40)
    monkeypatch.setattr(search, "PAGE", 5)


def read(searcher, query=EVERYTHING):
    return [row["name"] for rows in searcher.pages(query) for row in rows]


def test_a_page_has_what_the_nodes_publish(server, searcher):
    server.put_node("bare")
    fill(server, ["web-1"], facts())
    rows = {row["name"]: row for rows in searcher().pages(EVERYTHING) for row in rows}
    assert rows["web-1"]["servers"] == facts()["servers"]
    assert (rows["web-1"]["server"], rows["web-1"]["degraded"]) == ("mainserver", False)
    assert {key: value for key, value in rows["bare"].items() if value is not None} == {"name": "bare"}
    assert read(searcher(), "name:web*") == ["web-1"]
    assert read(searcher(), "chef_failover:*") == ["web-1"]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("count", [0, 1, 5, 39, 40, 41, 300])
def test_what_is_more_than_a_search_shows_is_read_whole(server, searcher, count):
    names = [f"node-{number}" for number in range(count)]
    fill(server, names)
    assert sorted({*read(searcher())}) == sorted(names)


@pytest.mark.usefixtures("small")
def test_a_part_that_is_still_too_large_is_split_again(server, searcher):
    fill(server, [f"node-{number}" for number in range(1000)])
    assert len({*read(searcher())}) == 1000
    queries = [target for _, target, _ in server.requests if "X_CHEF_id_CHEF_X%3A%2A00" in target]
    assert queries


@pytest.mark.usefixtures("small")
def test_a_query_of_ones_own_is_split_as_a_whole(server, searcher):
    fill(server, [f"{kind}-{number}" for kind in ("web", "db", "job") for number in range(60)])
    assert len({*read(searcher(), "name:web-* OR name:db-*")}) == 120


@pytest.mark.usefixtures("small")
def test_what_cannot_be_split_further_is_an_error(server, searcher, monkeypatch):
    monkeypatch.setattr(index, "object_id", lambda name: "0" * 48)
    fill(server, [f"node-{number}" for number in range(50)])
    with pytest.raises(SearchError, match=r"X_CHEF_id_CHEF_X:\*000 finds 40 nodes or more, and cannot be split"):
        read(searcher())


@pytest.mark.usefixtures("small")
def test_where_ids_cannot_be_searched_the_environments_split_it(server, searcher, monkeypatch):
    monkeypatch.setattr(index, "object_id", lambda name: name + "!")
    server.state.environments |= {"prod-1", "empty"}
    for environment in ("_default", "prod-1"):
        for number in range(30):
            server.put_node(f"{environment}-{number}", chef_environment=environment)
    assert len({*read(searcher())}) == 60


def test_a_server_that_lets_nobody_in_is_told_at_once(server, searcher):
    with dev_servers("other") as (other,):
        stranger = searcher(key=other.administrator_key)
        server.administrator_key  # noqa: B018 - known by another key
        with pytest.raises(SearchError, match="HTTP 401: Invalid signature"):
            stranger.names()
    assert SLEPT == []


def test_an_old_server_is_asked_in_its_own_signing_protocol(server, searcher):
    server.put_node("web-1")
    server.state.protocols = frozenset({"1.0", "1.1"})
    one = searcher()
    assert (one.names(), read(one)) == ({"web-1"}, ["web-1"])
    assert [status for _, _, status in server.requests] == [400, 200, 200]


def test_what_fails_is_asked_again_and_then_given_up(server, searcher):
    server.stop()
    with pytest.raises(SearchError, match="connection refused"):
        searcher().names()
    assert SLEPT == [2.0, 4.0]


@pytest.mark.parametrize(("asked", "slept"), [("7", [7.0, 7.0]), ("1", [2.0, 4.0]), ("9999", [60.0, 60.0])])
def test_a_server_that_is_busy_is_asked_when_it_says(chef, asked, slept):
    chef.get(f"{URL}/nodes", status=503, headers={"Retry-After": asked})
    SLEPT.clear()
    key = PrivateKey.generate()
    asker = Asker(made_up(), lambda protocol: ChefAuth("admin", key, protocol), "admin", Pace(1e6, sleep=SLEPT.append))
    with pytest.raises(SearchError, match="HTTP 503"):
        NodeSearch(asker).names()
    assert [seconds for seconds in SLEPT if seconds >= 1] == slept


def test_requests_are_paced():
    now, slept = [100.0], []

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    pace = Pace(4.0, lambda: now[0], sleep)
    for _ in range(3):
        pace.wait()
    now[0] += 10.0
    pace.wait()
    pace.wait()
    assert slept == [0.25, 0.25, 0.25]


# Several servers.


def reading(query=EVERYTHING):
    told = []
    return Reading(query, datetime.datetime.now(datetime.UTC), lambda more, done: told.append((more, done))), told


def test_of_a_node_on_two_servers_the_newest_object_counts(searcher):
    with dev_servers("main", "standby") as (main, standby):
        fill(main, ["moved", "stayed"], facts(), age_s=4000)
        fill(standby, ["moved"], facts("standbyserver"), age_s=60)
        fill(standby, ["stayed"], facts("standbyserver"), age_s=9000)
        found, told = reading()
        sources = found.read([(one.name, one.chef_server_url, searcher(one)) for one in (main, standby)])
        used = {name: node.facts.server for name, node in found.nodes.items()}
    assert used == {"moved": "standbyserver", "stayed": "mainserver"}
    assert [(source.read, source.known, source.is_whole) for source in sources] == [(2, 2, True), (2, 2, True)]
    assert (sum(more for more, _ in told), sum(done for _, done in told)) == (4, 4)


@pytest.mark.usefixtures("small")
def test_a_node_that_slips_from_page_to_page_is_asked_for_by_name(server, searcher):
    """One that was read already is deleted, and each later page begins with the node after the next."""
    names = sorted((f"node-{number}" for number in range(12)), key=index.object_id)
    fill(server, names)
    made = searcher()
    pages = made.pages

    def disturbed(query):
        for rows in pages(query):
            yield rows
            server.state.nodes.pop(names[0], None)

    made.pages = disturbed
    one, _ = reading()
    (source,) = one.read([("main", server.chef_server_url, made)])
    assert sorted(one.nodes) == sorted(names)
    assert source.is_whole
    assert sum("name%3A" in target for _, target, _ in server.requests) == 1


def test_a_node_that_the_search_does_not_find_is_named(server, searcher):
    fill(server, ["web-1", "web-2", "lost"])
    server.state.unindexed.add("lost")
    one, _ = reading()
    (source,) = one.read([("main", server.chef_server_url, searcher())])
    assert (source.read, source.known, source.unindexed, source.is_whole) == (2, 3, ("lost",), False)


class Rows(NodeSearch):
    """A search of a server that says what it likes."""

    def __init__(self, *rows):
        self.rows = rows

    def names(self):
        return frozenset({"web-1"})

    def pages(self, query):
        assert query == EVERYTHING
        yield self.rows

    def named(self, names):
        assert names == []
        yield from ()


def test_a_row_that_is_no_node_is_told_and_the_others_are_read():
    one, _ = reading()
    far = {"name": "web-1", "seen": 10**400, "server": "liar", "available": True}
    true = {"name": "web-1", "seen": ON.timestamp(), "server": "mainserver", "available": True}
    sources = one.read([("b", "https://b", Rows(None, 7, {"name": 7}, far)), ("main", URL, Rows(true))])
    assert one.nodes["web-1"].facts.server == "mainserver"
    assert [source.trouble for source in sources] == ["a row of the search has no name", None]
    assert [(source.read, source.is_whole) for source in sources] == [(1, False), (1, True)]


def test_a_name_that_is_no_utf_8_is_asked_for_all_the_same(server, searcher):
    fill(server, ["web-1"])
    one = searcher()
    assert [row["name"] for rows in one.named(["web-1", "\ud800"]) for row in rows] == ["web-1"]


def test_a_row_without_data_is_no_node_and_is_handed_on(chef):
    chef.post(f"{URL}/search/node", json={"total": 3, "rows": [{"data": {"name": "a"}}, {"url": "b"}, None]})
    asker = Asker(made_up(), lambda protocol: ChefAuth("admin", PrivateKey.generate(), protocol), "admin", Pace(1e6))
    assert [*NodeSearch(asker).pages(EVERYTHING)] == [[{"name": "a"}, None, None]]


def test_a_server_that_dies_meanwhile_costs_no_more_than_its_own_rest(server, searcher):
    fill(server, ["web-1"])
    with dev_servers("dying") as (dying,):
        fill(dying, [f"db-{number}" for number in range(500)])
        dying.fault = Fault.RESET_MID_BODY
        one, _ = reading()
        sources = one.read(
            [("main", server.chef_server_url, searcher()), ("dying", dying.chef_server_url, searcher(dying))]
        )
    assert [source.is_whole for source in sources] == [True, False]
    assert sources[1].trouble
    assert [*one.nodes] == ["web-1"]
