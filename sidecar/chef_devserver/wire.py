"""I/O: one connection: TLS, then requests and answers, as far as the fault of the moment lets it.

The standard library's request handler parses; it serves one connection after the other on the same socket (keep-alive),
as nginx does. Whatever a client does to us ends the connection and nothing else.
"""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import struct
from collections.abc import Callable

import attrs

from chef_devserver.connections import Pause
from chef_devserver.faults import Fault
from chef_devserver.messages import Request, Response

_IDLE_S = 30.0
"""A client who says nothing for this long is dropped."""
_READ = 5_000_000
"""Bytes; no more of a body is read, which is more than any server here takes."""
_DRIP_S = 0.1
_CHUNK = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
_HUGE_HEADERS = b"".join(b"X-Huge-%d: %s\r\n" % (number, b"x" * 8000) for number in range(250))


class Channel(ssl.SSLSocket):
    """A TLS socket that can be made of a connection which has just been reset; the handshake finds that out.

    ``SSLSocket`` looks for the peer when it is made, and leaves its descriptor open if there is none any more
    (``SSLSocket._create`` of CPython 3.11.7, when its ``recv(1)`` raises ECONNRESET).
    """

    def getpeername(self) -> tuple[str, int]:
        """Any client: its name is not checked."""
        return "", 0


@attrs.frozen
class Service:
    """What a connection needs from its server."""

    fault: Fault | None
    tls: ssl.SSLContext
    answer: Callable[[Request], Response]
    log: Callable[[str, str, int], None]
    pause: Pause


def serve(connection: socket.socket, service: Service) -> None:
    """Serve an accepted connection until one side ends it.

    Raises:
        OSError: the client left, or does not like our certificate.
    """
    connection.settimeout(_IDLE_S)
    if service.fault is Fault.RESET:
        _reset(connection)
    elif service.fault is Fault.SILENT:
        _listen_only(connection)
    else:
        # The caller keeps ``connection`` to cut it, so TLS gets the same socket under a second descriptor.
        with service.tls.wrap_socket(connection.dup(), server_side=True, do_handshake_on_connect=False) as channel:
            channel.settimeout(_IDLE_S)
            if service.fault is Fault.CLIENT_CERTIFICATE_TLS:
                _refuse_certificate(channel, connection)
                return
            channel.do_handshake()
            if service.fault is Fault.TLS_SILENT:
                _listen_only(channel)
            else:
                _Conversation(channel, service)


class _Conversation(http.server.BaseHTTPRequestHandler):
    """The requests of one connection; making one serves them all."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S
    disable_nagle_algorithm = True

    def __init__(self, channel: ssl.SSLSocket, service: Service) -> None:
        self._channel = channel
        self._service = service
        super().__init__(channel, channel.getpeername(), None)  # type: ignore[arg-type]  # it only keeps the server

    def _respond(self) -> None:
        request = Request(
            method=self.command,
            target=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self._body(),
        )
        misbehave = _MISBEHAVIOURS.get(self._service.fault)
        if misbehave is not None:
            self._service.log(request.method, request.target, 200)
            self.close_connection = True
            misbehave(self._channel, self._service.pause)
            return
        response = self._service.answer(request)
        self._service.log(request.method, request.target, response.status)
        self.send_response_only(response.status)
        self.send_header("Date", self.date_time_string())
        for name, value in response.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if request.method != "HEAD":
            self.wfile.write(response.body)

    def _body(self) -> bytes:
        length = int(self.headers.get("Content-Length", "0"))
        self.close_connection = self.close_connection or length > _READ
        return self.rfile.read(min(length, _READ))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _respond  # noqa: N815 - the library looks for these names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's own name
        """Say nothing: the server keeps the requests."""


def _drip(channel: socket.socket, pause: Pause) -> None:
    channel.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while not pause(_DRIP_S):
        channel.sendall(b"x")


def _drip_body(channel: socket.socket, pause: Pause) -> None:
    channel.sendall(_head("Content-Length: 1000000"))
    while not pause(_DRIP_S):
        channel.sendall(b" ")


def _endless_body(channel: socket.socket, pause: Pause) -> None:
    channel.sendall(_head("Transfer-Encoding: chunked"))
    while not pause(0):
        channel.sendall(_CHUNK)


def _huge_headers(channel: socket.socket, pause: Pause) -> None:  # noqa: ARG001 - the table's signature
    channel.sendall(b"HTTP/1.1 200 OK\r\n" + _HUGE_HEADERS + b"Content-Length: 2\r\n\r\n{}")


def _reset_mid_body(channel: socket.socket, pause: Pause) -> None:  # noqa: ARG001 - as above
    channel.sendall(_head("Content-Length: 1000") + b'{"name":')
    _reset(channel)


_MISBEHAVIOURS: dict[Fault | None, Callable[[socket.socket, Pause], None]] = {
    Fault.DRIP: _drip,
    Fault.DRIP_BODY: _drip_body,
    Fault.ENDLESS_BODY: _endless_body,
    Fault.HUGE_HEADERS: _huge_headers,
    Fault.RESET_MID_BODY: _reset_mid_body,
}


def _head(framing: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{framing}\r\n\r\n".encode()


def _refuse_certificate(channel: ssl.SSLSocket, connection: socket.socket) -> None:
    """Say in the handshake that there is none, and hear the client out: a reset would overtake the words."""
    with contextlib.suppress(ssl.SSLError):
        channel.do_handshake()
    _listen_only(connection)


def _listen_only(connection: socket.socket) -> None:
    connection.settimeout(None)
    while connection.recv(65536):
        pass


def _reset(connection: socket.socket) -> None:
    """Make the coming close an RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
