"""Pure: a node object as Chef writes it in JSON, read with care and written whole.

What a server sends is not ours: whatever is not as Chef writes it is said in one sentence, and nothing is guessed.

Source: github.com/chef/chef lib/chef/node.rb ``for_json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from chef_failover.chef import limits
from chef_failover.model.needs import DEFAULT_ENVIRONMENT, NodeObject


class NotANodeObjectError(ValueError):
    """The message says what is wrong with it, as words that follow "its node object"."""


def parse(document: Mapping[str, Any]) -> NodeObject:
    """The node object in ``document``, which was JSON.

    Without an empty ``tags`` among the normal attributes, which chef-client adds by itself on the first run.

    Raises:
        NotANodeObjectError: it is none that Chef could have written.
    """
    run_list = document.get("run_list", [])
    if not isinstance(run_list, list) or not all(isinstance(item, str) for item in run_list):
        raise NotANodeObjectError("has a run_list that is not a list of strings")
    environment = document.get("chef_environment", DEFAULT_ENVIRONMENT)
    if not isinstance(environment, str):
        raise NotANodeObjectError("has a chef_environment that is not a string")
    policies = [document.get("policy_name"), document.get("policy_group")]
    if not all(isinstance(policy, str | None) for policy in policies):
        raise NotANodeObjectError("has a policy_name or policy_group that is not a string")
    name, group = (policy or None for policy in policies)
    normal = document.get("normal", {})
    if isinstance(normal, dict) and normal.get("tags") == []:
        normal = {key: value for key, value in normal.items() if key != "tags"}
    return NodeObject(tuple(run_list), environment, name, group, _canonical(normal))


def write(node: NodeObject, name: str) -> dict[str, Any]:
    """The whole object for ``name``: other precedences of attributes empty, since the next run fills them again.

    Servers before 12.3 refuse an object that mentions a policy, so one without a policy does not.
    """
    policies = {"policy_name": node.policy_name, "policy_group": node.policy_group}
    return {
        "name": name,
        "chef_type": "node",
        "json_class": "Chef::Node",
        "chef_environment": node.environment,
        "run_list": list(node.run_list),
        "normal": json.loads(node.normal),
        "default": {},
        "override": {},
        "automatic": {},
        **{key: value for key, value in policies.items() if value is not None},
    }


def filled(document: Mapping[str, Any], node: NodeObject) -> dict[str, Any]:
    """``document``, an object that does nothing, with what ``node`` is to do; what runs have found out stays."""
    name = document.get("name")
    written = write(node, str(name))
    given = {key: written[key] for key in written if key not in ("default", "override", "automatic")}
    return {**document, **given}


def _canonical(normal: object) -> str:
    if not isinstance(normal, dict):
        raise NotANodeObjectError("has normal attributes that are not a JSON object")
    try:
        text = json.dumps(normal, allow_nan=False, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    except (ValueError, RecursionError) as error:
        raise NotANodeObjectError(
            "has normal attributes that are not JSON (infinite number, or nested too deep)"
        ) from error
    if len(text) > limits.NORMAL_CHARACTERS:
        raise NotANodeObjectError(f"has more than {limits.NORMAL_CHARACTERS // 1_000_000} MB of normal attributes")
    return text
