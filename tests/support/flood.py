"""What local users can do to both listeners at once: malformed, pipelined, unread and half-open connections."""

from __future__ import annotations

import contextlib
import functools
import itertools
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
KINDS = (
    GET.replace(b"/livez", b"/v1/servers") * 273,  # and nothing of it is read
    GET + b"garbage\r\n\r\n",
    GET + b"\x00\xff" * 100,
    b"\x16\x03\x01",
    GET[:20],
    b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n{",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
    b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\r\n" * 5000,
    GET,
)


def over_unix(path: Path) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(2)
    try:
        peer.connect(str(path))
    except OSError:
        peer.close()
        raise
    return peer


def over_tcp(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=2)


def flood(path: Path, port: int, lasts_s: float) -> None:
    """Do it to the socket at ``path`` and to the loopback port, for so long."""
    ends_at = time.monotonic() + lasts_s
    ways = functools.partial(over_unix, path), functools.partial(over_tcp, port)
    with ThreadPoolExecutor(max_workers=8) as pool:
        for way, number in itertools.product(ways, range(0, len(KINDS), 4)):
            pool.submit(_connect_on, way, ends_at, number)


def _connect_on(connect: Callable[[], socket.socket], ends_at: float, number: int) -> None:
    """Connect as fast as it goes, keep 25 connections, and hang up on some at once."""
    held: list[socket.socket] = []
    while time.monotonic() < ends_at:
        number += 1
        with contextlib.suppress(OSError):
            peer = connect()
            held.append(peer)
            peer.settimeout(0.2)
            peer.sendall(KINDS[number % len(KINDS)])
        if len(held) > 25 or (held and number % 11 == 0):
            held.pop(0).close()
    for peer in held:
        peer.close()
