"""Pure: clients and principals, once a request is known to be in order.

Sources: github.com/chef/chef-server chef_wm_clients.erl, chef_wm_named_client.erl, chef_client.erl, chef_key_base.erl,
chef_wm_named_principal.erl, oc_chef_wm_base.erl (``create_in_container``: what a validator may).
"""

from __future__ import annotations

import json
from typing import Any

from chef_devserver import rights
from chef_devserver.call import Call
from chef_devserver.messages import Response, error_response, internal_error, json_response
from chef_devserver.state import ChefState
from chef_failover.chef.libcrypto import PrivateKey


def answer(state: ChefState, call: Call) -> Response:
    """What ``clients`` and ``clients/NAME`` answer."""
    if call.route.resource == ("clients", "NAME"):
        if call.route.name not in state.clients:
            return error_response(404, f"Cannot load client {call.route.name}")
        return rights.client_refusal(state, call) or _one(state, call)
    if call.request.method == "POST":
        return _create(state, call)
    return rights.container_refusal(state, call) or json_response(
        200, {name: call.uri("clients", name) for name in sorted(state.clients)}
    )


def principal(state: ChefState, call: Call) -> Response:
    """A client's or a user's public key, for everybody who asks."""
    name = call.route.name
    pem = state.public_key(name)
    if pem is None:
        return no_principal("principal", name)
    kind = "client" if name in state.clients else "user"
    found = {"name": name, "public_key": pem, "type": kind, "authz_id": state.authz_ids[name], "org_member": True}
    return json_response(200, {"principals": [found]} if call.api_version else found)


def no_principal(kind: str, name: str) -> Response:
    """404, in the words that are its own: there is no such principal, or no such org."""
    return json_response(404, {"not_found": kind, "error": f"Cannot find {kind} {name}"})


def _create(state: ChefState, call: Call) -> Response:
    asked = json.loads(call.request.body)
    if call.user not in state.validators:
        refusal = rights.container_refusal(state, call)
    else:
        refusal = Response(403) if asked.get("validator") else None  # a validator makes no validators: not a word why
    if refusal is not None:
        return refusal
    if state.index_fails(call.down):
        return internal_error()
    name = asked.get("name") or asked["clientname"]
    if name in state.clients:
        return error_response(409, "Client already exists")
    key: dict[str, str] = {}
    if asked.get("public_key") is not None:
        key = {"public_key": asked["public_key"]}
    elif call.api_version == 0 or asked.get("create_key"):
        key = _key_pair(call.new_key())
    state.add_client(name, key.get("public_key", ""))  # from version 1 on a client may be made without a key
    if asked.get("validator"):
        state.validators.add(name)
    uri = call.uri("clients", name)
    default = {"name": "default", "expiration_date": "infinity", "uri": f"{uri}/keys/default", **key}
    more: dict[str, Any] = key if call.api_version == 0 else {"chef_key": default} if key else {}
    return json_response(201, {"uri": uri, **more}).having(("Location", uri))


def _key_pair(key: PrivateKey) -> dict[str, str]:
    return {"public_key": key.public_pem().decode(), "private_key": key.private_pem().decode()}


def _one(state: ChefState, call: Call) -> Response:
    """A client that is given another key is the same actor; one that is deleted and created again is another."""
    name = call.route.name
    if call.request.method == "PUT":
        if state.index_fails(call.down):
            return internal_error()
        asked = json.loads(call.request.body)
        state.clients[name] = asked.get("public_key") or state.clients[name]
        return json_response(200, asked)
    key = {"public_key": state.clients[name]} if call.api_version == 0 else {}
    content = {"name": name, "clientname": name, "validator": name in state.validators}
    kind = {"orgname": state.organization, "json_class": "Chef::ApiClient", "chef_type": "client"}
    if call.request.method == "DELETE":
        del state.clients[name], state.authz_ids[name]
    return json_response(200, {**key, **content, **kind})
