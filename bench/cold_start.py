"""(e) An empty node: from the start of the process to registered with the server in use; the standbys have time.

The key is there already, since how long one takes is chance; what one takes here is shown beside it. What an
association costs is counted on the servers: each request but the probes, up to the one that registers the node.
"""

from __future__ import annotations

import time

from bench import processes
from bench.figures import Figure, at_most, duration, median
from bench.servers import NODE, Fleet, fleet
from chef_failover.api import client
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.errors import SidecarUnavailableError

GROUP = "e"
LIMIT_S = 3.0
BARE_MINIMUM = 1
"""Requests: ``POST /clients``."""
MOST_REQUESTS = BARE_MINIMUM + 2
STARTS = 5
KEYS = 7


def measure() -> list[Figure]:
    """Both figures."""
    took_s, requests = [], 0
    with fleet() as servers:
        for number in range(STARTS):
            took_s.append(_time_to_associated(servers, f"cold-{number}"))
            requests = max(requests, *map(_requests_of_association, servers.servers))
    keys_s = [_time_of(PrivateKey.generate) for _ in range(KEYS)]
    key = f"a key takes {duration(median(keys_s))}"
    asked = f"{requests} requests", f"{BARE_MINIMUM} at the least"
    return [
        at_most(
            GROUP, "empty node to associated, s", duration(median(took_s)), key, figure=median(took_s), limit=LIMIT_S
        ),
        at_most(GROUP, "requests of one association", *asked, figure=float(requests), limit=MOST_REQUESTS),
    ]


def _time_to_associated(servers: Fleet, name: str) -> float:
    for server in servers.servers:
        server.state.clients.pop(NODE, None)
        server.requests.clear()
    config = servers.config(name, health="interval: 1s", registers=True)
    (config.parent / "client.pem").write_bytes(PrivateKey.generate().private_pem())
    started = time.monotonic()
    with processes.sidecar(config) as sidecar:
        processes.until(sidecar.is_answering)
        client.ask(config.parent / "sidecar.sock", "/v1/server")  # as a run or ``chef-failover wait`` does
        processes.until(lambda: _is_associated(config))
        return time.monotonic() - started


def _is_associated(config) -> bool:
    try:
        document = client.ask(config.parent / "sidecar.sock", "/v1/servers").body
    except SidecarUnavailableError:
        return False
    entries = document.get("servers", ())
    return any(one["chosen"] and one["association"] == "associated" for one in entries) and not document["degraded"]


def _requests_of_association(server) -> int:
    """Up to and with the one that registers, but those for the status; 0 where the node is not registered yet."""
    paths = [(method, path.rpartition("/")[2]) for method, path, _ in server.requests]
    if ("POST", "clients") not in paths:
        return 0
    until_registered = paths[: paths.index(("POST", "clients")) + 1]
    return sum(path != "_status" for _, path in until_registered)


def _time_of(act) -> float:
    started = time.monotonic()
    act()
    return time.monotonic() - started
