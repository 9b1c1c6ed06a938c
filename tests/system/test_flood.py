"""Whatever local users do to either listener, it serves when they have done, as fast and as small as before."""

import contextlib
import functools
import itertools
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.daemon_process import daemon, free_port, until, write_config

LASTS_S = 10.0
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


def resident_mb(pid):
    (kb,) = (line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line)
    return int(kb) / 1024


def flood(connect, ends_at, number):
    """Connect as fast as it goes, keep 25 connections, and hang up on some at once."""
    held = []
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


def over_unix(path):
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(2)
    try:
        peer.connect(str(path))
    except OSError:
        peer.close()
        raise
    return peer


def over_tcp(port):
    return socket.create_connection(("127.0.0.1", port), timeout=2)


def p99_s(running):
    """How long all but one in a hundred of the shim's questions take at the most."""
    took = []
    for _ in range(200):
        began = time.monotonic()
        assert running.ask("/v1/server?wait=no").status == 200
        took.append(time.monotonic() - began)
    return sorted(took)[197]


@pytest.mark.timeout(300)
def test_after_a_flood_the_shim_is_answered_as_before(servers, tmp_path):
    for server in servers:
        server.start()
    port = free_port()
    ways = functools.partial(over_unix, tmp_path / "sidecar.sock"), functools.partial(over_tcp, port)
    with daemon(write_config(tmp_path, servers, loopback=f'"127.0.0.1:{port}"')) as running:
        until(lambda: running.ask("/v1/servers").body["degraded"] is False)
        before_s = max(p99_s(running), p99_s(running))
        lines, mb = len(running.log.splitlines()), resident_mb(running.process.pid)
        ends_at = time.monotonic() + LASTS_S
        with ThreadPoolExecutor(max_workers=8) as pool:
            for way, number in itertools.product(ways, range(0, len(KINDS), 4)):
                pool.submit(flood, way, ends_at, number)
        until(running.is_up)
        assert min(p99_s(running) for _ in range(3)) < max(0.05, 5 * before_s), "more only where the host is busy"
        assert resident_mb(running.process.pid) - mb < 16
        assert len(running.log.splitlines()) - lines < 100
        with over_tcp(port) as peer:
            peer.settimeout(30)
            peer.sendall(GET)
            assert peer.recv(100).startswith(b"HTTP/1.1 200 OK")
        assert running.stop() == 0
