"""I/O: the Unix socket and the loopback port, served by waitress.

waitress hands every request to a thread. That costs two wake-ups, and, as long as both threads want the interpreter,
some milliseconds now and then. Nearly all our answers are ready at once, so the loop gives them itself; threads are for
those that take time. And what every run asks, if it is ready, is answered before waitress sees the connection.

Each listener has a loop, threads and a limit of connections of its own: whatever local users do to the loopback port,
root's socket answers.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import waitress.server
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.task import ThreadedTaskDispatcher, WSGITask

from chef_failover.config.urls import HostPort
from chef_failover.errors import AlreadyRunningError, ListenError

log = logging.getLogger(__name__)

SOCKET_MODE = 0o660
_SHUTDOWN_S = 0.3
"""How long requests under way may take to end when we stop."""
_LIMITS: dict[str, Any] = {
    "max_request_header_size": 16 * 1024,
    "max_request_body_size": 64 * 1024,
    "channel_timeout": 30,
    "ident": None,
}

_IDLE_S = 30.0
_FIRST_BYTES = 4096
_UCRED = struct.Struct("iII")
"""unix(7): process, user, group."""

QUESTION = "/v1/server"
"""The one request whose answer may have to wait for a probe: where it need not, it seldom gets here."""
SLOW_CHANGES = ("/drain", "/undrain", "/pin", "/unpin")
"""How requests end whose answer has to wait for the disk, and for whoever knows the names of users."""
PEER = "chef_failover.peer_uid"
"""Where the WSGI environment has the uid of who has connected to the Unix socket, as the kernel tells it."""
LABOUR = frozenset({"/metrics"})
"""What takes milliseconds to render, and at the first time to import: threads do it, and the loop goes on answering."""

App = Callable[..., Any]


class _Dispatcher(ThreadedTaskDispatcher):
    """Serves a request on the loop's own thread, unless its answer has to wait."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self.set_thread_count(threads)
        self._ready: collections.deque[Any] = collections.deque()
        self._loop = 0

    def add_task(self, task: Any) -> None:  # noqa: ANN401
        """Called by waitress, under locks of its own, with an HTTPChannel that has a whole request."""
        path = task.requests[0].path
        if path == QUESTION or path in LABOUR or path.endswith(SLOW_CHANGES):
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


class _UnixTask(WSGITask):
    """A request over the Unix socket, whose peer the kernel knows."""

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        connection = self.channel.socket
        with contextlib.suppress(OSError):  # it was closed meanwhile, and nobody reads the answer
            if connection is not None:
                credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
                environ[PEER] = _UCRED.unpack(credentials)[1]
        return environ


class _UnixChannel(HTTPChannel):
    task_class = _UnixTask


class _Door:
    """In the place of a channel's class: answers a new connection at once where it can, or gives it to a channel."""

    def __init__(self, at_once: Callable[[bytes], bytes | None]) -> None:
        self._at_once = at_once

    def __call__(self, server: Any, connection: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Called by waitress in its loop, which an exception from here would end."""
        if not self._is_served(connection):
            _UnixChannel(server, connection, *args, **kwargs)

    def _is_served(self, connection: socket.socket) -> bool:
        try:
            connection.setblocking(False)
            request = connection.recv(_FIRST_BYTES, socket.MSG_PEEK)
            answer = self._at_once(request)
        except OSError:  # nothing is there yet, or nobody any more: a channel will find out
            return False
        except Exception:
            log.exception("a question broke by a fault of ours")
            return False
        if answer is None:
            return False
        with contextlib.suppress(OSError):  # who does not take it whole has gone, or gets no more of it
            try:
                connection.sendall(answer)
            finally:
                connection.recv(len(request))  # or closing it would reset it
        connection.close()
        return True


class Listener:
    """One listener, open from construction to `close`.

    Args:
        key: the configuration's name for it, for messages.
        address: a path for a Unix socket, where a stale one is replaced; or a host and a port.
        app: what answers there.
        at_once: gives the whole answer to what a connection to a Unix socket begins with, or None.
        threads: for questions that wait.
        connections: at the most.

    Raises:
        AlreadyRunningError: somebody answers on that path.
        ListenError: it cannot be opened.
    """

    def __init__(
        self,
        key: str,
        address: Path | HostPort,
        app: App,
        *,
        at_once: Callable[[bytes], bytes | None] = lambda _: None,
        threads: int,
        connections: int,
    ) -> None:
        self._address = address
        self._map: dict[int, Any] = {}
        # Requests that wait for one probe do queue, and that is no news.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        options: dict[str, Any] = dict(_LIMITS, connection_limit=connections)
        if isinstance(address, Path):
            _refuse_second(key, address)
            options |= {"unix_socket": str(address), "unix_socket_perms": f"{SOCKET_MODE:o}"}
        else:
            options |= {"host": address.host, "port": address.port}
        self._dispatcher = _Dispatcher(threads)
        try:
            self._server: Any = waitress.server.create_server(
                app, map=self._map, _dispatcher=self._dispatcher, **options
            )
            if isinstance(self._server, waitress.server.UnixWSGIServer):
                self._server.channel_class = _Door(at_once)  # type: ignore[assignment]
            self._inode = address.stat().st_ino if isinstance(address, Path) else 0
        except OSError as error:
            self._shut()
            raise ListenError(f"{key} {address}: {error.strerror or error}") from error
        self._thread = threading.Thread(target=self._run, name=key, daemon=True)

    def start(self) -> None:
        """Answer. Who has connected since construction has been kept waiting, not refused."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering, and take the socket's file away if it is still ours."""
        if self._thread.is_alive():
            self._server.trigger.pull_trigger(self._shut)
            self._thread.join(_SHUTDOWN_S)
        else:
            self._shut()
        if isinstance(self._address, Path):
            with contextlib.suppress(OSError):
                if self._address.stat().st_ino == self._inode:
                    self._address.unlink()

    def _run(self) -> None:
        while self._map:
            wasyncore.poll2(_IDLE_S, self._map)
            self._dispatcher.serve_ready()

    def _shut(self) -> None:
        wasyncore.close_all(self._map)
        self._dispatcher.shutdown(timeout=_SHUTDOWN_S)  # type: ignore[arg-type]


def _refuse_second(key: str, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
        except OSError:
            return
    raise AlreadyRunningError(f"{key} {path}: another sidecar answers there")
