"""Pure: how a Chef Infra Server answers, as far as a node and its sidecar can tell.

The order of the checks is the server's own, because it decides which of several faults a client is told: nginx in
front, then erchef: API version, method, authentication headers, clock, protocol, size, organization, body, signature,
object, permission.

Source: github.com/chef/chef-server oc_chef_wm_base.erl, in the order in which webmachine calls it.
"""

from __future__ import annotations

import datetime
import json

from chef_devserver import authentication, front
from chef_devserver.messages import Headers, Request, Response, error_response, json_response
from chef_devserver.resources import Call, NewKey, bad_body, perform
from chef_devserver.state import ChefState

API_VERSIONS = (0, 1, 2)
MAX_BODY = 2_000_000
"""Bytes; a larger body is refused (``max_request_size``)."""


def answer(state: ChefState, request: Request, now: datetime.datetime, new_key: NewKey) -> Response:
    """The server's answer; a POST or PUT changes ``state``. ``now`` is aware."""
    return front.answer(request) or _erchef(state, request, now, new_key).having(*api_headers(request))


def api_headers(request: Request) -> Headers:
    """The headers by which erchef is known: they are on each of its answers, errors and HEAD included."""
    asked = _asked_version(request)
    content = {
        "min_version": str(API_VERSIONS[0]),
        "max_version": str(API_VERSIONS[-1]),
        "request_version": str(asked),
        "response_version": str(asked if asked in API_VERSIONS else -1),
    }
    return (
        ("X-Ops-Server-API-Version", json.dumps(content, separators=(",", ":"))),
        ("X-Ops-API-Info", "flavor=cs;version=12.0.0;oc_erchef=12.2.0"),
    )


def unknown_organization(name: str) -> Response:
    """404: there is no such organization; erchef says so before it looks at the signature."""
    return error_response(404, f"organization '{name}' does not exist.")


def _erchef(state: ChefState, request: Request, now: datetime.datetime, new_key: NewKey) -> Response:
    asked = _asked_version(request)
    if asked not in API_VERSIONS:
        return _unsupported_version(request.headers["x-ops-server-api-version"])
    call = Call(request, front.route(request), asked)
    refusal = _refused(state, call, now)
    if refusal is not None:
        return refusal
    if call.route.resource == ("server_api_version",):
        return json_response(200, {"min_api_version": API_VERSIONS[0], "max_api_version": API_VERSIONS[-1]})
    response = perform(state, call, new_key)
    if state.speaks_chef_zero and response.status == 404:
        what = "/policies" if call.route.group else ""  # which it asks its store for
        return error_response(404, f"Object not found: https://{request.headers.get('host')}{request.path}{what}")
    return response


def _asked_version(request: Request) -> int:
    asked = request.headers.get("x-ops-server-api-version", "0")
    return int(asked) if asked.isdecimal() else -1


def _unsupported_version(asked: str) -> Response:
    content = {
        "error": "invalid-x-ops-server-api-version",
        "message": f"Specified version {asked} not supported",
        "min_version": API_VERSIONS[0],
        "max_version": API_VERSIONS[-1],
    }
    return json_response(406, content)


def _refused(state: ChefState, call: Call, now: datetime.datetime) -> Response | None:
    request, route = call.request, call.route
    allowed = front.METHODS[route.resource]
    if request.method not in allowed:
        return Response(405, headers=(("Allow", ", ".join(allowed)),))
    if route.resource[0] == "principals":  # public keys are for everybody
        return _wrong_organization(state, route)
    return (
        authentication.malformed(request, state.protocols, now)
        or _too_large(request)
        or _wrong_organization(state, route)
        or bad_body(call)
        or authentication.unauthorized(request, state.clients.get(call.user))
    )


def _too_large(request: Request) -> Response | None:
    if len(request.body) > MAX_BODY:
        return error_response(413, f"JSON must be no more than {MAX_BODY} bytes.")
    return None


def _wrong_organization(state: ChefState, route: front.Route) -> Response | None:
    if route.organization == state.organization or route.resource == ("server_api_version",):
        return None
    if route.organization is None or state.organization is None:
        return front.not_found()
    return unknown_organization(route.organization)
