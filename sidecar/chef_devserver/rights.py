"""Pure: who may do what with a node object or a client.

Each object has an access control list: for each permission the actors and the groups that have it. An actor is an authz
id and not a name, so a client that is deleted and created again is a stranger to what its predecessor owned. The one
that creates a node object has every permission on it; the groups have what their organization's container gives them.

Sources: github.com/chef/chef-server oc_chef_authz_org_creator.erl (the containers), oc_chef_authz.erl (an object's list
is its creator's rights and its container's), oc_bifrost create_and_add_permissions.sql (an actor has every permission
on itself), oc_chef_wm_base.erl (validators lose theirs), oc_chef_wm_acl.erl and oc_chef_wm_acl_permission.erl.
"""

from __future__ import annotations

import json
from typing import Any

from chef_devserver.call import Call
from chef_devserver.messages import Response, error_response, json_response
from chef_devserver.state import PIVOTAL, Ace, Acl, ChefState

PERMISSIONS = ("create", "read", "update", "delete", "grant")
_METHODS = {"HEAD": "read", "GET": "read", "POST": "create", "PUT": "update", "DELETE": "delete"}
_NODES = {
    "create": ("admins", "clients", "users"),
    "read": ("admins", "clients", "users"),
    "update": ("admins", "users"),
    "delete": ("admins", "users"),
    "grant": ("admins",),
}
"""Which groups may do what with nodes, by the container of an organization that nobody has changed."""
_CLIENTS = {**_NODES, "create": ("admins",), "read": ("admins", "users"), "update": ("admins",)}


def of_new_node(creator: str) -> Acl:
    """The list of a node object that the actor ``creator`` makes."""
    return {one: Ace(frozenset({PIVOTAL, creator}), frozenset(_NODES[one])) for one in PERMISSIONS}


def refusal(state: ChefState, call: Call, acl: Acl) -> Response | None:
    """403 unless the list gives the user what the request's method needs."""
    return None if _has(state, call.user, acl, needed(call)) else missing_permission(needed(call))


def container_refusal(state: ChefState, call: Call) -> Response | None:
    """403 unless the user may do that with nodes, or with clients, in general: list them or create one."""
    groups = (_NODES if call.route.resource[0] == "nodes" else _CLIENTS)[needed(call)]
    return None if state.groups(call.user) & set(groups) else missing_permission(needed(call))


def client_refusal(state: ChefState, call: Call) -> Response | None:
    """403 unless the user may do that with the client whom the path names."""
    own = frozenset[str]() if call.route.name in state.validators else frozenset({state.authz_ids[call.route.name]})
    return refusal(state, call, {needed(call): Ace(own, frozenset(_CLIENTS[needed(call)]))})


def needed(call: Call) -> str:
    """The permission that the request's method needs."""
    return _METHODS[call.request.method]


def missing_permission(permission: str) -> Response:
    """403: the client is known, and may not."""
    return error_response(403, f"missing {permission} permission")


def answer(state: ChefState, call: Call) -> Response:
    """``nodes/NAME/_acl`` read, or one permission of it replaced, which both need ``grant``.

    The refusal names the method's permission and not ``grant``.
    """
    name, permission = call.route.name, call.route.permission
    if name not in state.nodes:
        return error_response(404, f"node '{name}' not found")
    acl = state.acls[name]
    if not _has(state, call.user, acl, "grant"):
        return missing_permission(needed(call))
    if not permission:
        return json_response(200, {one: _named(state, acl[one]) for one in PERMISSIONS})
    wanted = json.loads(call.request.body)[permission]
    actors = wanted["actors"] + wanted.get("clients", []) + wanted.get("users", [])
    known = state.actors()
    unknown = [one for one in actors if one not in known]
    if unknown:
        names = ", ".join(f"'{one}'" for one in unknown)
        return error_response(400, f"The actor(s) {names} do not exist in this organization as clients or users.")
    acl[permission] = Ace(frozenset(known[one] for one in actors), frozenset(wanted["groups"]))
    return json_response(200, {})


def bad_change(permission: str, content: dict[str, Any]) -> str | None:
    """Why the body of a change of one permission is of no use; None when it is."""
    for key in content:
        if key != permission:
            return f"Invalid key {key} in request body"
    ace = content.get(permission)
    if not isinstance(ace, dict):
        return f"Field '{permission}' missing"
    for field in ("groups", "actors"):
        if not _are_names(ace.get(field)):
            return f"Field '{field}' missing"
    if not all(_are_names(ace.get(field, [])) for field in ("clients", "users")):
        return "Field 'clients' invalid"
    return None


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _has(state: ChefState, user: str, acl: Acl, permission: str) -> bool:
    ace = acl[permission]
    return state.authz_ids[user] in ace.actors or bool(state.groups(user) & ace.groups)


def _named(state: ChefState, ace: Ace) -> dict[str, list[str]]:
    """As an answer has it: who is no longer there is in no list."""
    actors = sorted(name for name, one in state.actors().items() if one in ace.actors)
    return {"actors": actors, "groups": sorted(ace.groups)}
