"""Shell: what stands before Flask on a listener.

``GET /v1/server``, which every chef-client run asks on the Unix socket, is answered here: Flask's routing and contexts
take three times as long as that answer, and waitress' parsing and bookkeeping twice as long, so an answer that is ready
goes past both. And Flask is loaded only after the start, since it takes a third of the time from the start of the
process to READY, which a node's first run waits for, and that run needs none of it.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import attrs

from chef_failover.api import render
from chef_failover.engine.sidecar import Sidecar
from chef_failover.model.model import Choice, Snapshot
from chef_failover.state.words import Document

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


_RUN_ASKS = re.compile(rb"GET /v1/server(?:\?([^ \r\n]*))? HTTP/1\.[01]\r\n(?:[^\r\n]+\r\n)*\r\n")
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?")


@attrs.frozen
class Question:
    """What ``GET /v1/server`` is asked: whether to wait for fresh results, and how old they may be at the most."""

    waits: bool = True
    max_age_s: float = math.inf

    @classmethod
    def parse(cls, query: str) -> Question:
        """The question in the query of a URL.

        Raises:
            ValueError: it makes no sense; with what would.
        """
        asked = dict(parse_qsl(query, keep_blank_values=True))
        wait, max_age = asked.get("wait"), asked.get("max_age")
        if wait not in (None, "no"):
            raise ValueError(f"wait is {wait!r}; it may be no, or left out")
        if max_age is not None and not _SECONDS.fullmatch(max_age):
            raise ValueError(f"max_age is {max_age!r}; it may be a number of seconds such as 0.5, or left out")
        return cls(wait is None, math.inf if max_age is None else float(max_age))


class Front:
    """A WSGI application.

    Args:
        sidecar: what it asks.
        make_app: makes the application for everything that is not simply an answer; called once, by `load` or by the
            first who needs it.
        answers_runs: whether ``GET /v1/server`` is answered here: on the Unix socket, where nobody needs to be refused.
    """

    def __init__(self, sidecar: Sidecar, make_app: Callable[[], WSGIApplication], *, answers_runs: bool) -> None:
        self._sidecar = sidecar
        self._make_app = make_app
        self._answers_runs = answers_runs
        self._app: WSGIApplication | None = None
        self._loading = threading.Lock()

    def load(self) -> WSGIApplication:
        """The application behind, made if it is not there yet."""
        with self._loading:
            if self._app is None:
                self._app = self._make_app()
            return self._app

    def at_once(self, request: bytes) -> bytes | None:
        """The whole HTTP answer to the HTTP ``request``, if that is a run's question and need not wait; else None."""
        asked = _RUN_ASKS.fullmatch(request)
        if asked is None:
            return None
        try:
            question = Question.parse((asked[1] or b"").decode())
        except ValueError:
            return None
        found = self._sidecar.choose_at_once(is_final=question.waits, max_age_s=question.max_age_s)
        document = _document(self._sidecar, *found) if found else None
        if document is None:
            return None
        body = json.dumps(document).encode()
        return b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """One request."""
        is_question = environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"] == "/v1/server"
        document = None
        if self._answers_runs and is_question:
            with contextlib.suppress(ValueError):
                document = server(self._sidecar, Question.parse(environ["QUERY_STRING"]))
        if document is not None:
            body = json.dumps(document).encode()
            start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
            return [body]
        return (self._app or self.load())(environ, start_response)


def server(sidecar: Sidecar, question: Question) -> Document | None:
    """Where a run that starts now should go; None when no server is configured.

    Where the question does not wait it is there at once, by what is known, if that speaks for a server.
    """
    found = None if question.waits else sidecar.choose_at_once(is_final=False, max_age_s=question.max_age_s)
    return _document(sidecar, *(found or sidecar.choose_for_run(question.max_age_s)))


def _document(sidecar: Sidecar, snapshot: Snapshot, choice: Choice | None) -> Document | None:
    if choice is None:
        return None
    return render.server(snapshot, choice, sidecar.about, now=sidecar.now(), on=sidecar.utc_now())
