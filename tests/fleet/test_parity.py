"""What each standby lacks of what main has."""

from chef_failover.cli import fleet_tables
from chef_failover.fleet.parity import Inventory, compare

MAIN = Inventory(
    "main",
    {"policies": {"prod web": "a1", "prod api": "b1"}, "roles": {"base": "d1"}, "cookbooks": {"web 1.0.0": ""}},
    {},
    clients_without_node=("validator",),
)


def test_a_standby_is_told_what_it_lacks_and_what_differs():
    standby = Inventory(
        "b", {"policies": {"prod web": "a2"}, "roles": {"base": "d1", "more": "d2"}, "cookbooks": {}}, {}
    )
    compared = compare([MAIN, standby])
    assert compared["standbys"] == [
        {
            "label": "b",
            "whole": True,
            "lacks": [
                {"title": "policies missing", "count": 1, "names": ["prod api"]},
                {"title": "policies that differ", "count": 1, "names": ["prod web"]},
                {"title": "cookbooks missing", "count": 1, "names": ["web 1.0.0"]},
            ],
        }
    ]
    assert compared["servers"][0]["clients_without_node"] == ["validator"]


def test_a_kind_that_one_of_them_does_not_tell_is_not_held_against_anybody():
    compared = compare([MAIN, Inventory("b", {"roles": {"base": "d1"}}, {"policies": "HTTP 403", "cookbooks": "late"})])
    assert compared["standbys"] == [{"label": "b", "whole": False, "lacks": []}]
    assert compared["servers"][1]["untold"] == {"policies": "HTTP 403", "cookbooks": "late"}


def test_a_standby_with_everything_says_so_in_one_line():
    document = {"sources": [], "nodes": 0, "using": {}, "states": [], "without": None}
    whole = compare([MAIN, Inventory("b", MAIN.kinds, {}, nodes_without_client=("web-1",))])
    assert fleet_tables.report(document | {"parity": whole}).splitlines()[2:] == [
        "b has everything that main has.",
        "",
        "main:",
        "  clients without a node  1  validator",
        "",
        "b:",
        "  nodes without a client  1  web-1",
    ]


def test_one_server_alone_is_compared_with_none():
    assert compare([MAIN])["standbys"] == []
