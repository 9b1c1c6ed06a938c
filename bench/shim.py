"""(a) The shim's whole resolution, against a plain HTTP GET of the same bytes from nginx.

Both sides run in one Ruby process, in turns, over a Unix socket. The plain GET is Ruby's own HTTP client, Net::HTTP,
because that is what a plain HTTP GET in Ruby is: it writes a request, parses the status line and every header, and ends
the body by its length, as the shim has to. A bare write and read until the end of the stream is quicker and checks
nothing; it stands in the table for information.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from bench import parts, processes
from bench.figures import Figure, at_most, duration, median, note, percentile
from bench.servers import Fleet, fleet

GROUP = "a"
ROUNDS = 600
_HERE = Path(__file__).parent
_NGINX = """
daemon off; worker_processes 1; pid {home}/nginx.pid; error_log {home}/nginx.err;
events {{}}
http {{
  access_log off;
  client_body_temp_path {home}/t1; proxy_temp_path {home}/t2; fastcgi_temp_path {home}/t3;
  uwsgi_temp_path {home}/t4; scgi_temp_path {home}/t5;
  server {{ listen unix:{home}/nginx.sock;
    location = /v1/server {{ default_type application/json; return 200 '{body}'; }} }}
}}
"""


def measure() -> list[Figure]:
    """The figures; `MissingPartError` without ruby or nginx."""
    ruby, nginx = parts.require("ruby"), parts.require("nginx")
    with fleet() as servers, contextlib.ExitStack() as stack:
        config = servers.config("shim", health="fresh_for: 1h")
        sidecar = stack.enter_context(processes.sidecar(config))
        processes.until(sidecar.is_answering)
        processes.until(lambda: set(sidecar.health().values()) == {"UP"})
        socket = _nginx(stack, nginx, config.parent, json.dumps(sidecar.get("/v1/server")))
        probes = _probes(servers)
        command = (ruby, str(_HERE / "shim.rb"), str(processes.SHIM), str(config), str(socket), str(ROUNDS))
        samples = processes.ruby_json(*command, timeout_s=60)
        if _probes(servers) > probes + len(servers.servers):  # the first reading of client.d has each probed once
            raise RuntimeError("the sidecar probed, so this was no resolution from cached results")
    return _figures(samples)


def _figures(samples: dict[str, list[float]]) -> list[Figure]:
    shim, plain, bare = (samples[name] for name in ("shim", "plain", "bare"))
    slowest = percentile(shim, 99)
    p99_plain = duration(percentile(plain, 99))
    figures = [
        at_most(
            GROUP,
            "shim, whole resolution : Net::HTTP GET from nginx",
            _of(shim),
            _of(plain),
            figure=_ratio(shim, plain),
            limit=3.5,
        ),
        at_most(GROUP, "shim, p99 in ms", duration(slowest), f"p99 {p99_plain}", figure=slowest * 1e3, limit=10),
        note(GROUP, "shim : bare write and read, nginx", _of(shim), _of(bare), _ratio(shim, bare)),
    ]
    for name, what in _PIECES.items():
        figures.append(note(GROUP, what, _of(samples[name]), _of(plain), _ratio(samples[name], plain)))
    return figures


_PIECES = {
    "settings": "... of which reading what was accepted",
    "sidecar": "... of which asking the sidecar",
    "exchange_nginx": "... the same question to nginx",
}


def _of(samples: list[float]) -> str:
    return duration(median(samples))


def _ratio(ours: list[float], other: list[float]) -> float:
    return median(ours) / median(other)


def _probes(servers: Fleet) -> int:
    return sum(server.connections for server in servers.servers)


def _nginx(stack: contextlib.ExitStack, nginx: str, home: Path, body: str) -> Path:
    quoted = body.replace("\\", "\\\\").replace("'", "\\'").replace("$", "")
    (home / "nginx.conf").write_text(_NGINX.format(home=home, body=quoted))
    command = [nginx, "-c", str(home / "nginx.conf"), "-e", str(home / "nginx.err")]
    stack.enter_context(processes.running(command, log=home / "nginx.log"))
    socket = home / "nginx.sock"
    processes.until(socket.exists)
    return socket
