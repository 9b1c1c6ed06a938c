"""Listeners as local users meet them: one request a connection, and nothing that anybody sends ends them."""

import contextlib
import errno
import json
import logging
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from chef_failover.api import client
from chef_failover.api.listeners import PEER, Listener, resting
from chef_failover.config.urls import HostPort
from chef_failover.errors import ListenError
from tests.support.daemon_process import free_port, until

GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


def app(environ, start_response):
    body = json.dumps({"path": environ["PATH_INFO"], "peer": environ.get(PEER)}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture(params=["socket", "loopback"])
def connect(request, tmp_path):
    """Gives a new connection to a listener of that kind."""
    address = tmp_path / "sidecar.sock" if request.param == "socket" else HostPort("127.0.0.1", free_port())
    listener = Listener("x", address, app, threads=2, connections=60)
    listener.start()

    def make():
        if request.param == "socket":
            peer = socket.socket(socket.AF_UNIX)
            peer.connect(str(address))
        else:
            peer = socket.create_connection((address.host, address.port))
        peer.settimeout(10)
        return peer

    yield make
    listener.close()


def exchange(peer, *parts):
    """What comes back to the end of the stream, or to the reset for what was sent in vain."""
    answer = b""
    with peer, contextlib.suppress(ConnectionError):
        for part in parts:
            peer.sendall(part)
            time.sleep(0.02 if len(parts) > 1 else 0)
        while chunk := peer.recv(65536):
            answer += chunk
    return answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        GET,
        GET.replace(b"1.1", b"1.0"),
        GET.replace(b"1.1", b"1.0").replace(b"Host", b"Connection: keep-alive\r\nHost"),
        GET.replace(b"Host", b"Connection: keep-alive\r\nHost"),
        GET.replace(b"Host", b"Connection: close\r\nHost"),
        GET.replace(b"GET", b"HEAD"),
    ],
    ids=["1.1", "1.0", "1.0 keep-alive", "1.1 keep-alive", "1.1 close", "HEAD"],
)
def test_every_answer_ends_its_connection(connect, request_bytes):
    answer = exchange(connect(), request_bytes)
    assert answer.startswith(b"HTTP/1."), answer
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize(
    "request_bytes",
    [
        GET.replace(b"/livez", b"http://["),
        GET.replace(b"/livez", b"http://[x]/livez"),
        GET.replace(b"/livez", b"x://]"),
        GET.replace(b"Host", b"Content-Length: " + b"1" * 5000 + b"\r\nHost"),
        GET.replace(b"Host", b"Expect: 100-continue\r\nContent-Length: " + b"1" * 5000 + b"\r\nHost"),
        GET.replace(b"Host", b"Expect: 100-continue\r\nContent-Length: x\r\nHost") + b"y" * 20_000,
    ],
    ids=["bracket", "no address", "no opening", "length", "length and body expected", "no length and body expected"],
)
def test_what_cannot_be_parsed_is_a_400_and_no_fault(connect, request_bytes, caplog):
    """Without our parser, this ends in waitress's own net, and without an answer."""
    assert exchange(connect(), request_bytes).startswith(b"HTTP/1.1 400 ")
    assert exchange(connect(), GET + request_bytes).startswith(b"HTTP/1.1 ")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    "behind", [GET, GET * 300, b"garbage\r\n\r\n", b"\x00\xff" * 100], ids=["one", "many", "garbage", "bytes"]
)
def test_what_is_pipelined_behind_a_request_is_dropped(connect, behind):
    """A malformed one behind a good one once ended the listener for ever."""
    for _ in range(3):
        assert exchange(connect(), GET + behind).count(b'"/livez"') <= 1
    assert b'"/livez"' in exchange(connect(), GET)


def test_a_request_in_pieces_is_answered(connect):
    assert b'"/livez"' in exchange(connect(), GET[:9], GET[9:30], GET[30:])


ODD = (b"\x16\x03\x01", GET * 273, GET[:20], b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", GET)


def test_it_stands_malformed_pipelined_unread_and_half_open_connections(connect):
    """Bounded: 600 connections, at most 50 at a time. The last kind hangs up before its answer."""
    held = []
    for number in range(600):
        with contextlib.suppress(OSError):
            peer = connect()
            kind = number % 5
            peer.sendall(ODD[kind])
            if kind == 4:
                peer.close()
            else:
                held.append(peer)
        if len(held) > 50:
            held.pop(0).close()
    for peer in held:
        peer.close()
    until(lambda: b'"/livez"' in exchange(connect(), GET))


def test_a_thread_rests_as_many_times_as_long_as_it_computes():
    rests = []

    def computes(environ, start_response):
        began = time.thread_time()
        while time.thread_time() < began + 0.01:
            pass
        return app(environ, start_response)

    def waits(environ, start_response):
        time.sleep(0.05)
        return app(environ, start_response)

    for one in (computes, waits):
        answer = resting(one, 3.0, sleep=rests.append)({"PATH_INFO": "/"}, lambda *_: None)
        assert json.loads(b"".join(answer))["path"] == "/"
    assert len(rests) == 2
    assert rests[0] >= 0.03 > rests[1]


def test_on_the_unix_socket_the_kernel_says_who_asks(tmp_path):
    """The one hook into waitress: if a new one takes it away, drains could not say who gave them."""
    listener = Listener("x", tmp_path / "s", app, threads=1, connections=10)
    listener.start()
    try:
        assert client.ask(tmp_path / "s", "/").body["peer"] == os.geteuid()
    finally:
        listener.close()


def test_it_closes_while_somebody_is_connected(tmp_path):
    path = tmp_path / "s"
    listener = Listener("x", path, app, threads=1, connections=10)
    listener.start()
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        time.sleep(0.05)
        listener.close()
    assert not path.exists()


def test_localhost_is_both_families():
    port = free_port()
    listener = Listener("x", HostPort("localhost", port), app, threads=1, connections=20)
    listener.start()
    try:
        for host in ("127.0.0.1", "::1") if socket.has_dualstack_ipv6() else ("127.0.0.1",):
            assert b'"/livez"' in exchange(socket.create_connection((host, port), timeout=10), GET + b"garbage\r\n\r\n")
            refused = exchange(socket.create_connection((host, port), timeout=10), GET.replace(b"/livez", b"http://["))
            assert refused.startswith(b"HTTP/1.1 400 ")
    finally:
        listener.close()
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
        pytest.fail("it is open still")


def test_where_a_second_family_does_not_exist_localhost_is_one(monkeypatch):
    real = socket.create_server

    def without_ipv6(address, *, family):
        if family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return real(address, family=family)

    monkeypatch.setattr(socket, "create_server", without_ipv6)
    port = free_port()
    listener = Listener("x", HostPort("localhost", port), app, threads=1, connections=20)
    listener.start()
    try:
        assert b'"/livez"' in exchange(socket.create_connection(("127.0.0.1", port), timeout=10), GET)
    finally:
        listener.close()


@pytest.mark.parametrize("kind", ["socket", "loopback", "localhost"])
def test_what_cannot_be_opened_leaves_nothing_behind(tmp_path, kind):
    """It may be tried again every few seconds, for ever."""
    port = free_port()
    (tmp_path / "s").mkdir()
    address = tmp_path / "s" if kind == "socket" else HostPort("127.0.0.1" if kind == "loopback" else kind, port)
    family = socket.AF_INET6 if kind == "localhost" and socket.has_dualstack_ipv6() else socket.AF_INET
    with socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", port), family=family):
        before = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(3):
            with pytest.raises(ListenError, match="in use|directory"):
                Listener("x", address, app, threads=2, connections=20)
        assert (threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))) == before
