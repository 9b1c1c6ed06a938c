"""Pure: the bodies that erchef takes, and its words for those that it does not.

Sources: github.com/chef/chef-server chef_node.erl, chef_client.erl, chef_key_base.erl, chef_regex.erl,
chef_object_base.erl (``strictly_valid``, ``normalize_run_list``) and chef_wm_malformed.erl.
"""

from __future__ import annotations

import json
import re
from typing import Any

from chef_devserver import authentication, rights, search
from chef_devserver.call import Call
from chef_devserver.messages import Response, error_response

_EMPTY_NODE: dict[str, Any] = {
    "chef_environment": "_default",
    "json_class": "Chef::Node",
    "chef_type": "node",
    "automatic": {},
    "normal": {},
    "default": {},
    "override": {},
    "run_list": [],
}
_NODE_KEYS = {"name", *_EMPTY_NODE, "policy_name", "policy_group"}
_PATTERNS = {
    "name": r"[.A-Za-z0-9_:-]+",
    "chef_environment": r"[.A-Za-z0-9_-]+",
    "json_class": "Chef::Node",
    "chef_type": "node",
    "policy_name": r"[.A-Za-z0-9_:-]{1,255}",
    "policy_group": r"[.A-Za-z0-9_:-]{1,255}",
}
_NAME = r"[.A-Za-z0-9_-]+"
_RECIPE = rf"({_NAME}::)?{_NAME}(@\d+(\.\d+){{1,2}})?"
_RUN_LIST_ITEM = re.compile(rf"role\[{_NAME}\]|recipe\[{_RECIPE}\]|{_RECIPE}")
_CLIENT_RULE = "Malformed client name.  Must be A-Z, a-z, 0-9, _, -, or ."


def node_object(name: str, attributes: dict[str, Any]) -> dict[str, Any]:
    """A whole node object: ``attributes`` over those of an empty node, its run list written out."""
    node = {"name": name, **_EMPTY_NODE, **attributes}
    run_list = (item if item.startswith(("role[", "recipe[")) else f"recipe[{item}]" for item in node["run_list"])
    return {**node, "run_list": list(dict.fromkeys(run_list))}


def bad_body(call: Call) -> Response | None:
    """400: why the body is of no use; None when it is, or when none is expected."""
    if call.request.method not in ("POST", "PUT"):
        return None
    try:
        content = json.loads(call.request.body)
    except ValueError:
        return error_response(400, "invalid JSON")
    if not isinstance(content, dict):
        return error_response(400, "Incorrect JSON type for request body")
    if call.route.resource[0] == "search":
        message = search.bad_body(content)
    elif call.route.permission:
        message = rights.bad_change(call.route.permission, content)
    else:
        message = _bad_node(call, content) if call.route.resource[0] == "nodes" else _bad_client(call, content)
    return error_response(400, message) if message else None


def _bad_node(call: Call, node: dict[str, Any]) -> str | None:
    if call.route.name and node.get("name", call.route.name) != call.route.name:
        return "Node name mismatch."
    unknown = next((key for key in node if key not in _NODE_KEYS), None)
    if unknown is not None:
        return f"Invalid key {unknown} in request body"
    node = {**_EMPTY_NODE, **({"name": call.route.name} if call.route.name else {}), **node}
    return _bad_text(node) or _bad_attributes(node)


def _bad_text(node: dict[str, Any]) -> str | None:
    if "name" not in node:
        return "Field 'name' missing"
    for key, pattern in _PATTERNS.items():
        if key in node and not (isinstance(node[key], str) and re.fullmatch(pattern, node[key])):
            return f"Field '{key}' invalid"
    return None


def _bad_attributes(node: dict[str, Any]) -> str | None:
    for key in ("normal", "default", "override", "automatic"):
        if not isinstance(node[key], dict):
            return f"Field '{key}' is not a hash"
    items = node["run_list"]
    if not isinstance(items, list) or not all(isinstance(one, str) and _RUN_LIST_ITEM.fullmatch(one) for one in items):
        return "Field 'run_list' is not a valid run list"
    return None


def _bad_client(call: Call, client: dict[str, Any]) -> str | None:
    """Keys that nobody knows are no fault here."""
    name = client.get("name", client.get("clientname", call.route.name))
    if not name:
        return "Field 'name' missing"
    if not isinstance(name, str) or not re.fullmatch(_NAME, name):
        return f"Invalid client name '{name}' using regex: '{_CLIENT_RULE}'."
    if client.get("clientname", name) != name:
        return "name and clientname must match"
    return _bad_key(client, call.api_version, call.request.method)


def _bad_key(client: dict[str, Any], api_version: int, method: str) -> str | None:
    pem = client.get("public_key")
    if api_version and method == "PUT" and {"public_key", "create_key"} & client.keys():
        return "Since Server API v1, all keys must be updated via the keys endpoint. "
    if api_version and client.get("create_key") and pem is not None:
        return "You must specify either create_key or public_key, but not both"
    if pem is not None and not _is_public_key(pem):
        return "Field 'public_key' invalid"
    return None


def _is_public_key(pem: object) -> bool:
    try:
        return isinstance(pem, str) and bool(authentication.public_key(pem))
    except ValueError:
        return False
