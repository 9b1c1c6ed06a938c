"""Pure: every way in which an embedded server can fail, and the wrong answers among them.

A fault shows at one of four levels: at the port (``PORT``), in place of TLS, in place of HTTP, or in the answer. The
answers are made here (``faulty_answer``); ``door`` and ``wire`` do the rest.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable

from chef_devserver import authentication, chef, front, resources
from chef_devserver.messages import Request, Response, error_response, html_response, json_response
from chef_devserver.state import ChefState


class Fault(enum.Enum):
    """One fault. At most one is on at a time."""

    REFUSE = "nobody listens: connection refused"
    BLACK_HOLE = "SYNs are dropped: the connect times out"
    RESET = "RST as soon as it has accepted"
    SILENT = "accepts, and never speaks"
    CERT_EXPIRED = "its certificate ran out yesterday"
    CERT_FOREIGN = "its certificate comes from an authority that nobody trusts"
    CERT_WRONG_NAME = "its certificate is for elsewhere.example.com"
    TLS_SILENT = "finishes the TLS handshake, and never answers the request"
    DRIP = "header bytes one by one, for ever"
    DRIP_BODY = "body bytes one by one, for ever"
    ENDLESS_BODY = "a body without an end, as fast as it is read"
    HUGE_HEADERS = "more headers than anybody wants"
    RESET_MID_BODY = "RST in the middle of the body"
    STATUS_ALL_FAIL = "500 everywhere, the status page names every upstream"
    STATUS_SOME_FAIL = "500 from the status page for its search index; requests work"
    SERVER_ERROR = "500 on every path"
    HTML = "200 with a page for people on every path: a captive portal or a proxy"
    EMPTY = "200 with nothing on every path, as goiardi 0.11 answers a signed request for a path that it does not know"
    REDIRECT = "301 elsewhere on every path"
    MAINTENANCE = "503 on every path"
    LICENCE = "403 invalid-license on every path but the status page"
    UNAUTHORIZED_UNKNOWN_CLIENT = "401: it has no such client"
    UNAUTHORIZED_BAD_SIGNATURE = "401: it has another key for the client"
    UNAUTHORIZED_CLOCK = "401: it finds the client's clock wrong"
    FORBIDDEN = "403: the client may not read"
    WRONG_ORGANIZATION = "404: it has no such organization"


PORT = frozenset({Fault.REFUSE, Fault.BLACK_HOLE})
"""The faults that need the listening socket itself to change."""

_EVERYWHERE: dict[Fault, Response] = {
    Fault.SERVER_ERROR: error_response(500, "internal service error"),
    Fault.HTML: html_response(200, "Please sign in"),
    Fault.EMPTY: Response(200),
    Fault.MAINTENANCE: error_response(503, "Service temporarily unavailable"),
}
"""Answers that come before nginx or erchef have looked at the request."""

_LICENCE = json.dumps(
    {
        "licenseType": "trial",
        "expirationDateTime": "2025-01-01T00:00:00Z",
        "warningMessage": "Your Progress Chef Infra Server license has expired.",
        "gracePeriod": False,
    }
)


def faulty_answer(fault: Fault | None, state: ChefState, request: Request, honest: Callable[[], Response]) -> Response:
    """The answer under ``fault``; ``honest`` gives the one without."""
    if fault in _EVERYWHERE:
        return _EVERYWHERE[fault]
    if fault is Fault.REDIRECT:
        return Response(301, headers=(("Location", f"https://elsewhere.example.com{request.target}"),))
    if fault in (Fault.STATUS_ALL_FAIL, Fault.STATUS_SOME_FAIL) and front.is_status(request):
        upstreams = ("chef_opensearch", "chef_sql", "oc_chef_authz")
        return front.status(*(upstreams if fault is Fault.STATUS_ALL_FAIL else upstreams[:1]))
    refusal = None if front.answer(request) else _refusal(fault, request)
    return chef.finished(state, request, refusal) if refusal else honest()


def _refusal(fault: Fault | None, request: Request) -> Response | None:
    """What erchef says instead of its answer to an API request."""
    make = _REFUSALS.get(fault)
    is_public = front.route(request).resource[:1] == ("principals",) and fault in _OF_WHO_SIGNS
    return make(request) if make and not is_public else None


def _licence(_request: Request) -> Response:
    content = {"error": "Your license has expired.", "message": "invalid-license"}
    return json_response(403, content).having(("X-Ops-License", _LICENCE))


_OF_WHO_SIGNS = frozenset(
    {
        Fault.UNAUTHORIZED_UNKNOWN_CLIENT,
        Fault.UNAUTHORIZED_BAD_SIGNATURE,
        Fault.UNAUTHORIZED_CLOCK,
        Fault.FORBIDDEN,
    }
)
"""Principals are for everybody, and nobody signs for them."""
_REFUSALS: dict[Fault | None, Callable[[Request], Response]] = {
    Fault.STATUS_ALL_FAIL: lambda _: error_response(500, "internal service error"),
    Fault.LICENCE: _licence,
    Fault.UNAUTHORIZED_UNKNOWN_CLIENT: lambda request: authentication.unknown_client(request.user),
    Fault.UNAUTHORIZED_BAD_SIGNATURE: lambda request: authentication.bad_signature(request.user),
    Fault.UNAUTHORIZED_CLOCK: lambda request: authentication.unsynchronized(request.user),
    Fault.FORBIDDEN: lambda _: resources.missing_permission("read"),
    Fault.WRONG_ORGANIZATION: lambda request: chef.unknown_organization(front.route(request).organization or "default"),
}
