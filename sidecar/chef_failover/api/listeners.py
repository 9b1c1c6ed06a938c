"""I/O: the Unix socket and the loopback port, served by waitress with its own loop, threads and limits.

One connection is one request: every answer ends its connection, and what a client has sent behind its first request is
dropped. So no client can cause work by pipelining requests and reading no answers.

Each listener has a loop, threads and a limit of connections of its own: whatever local users do to the loopback port,
root's socket answers.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import BaseWSGIServer, create_server
from waitress.task import WSGITask
from waitress.utilities import BadRequest

from chef_failover.config.urls import HostPort
from chef_failover.errors import AlreadyRunningError, ListenError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SOCKET_MODE = 0o660
PEER = "chef_failover.peer_uid"
"""Where the WSGI environment has the uid of who has connected to the Unix socket, as the kernel tells it."""
_SHUTDOWN_S = 0.3
"""How long requests under way may take to end when we stop."""
_LIMITS: dict[str, Any] = {
    "max_request_header_size": 16 * 1024,
    "max_request_body_size": 64 * 1024,
    "channel_timeout": 30,
    "cleanup_interval": 10,
    "ident": None,
    "asyncore_use_poll": True,
}
_NO_SUCH_FAMILY = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_UCRED = struct.Struct("iII")
"""unix(7): process, user, group."""


class _UnixTask(WSGITask):
    """A request over the Unix socket, whose peer the kernel knows. waitress has no documented way to the connection."""

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        connection = self.channel.socket
        with contextlib.suppress(OSError):  # it was closed meanwhile, and nobody reads the answer
            if connection is not None:
                credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
                environ[PEER] = _UCRED.unpack(credentials)[1]
        return environ


class _Parser(HTTPRequestParser):
    """A request as it comes in. What Python refuses to parse in it is the client's mistake.

    waitress 3.0.2 lets the ValueError out of its parser, logs a traceback and closes the connection: for a target such
    as ``http://[``, which urlsplit refuses, and for a Content-Length of more digits than int takes.
    """

    path = ""  # of what was refused before it was read: waitress names it in its log when the client has left

    def received(self, data: bytes) -> int:
        try:
            consumed = int(super().received(data))
        except ValueError:
            self.error = BadRequest("malformed request")
            self.completed = True
            consumed = len(data)
        if self.error:  # or waitress asks for the body of what it refuses, and parses that as a header
            self.expect_continue = False
        return consumed


class _Channel(HTTPChannel):
    """The one hook into waitress: the classes that a connection is made of."""

    parser_class = _Parser


class _UnixChannel(_Channel):
    task_class = _UnixTask


class Listener:
    """One listener, open from construction to `close`.

    Args:
        key: the configuration's name for it, for messages.
        address: a path for a Unix socket, where a stale one is replaced; or a host and a port.
        app: what answers there.
        threads: how many requests are served at a time; a question may wait for probes.
        connections: at the most.

    Raises:
        AlreadyRunningError: another process answers on that path.
        ListenError: it cannot be opened.
    """

    def __init__(
        self, key: str, address: Path | HostPort, app: WSGIApplication, *, threads: int, connections: int
    ) -> None:
        self.key = key
        self._address = address
        self._is_closing = False
        # Requests that wait for one probe do queue, and that is no news.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        options: dict[str, Any] = dict(_LIMITS, threads=threads, connection_limit=connections)
        if isinstance(address, Path):
            _refuse_second(key, address)
        try:
            # Bound here, since waitress starts its threads first, and leaves them behind where it cannot bind.
            options["sockets"] = _bind_unix(address) if isinstance(address, Path) else _bind_tcp(address)
            self._inode = address.stat().st_ino if isinstance(address, Path) else 0
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ListenError(f"{key} {address}: {reason}") from error
        served: dict[int, Any] = {}
        self._server = create_server(one_request(app), map=served, **options)
        for server in served.values():
            if isinstance(server, BaseWSGIServer):
                server.channel_class = _UnixChannel if isinstance(address, Path) else _Channel
        self._thread = threading.Thread(target=self._run, name=key, daemon=True)

    def start(self) -> None:
        """Answer. Who has connected since construction has been kept waiting, not refused."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether it answers; False before `start`, after `close`, and when its loop has ended by an internal error."""
        return self._thread.is_alive()

    def is_in_place(self) -> bool:
        """Whether the socket's file is still ours, so that those who ask can reach it."""
        if not isinstance(self._address, Path):
            return True
        try:
            return self._address.lstat().st_ino == self._inode
        except OSError:
            return False

    def close(self) -> None:
        """Stop answering, and take the socket's file away if it is still ours."""
        self._is_closing = True
        with contextlib.suppress(OSError):
            self._server.close()
        self._server.task_dispatcher.shutdown(timeout=_SHUTDOWN_S)  # type: ignore[arg-type]
        if self._thread.is_alive():
            self._thread.join(_SHUTDOWN_S)
        if isinstance(self._address, Path) and self.is_in_place():
            with contextlib.suppress(OSError):
                self._address.unlink()

    def _run(self) -> None:
        try:
            self._server.run()
        except (OSError, ValueError):
            if not self._is_closing:  # what `close` closes, this loop may have been waiting for
                raise


def one_request(app: WSGIApplication) -> Callable[..., Iterable[bytes]]:
    """``app``, whose every answer ends the connection.

    An application may not say ``Connection: close`` (PEP 3333). waitress says it for an answer of unknown length. So
    the length goes, unless the connection ends with the answer anyway, as for HTTP/1.0.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked = environ.get("HTTP_CONNECTION", "").lower()
        if asked == "close" or (environ["SERVER_PROTOCOL"] == "HTTP/1.0" and asked != "keep-alive"):
            return app(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Callable[[bytes], object]:  # noqa: ANN401
            return start_response(status, [one for one in headers if one[0].lower() != "content-length"], *more)

        return iter(tuple(app(environ, start)))

    return answer


def resting(
    app: WSGIApplication, times: float, *, sleep: Callable[[float], object] = time.sleep
) -> Callable[..., Iterable[bytes]]:
    """``app`` on threads that rest before they answer, ``times`` as long as they have computed.

    So each thread computes for one part in 1 + ``times`` of the time at most, however many clients ask again and again.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        began = time.thread_time()
        answered = app(environ, start_response)
        sleep(times * (time.thread_time() - began))
        return answered

    return answer


def _bind_unix(path: Path) -> list[socket.socket]:
    """A socket with its file at ``path``, in the place of one without a listener."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    bound = socket.socket(socket.AF_UNIX)
    try:
        bound.bind(str(path))
        path.chmod(SOCKET_MODE)
        bound.listen()
    except OSError:
        bound.close()
        raise
    return [bound]


def _bind_tcp(address: HostPort) -> list[socket.socket]:
    """A socket for ``address``; for ``localhost`` one of each family that this machine has."""
    hosts = ("127.0.0.1", "::1") if address.host == "localhost" else (address.host,)
    with contextlib.ExitStack() as failed:
        bound = []
        for host in hosts:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                bound.append(failed.enter_context(socket.create_server((host, address.port), family=family)))
            except OSError as error:
                if host == hosts[0] or error.errno not in _NO_SUCH_FAMILY:
                    raise
        failed.pop_all()
    return bound


def _refuse_second(key: str, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
        except OSError:
            return
    raise AlreadyRunningError(f"{key} {path}: another sidecar uses it")
