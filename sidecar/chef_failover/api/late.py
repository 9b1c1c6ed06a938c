"""Shell: the API, loaded after READY.

Flask takes a third of the time from the start of the process to READY. A node's boot waits for READY, and nothing that
it waits for asks the API, so the daemon opens its listeners first and loads Flask then. Who asks meanwhile waits.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from chef_failover.engine.sidecar import Sidecar

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class LateApp:
    """A WSGI application: `app.create_app` of ``sidecar``, made by `load` or by the first request."""

    def __init__(self, sidecar: Sidecar, *, may_change: bool) -> None:
        self._sidecar = sidecar
        self._may_change = may_change
        self._loading = threading.Lock()
        self._app: WSGIApplication | None = None

    def load(self) -> WSGIApplication:
        """The application, made if it is not there yet."""
        with self._loading:
            if self._app is None:
                from chef_failover.api.app import create_app  # noqa: PLC0415 - see above

                self._app = create_app(self._sidecar, may_change=self._may_change)
            return self._app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """One request."""
        return (self._app or self.load())(environ, start_response)
