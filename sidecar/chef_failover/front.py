"""Shell: what stands before Flask on a listener.

``GET /v1/server``, which every chef-client run asks on the Unix socket, is answered here: Flask's routing and contexts
take three times as long as that answer. And Flask is loaded only after the start, since it takes a third of the time
from the start of the process to READY, which a node's first run waits for, and that run needs none of it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from chef_failover import render
from chef_failover.sidecar import Sidecar

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


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

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """One request."""
        is_question = environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"] == "/v1/server"
        if self._answers_runs and is_question:
            document = server(self._sidecar)
            if document is not None:
                body = json.dumps(document).encode()
                start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
                return [body]
        return (self._app or self.load())(environ, start_response)


def server(sidecar: Sidecar) -> render.Document | None:
    """Where a run that starts now should go; None when no server is configured."""
    snapshot, choice = sidecar.choose_for_run()
    if choice is None:
        return None
    return render.server(snapshot, choice, sidecar.about, now=sidecar.now(), on=sidecar.utc_now())
