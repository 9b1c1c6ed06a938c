"""20,000 requests of every kind, well-formed and not, on both listeners: no exception ends in a net."""

import contextlib
import json
import random
import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.daemon_process import daemon, free_port, until, write_config

COUNT = 20_000
PEERS = 8
"""Connections at a time, half of them on each listener."""
PATHS = [
    *("/", "/fragment", "/livez", "/readyz", "/metrics", "/v1/servers", "/v1/servers?refresh=yes", "/v1/facts"),
    *("/v1/runs", "/v1/server", "/v1/server?wait=no", "/v1/server?max_age=0.5", "/v1/server?max_age=-1&wait=yes"),
    *("/v1/servers/mainserver/drain", "/v1/servers/mainserver/undrain", "/v1/servers/standbyserver/pin", "/v1/unpin"),
    *("/v1/servers/mainserver/associate", "/v1/servers/x/drain", "/v1/servers//drain", "/static/x", "/v1"),
    *("*", "x", "//", "//[", "///..//", "/%", "/%00", "/%ff%fe", "/\xe9", "/?", "/#", "/?a=%", "/?" + "&" * 2000),
    *("http://[", "http://]", "http://[x]/", "http://[::1]/livez", "http://a:b/", "http://a@b:99999/livez", "x://"),
    *("http://\u2100/", "javascript:x", "/v1/server?wait=\u202e", "/" + "a/" * 3000, "/" + "x" * 20_000),
]
ORDERS = [path for path in PATHS if path.endswith(("drain", "pin", "associate"))] + ["/v1/runs"]
HEADERS = [
    *("Host: localhost", "Host: 127.0.0.1:1", "Host: [::1]", "Host: evil.example.com", "Host: [", "Host: ", "Host"),
    *("Connection: keep-alive", "Connection: close", "Connection: upgrade", "Upgrade: h2c", "Expect: 100-continue"),
    *("Expect: x", "Accept: application/openmetrics-text; version=1.0.0", "Accept: ;;q=x,", "Accept: */*;q=9e999"),
    *("Accept-Language: \xff", "Accept-Encoding: gzip;q=\x00", "Content-Type: application/json", "Content-Type: ;"),
    *("Content-Type: multipart/form-data", "Content-Type: text/plain; charset=utf-7", "Content-Length: 2"),
    *("Content-Length: -1", "Content-Length: +5", "Content-Length: 1,1", "Content-Length: " + "9" * 5000),
    *("Content-Length: 65536", "Content-Length: 60000", "Content-Length: \u0665", "Transfer-Encoding: chunked"),
    *("Transfer-Encoding: gzip", "Transfer-Encoding: ,chunked,", "Transfer_Encoding: chunked", "Range: bytes=9-1"),
    *('If-None-Match: "', "If-Modified-Since: 99 Foo 99999", "Cookie: a=\x01;;;=", "Authorization: Basic %%%"),
    *("Authorization: Digest x=", "X-Forwarded-For: [", 'Forwarded: for="', " folded: x", "\tx", ":", ": x", "a b: c"),
    *("X-\u202e: y", "X: " + "y" * 17_000, "X: a\rb", "X: a\nb", "X: \x1b[2J", "Date: x", "Via: ", "TE: trailers"),
]
BODIES = [
    "", "{}", "[]", "null", "{", '"', "1e999", "-" * 99, "[" * 30_000, '{"a":' * 9000, '{"replace": true}', "\x00\xff",
    '{"replace": 1}', '{"reason": "x", "for_s": 1}', '{"for_s": 1e400}', '{"for_s": -1}', '{"strict": 2}',
    '{"reason": "' + "\u202e" * 300 + '"}', '{"on_behalf_of": ["x"]}', '{"reason": "\\ud800"}', "x" * 70_000,
    '{"run_id": "a", "event": "started", "server": "mainserver"}', '{"run_id": "a", "event": "succeeded"}',
    '{"run_id": {}, "event": []}', '{"run_id": "b", "event": "failed", "server": "\\u0000", "error_class": "E"}',
]  # fmt: skip
CHUNKS = [
    "2\r\n{}\r\n0\r\n\r\n", "0\r\n\r\n", "zz\r\n", "2\r\n{}x\r\n", "-1\r\n", "f" * 5000 + "\r\n", "2\r\n{}", "\r\n",
    "2;a=b\r\n{}\r\n0\r\n\r\n", "2;\x00\r\n", "0\r\nX: y\r\n\r\n", "0x2\r\n{}\r\n0\r\n\r\n",
    "1\r\n[\r\n" * 3000 + "0\r\n\r\n",
]  # fmt: skip
METHODS = [
    "GET",
    "GET",
    "GET",
    "POST",
    "POST",
    "HEAD",
    "PUT",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "get",
    "",
    "G\x00",
    "Ä",
]
VERSIONS = ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "HTTP/11", "", "HTTP/\u0661.1"]


def a_request(rng):
    """A request's bytes: most are nearly well-formed, since what is refused at once goes no further."""
    method, path, version = rng.choice(METHODS), rng.choice(PATHS), rng.choice(VERSIONS)
    if rng.random() < 0.5:
        method, version = rng.choice(["GET", "POST"]), "HTTP/1.1"
    if rng.random() < 0.2:
        method, path, version = "POST", rng.choice(ORDERS), "HTTP/1.1"
    headers = ["Host: localhost"] if rng.random() < 0.8 else []
    body = b""
    kind = rng.random()
    if kind < 0.35:
        body = rng.choice(BODIES).encode(errors="surrogatepass")
        headers.append(f"Content-Length: {len(body)}")
    elif kind < 0.5:
        body = rng.choice(CHUNKS).encode()
        headers.append("Transfer-Encoding: chunked")
    headers += rng.sample(HEADERS, rng.choice([0, 0, 1, 1, 2, 5]))
    head = "\r\n".join([f"{method} {path} {version}".rstrip(), *headers]) + "\r\n\r\n"
    return head.encode(rng.choice(["utf-8", "utf-8", "utf-16"]) if rng.random() < 0.1 else "utf-8") + body


def a_packet(rng):
    """What one client sends: a request, more of them at once, or one that was damaged on its way."""
    data = b"".join(a_request(rng) for _ in range(rng.choice([1, 1, 1, 1, 2, 5])))
    if rng.random() < 0.25:
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(data))
            odd = rng.choice([b"", b"\r\n", b"\n", b"\x00", b" ", rng.randbytes(3), b"\r\n\r\n", b":"])
            data = data[:at] + odd + data[at + rng.randint(0, 2) :]
    return data[: rng.randrange(len(data))] if data and rng.random() < 0.1 else data


def answer_to(peer, data, patience_s):
    """What comes back; while nothing does, we say that no more will come, since the request may be no whole one."""
    answer = b""
    with peer, contextlib.suppress(ConnectionError):
        peer.sendall(data)
        while True:
            if not select.select([peer], [], [], patience_s)[0]:
                peer.shutdown(socket.SHUT_WR)
            chunk = peer.recv(65536)
            if not chunk:
                break
            answer += chunk
    return answer


def send_many(connect, rng, count, patience_s):
    """The status lines that came back, each with an example of what was answered so."""
    found = {}
    for _ in range(count):
        data = a_packet(rng)
        answer = answer_to(connect(), data, patience_s)
        found.setdefault(answer.partition(b"\r\n")[0], data)
    return found


@pytest.mark.timeout(1800)
def test_of_20_000_requests_none_ends_in_a_net(servers, tmp_path):
    for server in servers:
        server.start()
    port = free_port()
    path = write_config(tmp_path, servers, health="{}", loopback=f'"127.0.0.1:{port}"')

    def over_unix():
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(60)
        peer.connect(str(tmp_path / "sidecar.sock"))
        return peer

    def over_tcp():
        return socket.create_connection(("127.0.0.1", port), timeout=60)

    with daemon(path) as running:
        until(lambda: running.ask("/v1/server").body["degraded"] is False)
        began = time.monotonic()
        for _ in range(20):
            running.ask("/v1/servers")
        patience_s = max(0.05, time.monotonic() - began)  # for 20 times as long as an answer takes on this host
        with ThreadPoolExecutor(PEERS) as pool:
            ways = [(over_unix, over_tcp)[number % 2] for number in range(PEERS)]
            rngs = [random.Random(number) for number in range(PEERS)]
            found = {}
            for one in pool.map(send_many, ways, rngs, [COUNT // PEERS] * PEERS, [patience_s] * PEERS):
                found |= one
        assert {status.split()[1] for status in found if status} >= {
            b"200",
            b"202",
            b"400",
            b"404",
            b"405",
            b"413",
            b"421",
        }
        assert not {status: data for status, data in found.items() if b" 500 " in status}
        for order in ("/v1/unpin", "/v1/servers/mainserver/undrain", "/v1/servers/standbyserver/undrain"):
            assert running.ask(order, method="POST").status == 200
        plain = running.ask("/v1/server")
        assert plain.status == 200
        assert {server.name: server.chef_server_url for server in servers}[plain.body["name"]] == plain.body[
            "chef_server_url"
        ]
        assert plain.body["degraded"] is False
        with over_tcp() as peer:
            peer.sendall(b"GET /v1/server HTTP/1.0\r\nHost: localhost\r\n\r\n")
            assert json.loads(peer.makefile("rb").read().partition(b"\r\n\r\n")[2])["name"] == plain.body["name"]
        alive = running.ask("/livez").body
        assert (alive["faults"], alive["last_fault"]) == (0, None), running.log
        assert "Traceback" not in running.log
        assert running.stop() == 0
