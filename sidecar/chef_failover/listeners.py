"""I/O: the Unix socket and the loopback port, served by waitress in one loop.

waitress hands every request to a thread. That costs two wake-ups, and, as long as both threads want the interpreter,
some milliseconds now and then. Nearly all our answers are ready at once, so the loop gives them itself; threads are for
questions that have to wait for a probe.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import waitress.server
from waitress import wasyncore
from waitress.task import ThreadedTaskDispatcher

from chef_failover.errors import AlreadyRunningError, ListenError
from chef_failover.urls import HostPort

SOCKET_MODE = 0o660
_SHUTDOWN_S = 0.3
"""How long requests under way may take to end when we stop."""
_LIMITS: dict[str, Any] = {
    "max_request_header_size": 16 * 1024,
    "max_request_body_size": 64 * 1024,
    "channel_timeout": 30,
    "connection_limit": 200,
    "ident": None,
}

_WAITING_THREADS = 8
_IDLE_S = 30.0

App = Callable[..., Any]


class _Dispatcher(ThreadedTaskDispatcher):
    """Serves a request on the loop's own thread, unless ``must_wait()`` says that its answer takes time."""

    def __init__(self, must_wait: Callable[[], bool]) -> None:
        super().__init__()
        self.set_thread_count(_WAITING_THREADS)
        self._must_wait = must_wait
        self._ready: collections.deque[Any] = collections.deque()
        self._loop = 0

    def add_task(self, task: Any) -> None:  # noqa: ANN401
        """Called by waitress, under locks of its own, with an HTTPChannel that has a whole request."""
        if self._must_wait():
            super().add_task(task)
        else:
            self._ready.append(task)
            if threading.get_ident() != self._loop:  # a thread has answered, and the same client asks on
                task.server.pull_trigger()

    def serve_ready(self) -> None:
        """Called by the loop, under no lock."""
        self._loop = threading.get_ident()
        while self._ready:
            self._ready.popleft().service()


class Listeners:
    """Both listeners, open from construction to `close`.

    Args:
        socket_path: of the Unix socket; a stale one is replaced.
        socket_app: what answers there.
        loopback: the address of the TCP port, or None for none.
        loopback_app: what answers there.
        must_wait: whether the answer to a question may have to wait for something else than the processor.

    Raises:
        AlreadyRunningError: somebody answers on ``socket_path``.
        ListenError: one of them cannot be opened; then none is.
    """

    def __init__(
        self,
        socket_path: Path,
        socket_app: App,
        loopback: HostPort | None,
        loopback_app: App,
        must_wait: Callable[[], bool],
    ) -> None:
        self._socket_path = socket_path
        self._map: dict[int, Any] = {}
        self._servers: list[Any] = []
        self._inode = 0
        self._dispatcher = _Dispatcher(must_wait)
        _refuse_second(socket_path)
        # Requests that wait for one probe do queue, and that is no news.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        try:
            self._open(f"listen.socket {socket_path}", socket_app, unix_socket=str(socket_path))
            self._inode = socket_path.stat().st_ino
            if loopback is not None:
                where = f"listen.loopback {loopback}"
                self._open(where, loopback_app, host=loopback.host, port=loopback.port)
        except ListenError:
            self._shut()
            self._unlink()
            raise
        self._thread = threading.Thread(target=self._run, name="listeners", daemon=True)
        self._thread.start()

    @property
    def loopback_port(self) -> int | None:
        """The TCP port that was opened, which matters when port 0 was asked for."""
        return int(self._servers[1].effective_port) if len(self._servers) > 1 else None

    def close(self) -> None:
        """Stop answering, and take the socket's file away if it is still ours."""
        self._servers[0].trigger.pull_trigger(self._shut)
        self._thread.join(_SHUTDOWN_S)
        self._unlink()

    def _unlink(self) -> None:
        with contextlib.suppress(OSError):
            if self._socket_path.stat().st_ino == self._inode:
                self._socket_path.unlink()

    def _open(self, where: str, app: App, **options: Any) -> None:  # noqa: ANN401
        mode = f"{SOCKET_MODE:o}"
        try:
            server = waitress.server.create_server(
                app, map=self._map, _dispatcher=self._dispatcher, unix_socket_perms=mode, **options, **_LIMITS
            )
        except OSError as error:
            raise ListenError(f"{where}: {error.strerror or error}") from error
        self._servers.append(server)

    def _run(self) -> None:
        while self._map:
            wasyncore.poll2(_IDLE_S, self._map)
            self._dispatcher.serve_ready()

    def _shut(self) -> None:
        wasyncore.close_all(self._map)
        self._dispatcher.shutdown(timeout=_SHUTDOWN_S)  # type: ignore[arg-type]


def _refuse_second(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
        except OSError:
            return
    raise AlreadyRunningError(f"listen.socket {path}: another sidecar answers there")
