"""I/O: questions to the sidecar, over its Unix socket or its loopback port; never through a proxy.

Root asks here, and any process of the service's user may answer. So an exchange has one deadline from connect to the
last byte, and one limit of bytes and one of depth for what comes back, as in the Ruby shim.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from chef_failover.config.urls import HostPort
from chef_failover.errors import SidecarUnavailableError, SocketForbiddenError

LONGEST_BYTES = 1024 * 1024
DEEPEST = 20
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})\b")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d{1,9})\r\n", re.IGNORECASE)
_QUEUE_PAUSE_S = 0.01


@attrs.frozen
class Reply:
    """``status`` is the HTTP status, ``body`` the JSON object that came with it."""

    status: int
    body: dict[str, Any]


def ask(
    address: Path | HostPort, target: str, *, method: str = "GET", body: object = None, timeout_s: float = 10.0
) -> Reply:
    """The sidecar's answer to ``target`` ("/v1/server").

    Raises:
        SocketForbiddenError: we may not ask there.
        SidecarUnavailableError: no complete answer on ``address`` in time, or not that of a sidecar.
    """
    try:
        return _parse(_Exchange(address, timeout_s).answer_to(_request(method, target, body)))
    except PermissionError as error:
        raise SocketForbiddenError(f"this user may not connect to the sidecar at {address}") from error
    except (OSError, ValueError, RecursionError) as error:
        late = f"no complete answer within {timeout_s:g} s" if isinstance(error, TimeoutError) else None
        reason = late or getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise SidecarUnavailableError(f"the sidecar does not answer at {address}: {reason}") from error


class _Exchange:
    """One question and its answer, to the end of the connection, as HTTP/1.0 has it."""

    def __init__(self, address: Path | HostPort, timeout_s: float) -> None:
        self._address = address
        self._ends_at = time.monotonic() + timeout_s

    def answer_to(self, request: bytes) -> bytes:
        """All that comes back."""
        with self._connect() as sock:
            sock.settimeout(self._left_s())
            sock.sendall(request)
            answer = bytearray()
            while chunk := self._receive(sock):
                answer += chunk
                if len(answer) > LONGEST_BYTES:
                    raise ValueError(f"answer longer than {LONGEST_BYTES // 1024} KiB")
        return bytes(answer)

    def _connect(self) -> socket.socket:
        """Linux connects a Unix socket at once, or not at all while the queue of the other side is full."""
        if not isinstance(self._address, Path):
            return socket.create_connection((self._address.host, self._address.port), timeout=self._left_s())
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        try:
            while True:
                with contextlib.suppress(BlockingIOError):
                    sock.connect(str(self._address))
                    return sock
                time.sleep(min(_QUEUE_PAUSE_S, self._left_s()))
        except OSError:
            sock.close()
            raise

    def _receive(self, sock: socket.socket) -> bytes:
        sock.settimeout(self._left_s())
        return sock.recv(65536)

    def _left_s(self) -> float:
        left_s = self._ends_at - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s


def _request(method: str, target: str, body: object) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    about = f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n" if data else ""
    return f"{method} {target} HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n{about}\r\n".encode() + data


def _parse(answer: bytes) -> Reply:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, length = _STATUS.match(head), _LENGTH.search(head + b"\r\n")
    if status is None:
        raise ValueError("not an HTTP answer" if answer else "empty answer")
    if length and len(body) < int(length[1]):
        raise ValueError("incomplete answer")
    document = json.loads(body)
    if not _is_within(document, DEEPEST):
        raise ValueError(f"answer with more than {DEEPEST} levels")
    return Reply(int(status[1]), document if isinstance(document, dict) else {})


def _is_within(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner: Iterable[object] = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_within(one, levels - 1) for one in inner)
