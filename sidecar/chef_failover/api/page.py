"""Shell: the status page, for an operator's browser at the other end of a tunnel.

It is one HTML document with its style and script inside, so a policy without exceptions can hold: nothing is loaded
from anywhere, and only what bears this answer's nonce is run or applied. The script asks for the part that changes and
puts what differs in its place; without a script the page is simply as old as it says. Text from servers reaches the
page printable and through Jinja's escaping alone. Nothing of this is read or compiled before it is first asked for.
"""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Sequence

import flask

from chef_failover.api import render, timeline
from chef_failover.durations import in_words
from chef_failover.engine.sidecar import Sidecar
from chef_failover.printable import printable_values
from chef_failover.state import words
from chef_failover.state.words import Document

_POLICY = (
    "default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}


def make_blueprint(sidecar: Sidecar) -> flask.Blueprint:
    """``GET /`` for people, and ``GET /fragment`` for its script."""
    page = flask.Blueprint("page", __name__)

    @page.get("/")
    def index() -> flask.Response:
        sidecar.refresh()
        nonce = secrets.token_urlsafe(16)
        return _html("page.html", _POLICY.format(nonce), nonce=nonce)

    @page.get("/fragment")
    def fragment() -> flask.Response:
        sidecar.refresh(waits=False)  # the next fragment has it
        return _html("fragment.html", _NOTHING)

    def _html(template: str, policy: str, **more: str) -> flask.Response:
        on = sidecar.utc_now()
        status = render.servers(sidecar.snapshot, sidecar.about, now=sidecar.now(), on=on)
        shown = contents(status, render.runs(sidecar.runs.history, ())["last"], on=on)
        response = flask.make_response(flask.render_template(template, **shown, **more))
        response.headers.update(_HEADERS)
        response.headers["Content-Security-Policy"] = policy
        return response

    return page


def contents(status: Document, runs: Sequence[Document] = (), *, on: datetime.datetime) -> Document:
    """What the templates place.

    Args:
        status: as `render.servers` has it.
        runs: those that have ended, each as ``GET /v1/runs`` has it.
        on: now, in wall time.
    """
    status, runs = printable_values(status), printable_values(runs)
    return {
        "status": status,
        "node": status["node_name"] or "this node",
        "on": words.utc(on),
        "lines": timeline.lines(status, runs, on=on),
        "entries": timeline.entries(status, runs, on=on),
        "in_words": in_words,
        "ready_in_a_word": render.ready_in_a_word,
    }
