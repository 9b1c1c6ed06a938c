"""What each standby lacks of what main has."""

import json
from typing import Any

import pytest

from chef_failover.chef.answers import Answer
from chef_failover.cli import fleet_tables
from chef_failover.errors import SearchError
from chef_failover.fleet import inventory
from chef_failover.fleet.asking import Asker
from chef_failover.fleet.parity import KINDS, Inventory, compare
from chef_failover.printable import printable_values

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


class Said(Answer):
    """An answer whose body is parsed already."""

    @property
    def document(self):
        return self.body


class Server(Asker):
    """A Chef server that says what it likes to each path, and refuses those that it has no answer to."""

    def __init__(self, answers):
        self.answers = answers

    def ask(self, method, path, document, judge):
        assert (method, document) == ("GET", None)
        if path not in self.answers:
            raise SearchError("HTTP 403")
        return Said(200, {}, self.answers[path])


NO_UTF_8 = "web-\ud800"
ENDLESS: dict[str, Any] = {}
for _ in range(100_000):
    ENDLESS = {"a": ENDLESS}
WELL = {
    "policy_groups": {}, "cookbooks?num_versions=all": {}, "roles": {}, "environments": {}, "data": {},
    "clients": {"web-1": ""}, "nodes": {"web-1": ""},
}  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "kinds"),
    [
        ({"roles": {NO_UTF_8: ""}}, ["roles"]),
        ({"roles": {"a": ""}, "roles/a": ENDLESS}, ["roles"]),
        ({"data": {NO_UTF_8: ""}}, ["data bag items"]),
        ({"data": {"a": ""}, "data/a": {NO_UTF_8: ""}}, ["data bag items"]),
        ({"cookbooks?num_versions=all": {"a": 7}}, ["cookbooks"]),
        ({"policy_groups": {"a": {"policies": {"b": {}}}}}, ["policies"]),
        ({"policy_groups": {"a": 7}}, ["policies"]),
    ],
)
def test_what_no_chef_server_says_costs_its_own_kind_and_no_other(answers, kinds):
    found = inventory.read("b", Server(WELL | answers))
    assert found.untold == dict.fromkeys(kinds, "not an answer of a Chef server")
    assert {*found.kinds} == {*KINDS} - {*kinds}
    json.dumps(compare([MAIN, found]))


def test_clients_and_nodes_whose_names_are_no_utf_8_are_told():
    found = inventory.read("b", Server(WELL | {"clients": {NO_UTF_8: ""}, "nodes": {f"{NO_UTF_8}-2": ""}}))
    assert (found.clients_without_node, found.nodes_without_client) == ((NO_UTF_8,), (f"{NO_UTF_8}-2",))
    document = {"sources": [], "nodes": 0, "using": {}, "states": [], "without": None}
    text = fleet_tables.report(printable_values(document | {"parity": compare([MAIN, found])}))
    assert "web- " in text
    text.encode()


def test_a_kind_that_is_refused_is_told_and_clients_with_it():
    found = inventory.read("b", Server({path: said for path, said in WELL.items() if path not in ("roles", "nodes")}))
    assert found.untold == {"roles": "HTTP 403", "clients": "HTTP 403"}
