"""Pure: every way in which an embedded server can fail, and the wrong answers among them.

A fault shows at one of four levels: at the port (``PORT``), in place of TLS, in place of HTTP, or in the answer. The
answers are made here (``faulty_answer``); ``door`` and ``wire`` do the rest.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable

from chef_devserver import authentication, chef, front, rights
from chef_devserver.messages import Request, Response, html_response, internal_error, json_response
from chef_devserver.state import INDEXES, ChefState


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
    MAINTENANCE = "503 on every path, as Automate's maintenance mode has it"
    CLOSED = "503 from nginx on every path but the status page: a Chef Infra Server in maintenance"
    BACK_END_DOWN = "nginx answers, and the Chef server behind it does not"
    CLIENT_CERTIFICATE = "400 from an nginx that wants a client certificate"
    CLIENT_CERTIFICATE_TLS = "the TLS handshake fails for want of a client certificate"
    LICENCE = "403 invalid-license on every path but the status page: it has run out, or there is none"
    LICENCE_GRACE = "its licence has run out, and it works for some time yet: X-Ops-License"
    INDEX_DOWN = "its search index is down: nothing is saved, what there is can be read"
    COLLECTOR_DOWN = "its data collector is down, which only the status page says"
    BOOKSHELF_DOWN = "no cookbook file can be fetched"
    DATABASE_BUSY = "it has no database connection left: 503 to what is signed"
    UNAUTHORIZED_UNKNOWN_CLIENT = "401: it has no such client"
    UNAUTHORIZED_BAD_SIGNATURE = "401: it has another key for the client"
    UNAUTHORIZED_CLOCK = "401: it finds the client's clock wrong"
    FORBIDDEN = "403: the client may not read"
    WRONG_ORGANIZATION = "404: it has no such organization"


PORT = frozenset({Fault.REFUSE, Fault.BLACK_HOLE})
"""The faults that need the listening socket itself to change."""

_EVERYWHERE: dict[Fault | None, Response] = {
    Fault.SERVER_ERROR: internal_error(),
    Fault.HTML: html_response(200, "Please sign in"),
    Fault.EMPTY: Response(200),
    Fault.MAINTENANCE: html_response(503, "Maintenance"),
    Fault.CLIENT_CERTIFICATE: html_response(400, "400 No required SSL certificate was sent"),
}
"""Answers that come before nginx or erchef have looked at the request."""
_NEEDED = frozenset({"chef_sql", "oc_chef_authz"})
_DOWN: dict[Fault | None, frozenset[str]] = {
    Fault.INDEX_DOWN: INDEXES,
    Fault.COLLECTOR_DOWN: frozenset({"data_collector"}),
    Fault.BOOKSHELF_DOWN: frozenset({"bookshelf"}),
    Fault.DATABASE_BUSY: frozenset({"chef_sql"}),
}
_STATUS: dict[Fault | None, frozenset[str]] = {
    Fault.STATUS_ALL_FAIL: INDEXES | _NEEDED,
    Fault.STATUS_SOME_FAIL: INDEXES,
}


def down(fault: Fault | None) -> frozenset[str]:
    """The upstreams that fail under ``fault``, as the status page names them; and bookshelf, which it does not."""
    return _DOWN.get(fault, frozenset())


def faulty_answer(fault: Fault | None, state: ChefState, request: Request, honest: Callable[[], Response]) -> Response:
    """The answer under ``fault``; ``honest`` gives the one without, but with what is ``down``."""
    if fault in _EVERYWHERE:
        return _EVERYWHERE[fault]
    if fault is Fault.REDIRECT:
        return Response(301, headers=(("Location", f"https://elsewhere.example.com{request.target}"),))
    if front.is_status(request):
        return _faulty_status(fault, state, honest)
    page = front.answer(state.kind, request, down(fault), is_closed=fault is Fault.CLOSED)
    return page or _faulty_erchef(fault, state, request, honest)


def _faulty_status(fault: Fault | None, state: ChefState, honest: Callable[[], Response]) -> Response:
    if fault is Fault.BACK_END_DOWN:
        return front.failing(state.kind, 502)
    return front.status(state.kind, _STATUS[fault]) if fault in _STATUS else honest()


def _faulty_erchef(fault: Fault | None, state: ChefState, request: Request, honest: Callable[[], Response]) -> Response:
    if fault is Fault.BACK_END_DOWN:
        return front.failing(state.kind, 502)
    if fault is Fault.LICENCE_GRACE:
        return honest().having(_licence("commercial", is_grace=True))
    is_public = front.route(request).resource[:1] == ("principals",)
    make = None if is_public and fault in _OF_WHO_SIGNS else _REFUSALS.get(fault)
    return chef.finished(state, request, make(request)) if make else honest()


def _licence(kind: str, *, is_grace: bool) -> tuple[str, str]:
    content = {
        "licenseType": kind,
        "expirationDateTime": "2025-01-01",
        "warningMessage": "Your license has expired.",
        "gracePeriod": is_grace,
    }
    return "X-Ops-License", json.dumps(content)


def _no_licence(_request: Request) -> Response:
    content = {"error": "Your license has expired.", "message": "invalid-license"}
    return json_response(403, content).having(_licence("trial", is_grace=False))


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
    Fault.STATUS_ALL_FAIL: lambda _: internal_error(),
    Fault.LICENCE: _no_licence,
    Fault.UNAUTHORIZED_UNKNOWN_CLIENT: lambda request: authentication.unknown_client(request.user),
    Fault.UNAUTHORIZED_BAD_SIGNATURE: lambda request: authentication.bad_signature(request.user),
    Fault.UNAUTHORIZED_CLOCK: lambda request: authentication.unsynchronized(request.user),
    Fault.FORBIDDEN: lambda _: rights.missing_permission("read"),
    Fault.WRONG_ORGANIZATION: lambda request: chef.unknown_organization(front.route(request).organization or "default"),
}
"""What erchef says instead of its answer to an API request."""
