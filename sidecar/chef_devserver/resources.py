"""Pure: what a request in order is answered: which module it is for, and what many nodes share.

Sources: github.com/chef/chef-server chef_wm_named_environment.erl, chef_wm_cookbooks.erl,
oc_chef_wm_named_policy_group.erl, oc_chef_wm_named_group.erl.
"""

from __future__ import annotations

from typing import Any

from chef_devserver import clients, nodes, rights, search
from chef_devserver.call import Call
from chef_devserver.messages import Response, error_response, json_response
from chef_devserver.state import ChefState


def perform(state: ChefState, call: Call) -> Response:
    """Do what is asked, or say why not."""
    match call.route.resource[0]:
        case "principals":
            return clients.principal(state, call)
        case "nodes":
            return nodes.answer(state, call)
        case "clients":
            return clients.answer(state, call)
        case "search":
            return search.answer(state, call)
        case "groups":
            return _group(state, call)
        case _:
            return _shared(state, call)


def _shared(state: ChefState, call: Call) -> Response:
    """What every client may read, validators included."""
    name, resource = call.route.name, call.route.resource
    if resource[0] == "policy_groups":
        return _policy_group(state, call)
    if resource == ("environments",):
        return json_response(200, {one: call.uri("environments", one) for one in sorted(state.environments)})
    if resource == ("cookbooks", "_latest"):
        uris = {one: f"{call.uri('cookbooks', one)}/{version}" for one, version in state.cookbooks.items()}
        return json_response(200, uris)
    if resource != ("cookbooks",) and name not in state.environments:
        return error_response(404, f"Cannot load environment {name}")
    if resource[-1] == "cookbooks":
        return json_response(200, {one: _cookbook(call, one, state.cookbooks[one]) for one in sorted(state.cookbooks)})
    return json_response(200, {"name": name, "chef_type": "environment", "json_class": "Chef::Environment"})


def _group(state: ChefState, call: Call) -> Response:
    """The members of the group admins, which users of the organization may read; the other groups are not kept."""
    name = call.route.name
    if name != "admins":
        return error_response(404, f"Cannot load group {name}")
    if not {"admins", "users"} & state.groups(call.user):
        return rights.missing_permission("read")
    users, clients = sorted(state.users), sorted(state.administrators)
    members = {"actors": users + clients, "users": users, "clients": clients, "groups": []}
    return json_response(200, {**members, "orgname": state.organization, "name": name, "groupname": name})


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
