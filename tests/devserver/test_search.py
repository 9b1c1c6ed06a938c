"""The search of the embedded Chef servers: queries, merged attributes, and the limits of an index."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from chef_devserver import search
from chef_devserver.call import Call
from chef_devserver.documents import bad_body, node_object
from chef_devserver.front import route
from chef_devserver.messages import Request
from chef_devserver.state import ChefState
from chef_failover.chef.libcrypto import PrivateKey

ACME = "/organizations/acme"


@pytest.fixture
def state():
    state = ChefState("acme")
    nodes: dict[str, Any] = {
        "web-1": {"automatic": {"kernel": {"name": "Linux"}, "ipaddress": "10.0.0.1"}},
        "web-2": {"normal": {"app": {"port": 80, "tls": True}}, "default": {"app": {"port": 1, "name": "shop"}}},
        "db[1]": {"chef_environment": "prod-1", "automatic": {"tags": ["a", "b"]}},
    }
    for name, more in nodes.items():
        state.nodes[name] = node_object(name, more)
    return state


def asked(query="*:*", wanted=None, **page):
    more = "".join(f"&{key}={value}" for key, value in page.items())
    method, body = ("GET", b"") if wanted is None else ("POST", json.dumps(wanted).encode())
    request = Request(method, f"{ACME}/search/node?q={quote(query)}{more}", body=body)
    return Call(request, route(request), 1, PrivateKey.generate)


def answered(state, *arguments, **page):
    response = search.answer(state, asked(*arguments, **page))
    return response.status, json.loads(response.body)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("*:*", {"web-1", "web-2", "db[1]"}),
        ("name:web-?", {"web-1", "web-2"}),
        ("name:web\\-1", {"web-1"}),
        ("name:db\\[1\\]", {"db[1]"}),
        ("NOT name:web-*", {"db[1]"}),
        ("name:web-* NOT name:web-2", {"web-1"}),
        ("(name:web-1 OR name:db*) AND chef_environment:prod\\-1", {"db[1]"}),
        ("name:web-1 OR name:web-2 AND app_port:80", {"web-1", "web-2"}),
        ("app_port:80", {"web-2"}),
        ("app_port:1", set()),
        ("port:80", {"web-2"}),
        ("app:tls", {"web-2"}),
        ("app_tls:true", {"web-2"}),
        ("name:Linux", {"web-1"}),
        ("kernel_name:Linux", {"web-1"}),
        ("tags:b", {"db[1]"}),
        ("ipaddress:10.0.0.*", {"web-1"}),
        (f"X_CHEF_id_CHEF_X:*{search.object_id('web-2')[-3:]}", {"web-2"}),
    ],
)
def test_queries(state, query, names):
    status, found = answered(state, query)
    assert (status, {row["name"] for row in found["rows"]}, found["total"]) == (200, names, len(names))


@pytest.mark.parametrize("query", ["", "web", "(name:a", "name:a)", "name:a AND", "NOT"])
def test_what_is_no_query_is_refused(state, query):
    assert answered(state, f"{query} ")[0] == 400


def test_a_partial_search_gives_paths_of_merged_attributes(state):
    wanted = {"name": ["name"], "app": ["app"], "port": ["app", "port"], "gone": ["app", "no", "such"], "empty": []}
    _, found = answered(state, "name:web-2", wanted)
    (row,) = found["rows"]
    assert row["url"].endswith(f"{ACME}/nodes/web-2")
    assert row["data"] == {
        "name": "web-2", "app": {"port": 80, "tls": True, "name": "shop"}, "port": 80, "gone": None, "empty": None,
    }  # fmt: skip


def test_pages_are_sorted_by_id_and_end_with_the_window(state, monkeypatch):
    pages = [answered(state, start=start, rows=2)[1] for start in (0, 2)]
    names = [row["name"] for page in pages for row in page["rows"]]
    assert names == sorted(state.nodes, key=search.object_id)
    assert [page["total"] for page in pages] == [3, 3]
    monkeypatch.setattr(search, "WINDOW", 2)
    assert answered(state, rows=2)[1]["total"] == 2
    assert answered(state, start=1, rows=2)[0] == 500
    assert answered(state, rows=0)[1]["rows"] == []


def test_an_index_that_is_down_or_does_not_know_such_objects_is_an_error(state):
    call = asked()
    assert (
        search.answer(state, Call(call.request, call.route, 1, call.new_key, frozenset({"chef_opensearch"}))).status
        == 500
    )
    request = Request("GET", f"{ACME}/search/cars?q=*:*")
    assert search.answer(state, Call(request, route(request), 1, call.new_key)).status == 404


@pytest.mark.parametrize(
    ("wanted", "is_bad"), [({"a": ["b"]}, False), ({}, False), ({"a": "b"}, True), ({"a": [1]}, True)]
)
def test_the_body_of_a_partial_search(wanted, is_bad):
    assert (bad_body(asked("*:*", wanted)) is not None) is is_bad
