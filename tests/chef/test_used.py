"""What a run used, as its report has it: whole and within bounds, or said to be none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chef_failover.chef import limits, used
from chef_failover.model.run_history import Used

WHOLE = {
    "run_list": ["role[base]", "recipe[web::ssl@1.2.3]"],
    "environment": "production",
    "policy_name": "web",
    "policy_group": "production",
    "policy_revision": "4b3a8f2",
    "cookbooks": {"web": "1.2.3", "yum": "7.4"},
}


def test_all_that_is_told_is_taken():
    assert used.parse(WHOLE | {"more": 5}) == Used(
        ("role[base]", "recipe[web::ssl@1.2.3]"),
        "production",
        "web",
        "production",
        "4b3a8f2",
        {"web": "1.2.3", "yum": "7.4"},
    )


def test_a_node_without_a_policy_or_anything_to_do_has_used_that():
    assert used.parse({"run_list": [], "environment": "_default", "cookbooks": {}}) == Used()


names = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=limits.NAME_CHARACTERS)
numbers = st.integers(0, 10**18 - 1).map(str)
versions = st.lists(numbers, min_size=2, max_size=3).map(".".join)
cookbooks = st.dictionaries(st.from_regex(r"[A-Za-z0-9_.-]{1,200}", fullmatch=True), versions, max_size=5)


policies = st.none() | names


@given(st.builds(Used, st.tuples(names, names), names, policies, policies, policies, cookbooks))
def test_what_is_written_is_read_again(value):
    assert used.parse(json.loads(json.dumps(used.write(value)))) == value


@pytest.mark.parametrize("document", [5, "x", [], True])
def test_what_is_no_object_is_refused(document):
    with pytest.raises(ValueError, match="^used must be null or a JSON object$"):
        used.parse(document)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("run_list", value) for value in (None, "recipe[web]", {}, [5], [""], ["a\nb"], ["x" * 256], ["x"] * 1001)),
        *(("environment", value) for value in (None, 5, "", "a\u202eb", "x" * 256, ["x"])),
        *((key, value) for key in ("policy_name", "policy_group", "policy_revision") for value in (5, "", "x" * 256)),
        *(("cookbooks", value) for value in (None, [], {f"c{number}": "1.0.0" for number in range(5001)})),
    ],
)
def test_what_is_out_of_bounds_is_said_with_its_key(key, value):
    with pytest.raises(ValueError, match=rf"^used\.{key} must be [^;]+$"):
        used.parse(WHOLE | {key: value})


@pytest.mark.parametrize(
    ("name", "version"),
    [
        *(("web", version) for version in (None, "1", "1.2.3.4", "latest", 1.2, ["1.2.3"], "1." + "9" * 19)),
        *((name, "1.0.0") for name in ("", "a b", "x" * 201)),
    ],
)
def test_a_cookbook_that_is_none_is_named(name, version):
    with pytest.raises(ValueError, match=rf"^used.cookbooks: not a cookbook with its version: '{name[:100]}'$"):
        used.parse(WHOLE | {"cookbooks": {"yum": "7.4.13", name: version}})


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(ValueError) as refused:
        used.parse({"cookbooks": {"a": 1}, "policy_name": 5})
    assert [part.split()[0] for part in str(refused.value).split("; ")] == [
        "used.run_list",
        "used.environment",
        "used.policy_name",
        "used.cookbooks:",
    ]
