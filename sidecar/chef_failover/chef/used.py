"""Pure: what a run used, as the shim tells it at the run's end and as state.json keeps it: read with care.

A report has to be whole, since a standby is compared with it: what is not as chef-client has it is said, and no part of
it is used.

Source: github.com/chef/chef lib/chef/node.rb ``set_cookbook_attribute``, lib/chef/policy_builder/policyfile.rb.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from chef_failover.chef import limits
from chef_failover.chef.answers import is_cookbook, is_version
from chef_failover.model.run_history import Used

_POLICY = ("policy_name", "policy_group", "policy_revision")


def parse(document: object) -> Used:
    """What ``document`` says, which was JSON. More keys are taken and not used.

    Raises:
        ValueError: with everything that is wrong, in one message.
    """
    if not isinstance(document, Mapping):
        raise ValueError("used must be null or a JSON object")
    if problems := list(_problems(document)):
        raise ValueError("; ".join(problems))
    name, group, revision = (document.get(key) for key in _POLICY)
    return Used(
        tuple(document["run_list"]), document["environment"], name, group, revision, dict(document["cookbooks"])
    )


def write(used: Used) -> dict[str, Any]:
    """``used`` as `parse` reads it."""
    return attrs.asdict(used)


def _problems(document: Mapping[str, Any]) -> Iterator[str]:
    text = f"a string of 1 to {limits.NAME_CHARACTERS} characters"
    items, cookbooks = document.get("run_list"), document.get("cookbooks")
    if not isinstance(items, list) or len(items) > limits.RUN_LIST_ITEMS or not all(map(_is_text, items)):
        yield f"used.run_list must be a list of at most {limits.RUN_LIST_ITEMS} items, each {text}"
    if not _is_text(document.get("environment")):
        yield f"used.environment must be {text}"
    yield from (
        f"used.{key} must be null or {text}"
        for key in _POLICY
        if document.get(key) is not None and not _is_text(document[key])
    )
    if not isinstance(cookbooks, Mapping) or len(cookbooks) > limits.COOKBOOKS:
        yield f"used.cookbooks must be an object of at most {limits.COOKBOOKS} versions, by the cookbook's name"
    elif odd := [name for name, version in cookbooks.items() if not (is_cookbook(name) and is_version(version))]:
        yield f"used.cookbooks: not a cookbook with its version: {str(odd[0])[:100]!r}"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= limits.NAME_CHARACTERS and value.isprintable()
