"""(f) What a run waits for its server while 200 readers are at the page and the API, and main dies in their midst.

The readers are one process with 200 connections to the loopback port, each of which asks for the next document as soon
as it has one, so that port never rests, and a core of the two is theirs. Resolutions follow each other in one Ruby
process, from fresh results. Beside it stand the same resolutions without readers.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench import parts, processes
from bench.figures import Figure, at_most, duration, note, percentile
from bench.servers import fleet
from chef_devserver.faults import Fault
from chef_devserver.server import DevServer

GROUP = "f"
READERS = 200
LASTS_S = 30
BEFORE_S = 2
"""The readers begin this much earlier."""
LIMIT_MS = 50.0
_HERE = Path(__file__).parent


def measure() -> list[Figure]:
    """The figures; `MissingPartError` without ruby."""
    ruby = parts.require("ruby")
    with fleet() as servers:
        port = free_port()
        health = "interval: 1s, retry_interval: 200ms, fresh_for: 1h"
        config = servers.config("crowd", health=health, loopback=f'"127.0.0.1:{port}"')
        with processes.sidecar(config) as sidecar:
            processes.until(sidecar.is_answering)
            processes.until(lambda: set(sidecar.health().values()) == {"UP"})
            command = (ruby, str(_HERE / "resolve_often.rb"), str(processes.SHIM), str(config))
            calm = processes.ruby_json(*command, str(LASTS_S / 3), timeout_s=60)
            readers = [sys.executable, str(_HERE / "readers.py"), str(port), str(READERS), str(BEFORE_S + LASTS_S)]
            with subprocess.Popen(readers, stdout=subprocess.PIPE) as reading, _death_of(servers.main):
                time.sleep(BEFORE_S)
                busy = processes.ruby_json(*command, str(LASTS_S), timeout_s=LASTS_S + 60)
                answers = int(reading.communicate()[0])
    if {url for url, _ in busy} != {server.chef_server_url for server in servers.servers[:2]}:
        raise RuntimeError("there was no failover among the readers")
    slow, alone = (percentile([took_s for _, took_s in resolutions], 99) for resolutions in (busy, calm))
    what = f"shim, p99 in ms, beside {READERS} readers"
    return [
        at_most(GROUP, what, duration(slow), f"alone {duration(alone)}", figure=slow * 1e3, limit=LIMIT_MS),
        note(GROUP, "... answers to the readers a second", f"{answers}", f"{len(busy)} runs", answers / LASTS_S),
    ]


@contextlib.contextmanager
def _death_of(main: DevServer) -> Iterator[None]:
    """It dies in the middle."""
    timer = threading.Timer(BEFORE_S + LASTS_S / 2, lambda: setattr(main, "fault", Fault.REFUSE))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
