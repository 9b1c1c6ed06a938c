import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chef_failover.chef import limits
from chef_failover.chef.node_document import NotANodeObjectError, parse, write
from chef_failover.model.needs import NodeObject

WHOLE = {
    "name": "web-1",
    "chef_type": "node",
    "json_class": "Chef::Node",
    "chef_environment": "staging",
    "run_list": ["recipe[web]", "role[base]"],
    "normal": {"tags": ["a"], "app": {"port": 80}},
    "default": {"x": 1},
    "override": {},
    "automatic": {"fqdn": "web-1.example.com"},
    "policy_name": "web",
    "policy_group": "prod",
}


def test_what_is_kept_of_a_whole_object():
    assert parse(WHOLE) == NodeObject(
        ("recipe[web]", "role[base]"), "staging", "web", "prod", '{"app":{"port":80},"tags":["a"]}'
    )


def test_what_is_written_is_chef_s_whole_shape_with_nothing_of_the_last_run():
    assert write(parse(WHOLE), "web-1") == {**WHOLE, "default": {}, "automatic": {}}


def test_an_object_without_a_policy_mentions_none():
    assert not {"policy_name", "policy_group"} & write(NodeObject(), "web-1").keys()


@pytest.mark.parametrize(
    ("document", "node"),
    [
        ({}, NodeObject()),
        ({"policy_name": None, "policy_group": ""}, NodeObject()),
        ({"normal": {"b": 1, "a": 2}}, NodeObject(normal='{"a":2,"b":1}')),
    ],
)
def test_what_an_object_may_leave_out(document, node):
    assert parse(document) == node


def deep(levels):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"run_list": "recipe[web]"}, "run_list"),
        ({"run_list": {"0": "recipe[web]"}}, "run_list"),
        ({"run_list": ["recipe[web]", 5]}, "run_list"),
        ({"run_list": None}, "run_list"),
        ({"chef_environment": None}, "chef_environment"),
        ({"chef_environment": 5}, "chef_environment"),
        ({"policy_name": ["web"]}, "policy_name"),
        ({"policy_group": {}}, "policy_group"),
        ({"normal": []}, "normal attributes"),
        ({"normal": None}, "normal attributes"),
        ({"normal": {"a": float("nan")}}, "not JSON"),
        ({"normal": {"a": float("inf")}}, "not JSON"),
        ({"normal": deep(100_000)}, "not JSON"),
        ({"normal": {"a": "x" * limits.NORMAL_CHARACTERS}}, "more than 4 MB"),
    ],
    ids=lambda value: None,
)
def test_what_is_no_node_object_is_said(document, words):
    with pytest.raises(NotANodeObjectError, match=words):
        parse(document)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
KEYS = ["run_list", "chef_environment", "policy_name", "policy_group", "normal"]


@given(st.dictionaries(st.sampled_from(KEYS), json_values))
def test_whatever_json_a_server_sends_is_an_object_or_a_sentence(document):
    try:
        node = parse(document)
    except NotANodeObjectError as error:
        assert str(error).startswith("has ")
        return
    written = json.loads(json.dumps(write(node, "web-1"), allow_nan=False))
    assert parse(written) == node
