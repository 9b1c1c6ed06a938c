"""Pure: node objects, once a request is known to be in order.

An object is sent to the search index before it is stored, so where the index is down nothing is saved. It is looked
for (404) before anybody asks who may (403).

Sources: github.com/chef/chef-server chef_wm_nodes.erl, chef_wm_named_node.erl, oc_chef_wm_base.erl
(``create_from_json``, ``update_from_json``), oc_chef_object_db.erl (``delete``).
"""

from __future__ import annotations

import json

from chef_devserver import rights
from chef_devserver.call import Call
from chef_devserver.documents import node_object
from chef_devserver.messages import Response, error_response, internal_error, json_response
from chef_devserver.state import ChefState


def answer(state: ChefState, call: Call) -> Response:
    """What ``nodes``, ``nodes/NAME`` and ``nodes/NAME/_acl`` answer."""
    if call.route.resource == ("nodes",):
        return rights.container_refusal(state, call) or _all(state, call)
    if call.route.resource != ("nodes", "NAME"):
        return rights.answer(state, call)
    if call.route.name not in state.nodes:
        return error_response(404, f"node '{call.route.name}' not found")
    return rights.refusal(state, call, state.acls[call.route.name]) or _one(state, call)


def _all(state: ChefState, call: Call) -> Response:
    if call.request.method == "GET":
        return json_response(200, {name: call.uri("nodes", name) for name in sorted(state.nodes)})
    if state.index_fails(call.down):
        return internal_error()
    node = json.loads(call.request.body)
    name = node["name"]
    if name in state.nodes:
        return error_response(409, "Node already exists")
    state.nodes[name] = node_object(name, node)
    state.acls[name] = rights.of_new_node(state.authz_ids[call.user])
    uri = call.uri("nodes", name)
    return json_response(201, {"uri": uri}).having(("Location", uri))


def _one(state: ChefState, call: Call) -> Response:
    name = call.route.name
    if call.request.method == "PUT":
        if state.index_fails(call.down):
            return internal_error()
        state.nodes[name] = node_object(name, json.loads(call.request.body))
    found = json_response(200, state.nodes[name])
    if call.request.method == "DELETE":
        del state.nodes[name], state.acls[name]
    return found
