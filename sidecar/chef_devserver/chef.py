"""Pure: how a Chef Infra Server answers, as far as a node and its sidecar can tell.

The order of the checks is the server's own, because it decides which of several faults a client is told: nginx in
front, then erchef: API version, method, authentication headers, clock, protocol, size, organization, body, signature,
object, permission.

Source: github.com/chef/chef-server oc_chef_wm_base.erl, in the order in which webmachine calls it.
"""

from __future__ import annotations

import datetime
import json

from chef_devserver import authentication, clients, documents, front, resources
from chef_devserver.call import Call, NewKey
from chef_devserver.messages import Headers, Request, Response, error_response, internal_error, json_response
from chef_devserver.state import ChefState

API_VERSIONS = (0, 1, 2)


def answer(
    state: ChefState,
    request: Request,
    now: datetime.datetime,
    new_key: NewKey,
    down: frozenset[str] = frozenset(),
) -> Response:
    """The server's answer; a POST, PUT or DELETE changes ``state``. ``now`` is aware, ``down`` names dead upstreams."""
    if front.is_status(request):
        return front.status(state.kind, down) if request.method == "GET" else front.not_allowed(("_status",))
    page = front.answer(state.kind, request, down)
    return page or finished(state, request, _erchef(state, request, now, new_key, down))


def finished(state: ChefState, request: Request, response: Response) -> Response:
    """The answer with the headers by which erchef is known: they are on each of its answers, errors included.

    Only where its report to a data collector crashes it goes out without them; a HEAD that succeeds does that.
    """
    if state.kind.has_data_collector and request.method == "HEAD" and response.status == 200:
        state.crashed_reports += 1
        return response
    return response.having(*_api_headers(state, request))


def _api_headers(state: ChefState, request: Request) -> Headers:
    asked = _asked_version(request)
    content = {
        "min_version": str(API_VERSIONS[0]),
        "max_version": str(API_VERSIONS[-1]),
        "request_version": str(asked),
        "response_version": str(asked if asked in API_VERSIONS else -1),
    }
    build = (("X-Ops-API-Info", "flavor=cs;version=12.0.0;oc_erchef=12.19.31"),) if state.kind.tells_build else ()
    return (*build, ("X-Ops-Server-API-Version", json.dumps(content, separators=(",", ":"))))


def no_connection(call: Call) -> Response:
    """503: every database connection is in use. What needs one before the client is looked up fails otherwise."""
    if "_acl" in call.route.resource:
        return internal_error()
    return error_response(503, f"An error occurred while trying to find  '{call.user}'. Please contact support.")


def unknown_organization(name: str) -> Response:
    """404: there is no such organization; erchef says so before it looks at the signature."""
    return error_response(404, f"organization '{name}' does not exist.")


def _erchef(
    state: ChefState, request: Request, now: datetime.datetime, new_key: NewKey, down: frozenset[str]
) -> Response:
    asked = _asked_version(request)
    if asked not in API_VERSIONS:
        return _unsupported_version(request.headers["x-ops-server-api-version"])
    call = Call(request, front.route(request), asked, new_key, down)
    refusal = _refused(state, call, now)
    if refusal is not None:
        return refusal
    if call.route.resource == ("server_api_version",):
        return json_response(200, {"min_api_version": API_VERSIONS[0], "max_api_version": API_VERSIONS[-1]})
    if call.route.resource == ("license",):
        return json_response(200, {"limit_exceeded": False, "node_license": 25, "node_count": len(state.nodes)})
    response = resources.perform(state, call)
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
    if request.method not in front.METHODS[route.resource]:
        return front.not_allowed(route.resource)
    if route.resource[0] == "principals":  # public keys are for everybody
        return internal_error() if "chef_sql" in call.down else _wrong_organization(state, route)
    return (
        authentication.malformed(request, state.protocols, now)
        or _too_large(state, request)
        or _wrong_organization(state, route)
        or documents.bad_body(call)
        or (no_connection(call) if "chef_sql" in call.down else None)
        or authentication.unauthorized(request, state.public_key(call.user))
    )


def _too_large(state: ChefState, request: Request) -> Response | None:
    if request.method in ("POST", "PUT") and len(request.body) > state.kind.max_body:
        return json_response(413, {"error": f"JSON must be no more than {state.kind.max_body} bytes."})
    return None


def _wrong_organization(state: ChefState, route: front.Route) -> Response | None:
    if route.organization == state.organization or route.resource in (("server_api_version",), ("license",)):
        return None
    if route.organization is None or state.organization is None:
        return front.not_found()
    if route.resource[0] == "principals":
        return clients.no_principal("org", route.organization)
    return unknown_organization(route.organization)
