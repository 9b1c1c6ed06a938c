"""Pure: nodes, clients, principals, environments and policies, once a request is known to be in order.

An ACL is reduced to what the default ones amount to: a node reads every node, and writes its own; a validator creates
clients and does nothing else; nobody lists clients.

Sources: github.com/chef/chef-server chef_wm_nodes.erl, chef_wm_named_node.erl, chef_wm_clients.erl, chef_key_base.erl,
chef_wm_named_principal.erl, chef_wm_named_environment.erl, chef_wm_cookbooks.erl, oc_chef_wm_named_policy_group.erl.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import attrs

from chef_devserver import authentication
from chef_devserver.front import Route
from chef_devserver.messages import Request, Response, error_response, json_response
from chef_devserver.state import ChefState, node_object
from chef_failover.chef.libcrypto import PrivateKey

NewKey = Callable[[], PrivateKey]
"""Draws a client's key when the server is asked to."""


@attrs.frozen
class Call:
    """One request for erchef."""

    request: Request
    route: Route
    api_version: int

    @property
    def user(self) -> str:
        """Who signed it."""
        return self.request.user

    def uri(self, kind: str, name: str) -> str:
        """The address of an object, as answers name it."""
        prefix = f"/organizations/{self.route.organization}" if self.route.organization else ""
        return f"https://{self.request.headers.get('host', 'localhost')}{prefix}/{kind}/{name}"


def bad_body(call: Call) -> Response | None:
    """Why the body is of no use; None when it is, or when none is expected."""
    if call.request.method not in ("POST", "PUT"):
        return None
    try:
        content = json.loads(call.request.body)
    except ValueError:
        return error_response(400, "invalid JSON")
    if not isinstance(content, dict):
        return error_response(400, "Incorrect JSON type for request body")
    name = content.get("name", call.route.name)
    if not isinstance(name, str) or not name:
        return error_response(400, "Field 'name' missing")
    message = _bad_node(call, content) if call.route.resource[0] == "nodes" else _bad_client(call, content)
    return error_response(400, message) if message else None


def perform(state: ChefState, call: Call, new_key: NewKey) -> Response:
    """Do what is asked, or say why not: 404 before 403, as erchef does."""
    match call.route.resource, call.request.method:
        case ("principals", _), _:
            return _principal(state, call)
        case (("environments" | "policy_groups" | "cookbooks"), *_), _:
            return _shared(state, call)
        case ("nodes", *_), _:
            return _node(state, call) if call.route.name else _nodes(state, call)
        case ("clients",), "POST":
            return _create_client(state, call, new_key)
        case ("clients",), _:
            return missing_permission("read")
        case _:
            return _client(state, call)


def missing_permission(permission: str) -> Response:
    """403: the client is known, and may not."""
    return error_response(403, f"missing {permission} permission")


def _bad_node(call: Call, node: dict[str, Any]) -> str | None:
    if call.route.name and node.get("name", call.route.name) != call.route.name:
        return "Node name mismatch."
    run_list = node.get("run_list", [])
    if not isinstance(run_list, list) or not all(isinstance(item, str) for item in run_list):
        return "Field 'run_list' is not a valid run list"
    return None


def _bad_client(call: Call, client: dict[str, Any]) -> str | None:
    pem, name = client.get("public_key"), client.get("name", "")
    if not isinstance(name, str) or not re.fullmatch("[A-Za-z0-9_.-]*", name):
        return f"Invalid client name '{name}' using regex: 'Malformed client name. Must be A-Z, a-z, 0-9, _, -, or .'."
    if call.api_version and call.request.method == "PUT" and {"public_key", "create_key"} & client.keys():
        return "Since Server API v1, all keys must be updated via the keys endpoint. "
    if call.api_version and client.get("create_key") and pem is not None:
        return "You must specify either create_key or public_key, but not both"
    if pem is not None and not _is_public_key(pem):
        return "Field 'public_key' invalid"
    return None


def _is_public_key(pem: object) -> bool:
    try:
        return isinstance(pem, str) and bool(authentication.public_key(pem))
    except ValueError:
        return False


def _nodes(state: ChefState, call: Call) -> Response:
    if call.user == state.validator:
        return missing_permission("create" if call.request.method == "POST" else "read")
    if call.request.method == "GET":
        return json_response(200, {name: call.uri("nodes", name) for name in sorted(state.nodes)})
    node = json.loads(call.request.body)
    name = node["name"]
    if name in state.nodes:
        return error_response(409, "Node already exists")
    state.nodes[name] = node_object(name, node)
    return json_response(201, {"uri": call.uri("nodes", name)})


def _node(state: ChefState, call: Call) -> Response:
    name = call.route.name
    if name not in state.nodes:
        return error_response(404, f"node '{name}' not found")
    if call.request.method == "PUT":
        if call.user != name:
            return missing_permission("update")
        state.nodes[name] = node_object(name, json.loads(call.request.body))
    elif call.user == state.validator:
        return missing_permission("read")
    return json_response(200, state.nodes[name])


def _shared(state: ChefState, call: Call) -> Response:
    """What many nodes share, and every client may read."""
    name, resource = call.route.name, call.route.resource
    if call.user == state.validator:
        return missing_permission("read")
    if resource[0] == "policy_groups":
        return _policy_group(state, call)
    if resource == ("cookbooks", "_latest"):
        uris = {one: f"{call.uri('cookbooks', one)}/{version}" for one, version in state.cookbooks.items()}
        return json_response(200, uris)
    if resource != ("cookbooks",) and name not in state.environments:
        return error_response(404, f"Cannot load environment {name}")
    if resource[-1] == "cookbooks":
        return json_response(200, {one: _cookbook(call, one, state.cookbooks[one]) for one in sorted(state.cookbooks)})
    return json_response(200, {"name": name, "chef_type": "environment", "json_class": "Chef::Environment"})


def _policy_group(state: ChefState, call: Call) -> Response:
    """The revision of each policy in it."""
    group = call.route.group
    revisions = {name: {"revision_id": revision} for (one, name), revision in state.policies.items() if one == group}
    if not revisions:
        return error_response(404, f"policy_group '{group}' not found")
    return json_response(200, {"uri": call.uri("policy_groups", group), "policies": revisions})


def _cookbook(call: Call, name: str, version: str) -> dict[str, Any]:
    uri = call.uri("cookbooks", name)
    return {"url": uri, "versions": [{"url": f"{uri}/{version}", "version": version}]}


def _create_client(state: ChefState, call: Call, new_key: NewKey) -> Response:
    asked = json.loads(call.request.body)
    if call.user != state.validator or asked.get("validator"):
        return missing_permission("create")
    name = asked["name"]
    if name in state.clients:
        return error_response(409, "Client already exists")
    key: dict[str, str] = {}
    if asked.get("public_key") is not None:
        key = {"public_key": asked["public_key"]}
    elif call.api_version == 0 or asked.get("create_key"):
        key = _key_pair(new_key())
    state.add_client(name, key.get("public_key", ""))  # from version 1 on a client may be made without a key
    uri = call.uri("clients", name)
    if call.api_version == 0:
        return json_response(201, {"uri": uri, **key})
    wrapped = {"name": "default", "expiration_date": "infinity", "uri": f"{uri}/keys/default", **key}
    return json_response(201, {"uri": uri, "chef_key": wrapped} if key else {"uri": uri})


def _key_pair(key: PrivateKey) -> dict[str, str]:
    return {"public_key": key.public_pem().decode(), "private_key": key.private_pem().decode()}


def _client(state: ChefState, call: Call) -> Response:
    name = call.route.name
    if name not in state.clients:
        return error_response(404, f"Cannot load client {name}")
    if call.request.method == "PUT":
        return missing_permission("update")
    if call.user != name or name == state.validator:
        return missing_permission("read")
    key = {"public_key": state.clients[name]} if call.api_version == 0 else {}
    content = {"name": name, "clientname": name, "validator": name == state.validator}
    kind = {"orgname": state.organization, "json_class": "Chef::ApiClient", "chef_type": "client"}
    return json_response(200, {**key, **content, **kind})


def _principal(state: ChefState, call: Call) -> Response:
    name = call.route.name
    if name not in state.clients:
        return no_principal("principal", name)
    principal: dict[str, Any] = {"name": name, "public_key": state.clients[name], "type": "client"}
    principal |= {"authz_id": state.authz_ids[name], "org_member": True}
    return json_response(200, {"principals": [principal]} if call.api_version else principal)


def no_principal(kind: str, name: str) -> Response:
    """404, in the words that are its own: there is no such principal, or no such org."""
    return json_response(404, {"not_found": kind, "error": f"Cannot find {kind} {name}"})
