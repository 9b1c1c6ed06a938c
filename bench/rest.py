"""(d) What a sidecar with three servers costs while nothing happens, against a bare process of the same libraries.

The bare process (``bare.py``) has Flask, waitress, requests and cachetools, answers on a Unix socket and has done one
HTTPS request, and nothing of ours. Sidecars with and without a client key run beside it with a probe a minute; memory
is read at the end of that time, processor time over it. Each server is probed in it at least once.

One more has the defaults and the fleet's list in S3, which it reads at its start and then every five minutes. A reading
is a process that ends: what one costs is told apart, and added for five minutes. The first signs a URL that the others
go by, six hours long; so after the rest the sidecar is reloaded some times, each of which has it read the list.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
from pathlib import Path

from bench import processes
from bench.figures import Figure, at_most, duration, median
from bench.listed import List
from bench.servers import NODE, Fleet, fleet
from chef_failover.aws.presigned import SIGNED_FOR_S
from chef_failover.chef.libcrypto import PrivateKey

GROUP = "d"
RESTS_S = 80.0
"""A probe a minute, and the longest jitter."""
SETTLES_S = 4.0
LIMIT_MB = 48.0
BARE_MB = 35.0
"""What the bare process weighs where the limit was set; the two give the limit as a ratio."""
CPU_LIMIT_PERCENT = 0.1
START_LIMIT_S = 1.0
STARTS = 7
LISTED = "the defaults and a list in S3"
LIST_INTERVAL_S = 300.0
"""By default."""
READINGS = 10
READING_ENDS_S = 1.0
_BARE = str(Path(__file__).parent / "bare.py")


class Rest:
    """Sidecars at rest, from the beginning of the block."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._sidecars: dict[str, tuple[processes.Sidecar, float]] = {}
        self._bare = 0
        self._list: List
        self._rested_from = self._signing_s = 0.0

    def __enter__(self) -> Rest:
        servers = self._stack.enter_context(fleet())
        key = self._stack.enter_context(client_key(servers))
        home = servers.config("bare").parent
        command = [sys.executable, _BARE, str(home / "sidecar.sock"), servers.main.url, str(home / "ca.pem")]
        self._bare = self._stack.enter_context(processes.running(command, home / "log")).pid
        processes.until((home / "sidecar.sock").exists)
        listed = servers.config("listed", key=key)
        text = listed.read_text()
        self._list = self._stack.enter_context(
            List(text[text.index("servers:") : text.index("health:")], home).served()
        )
        listed.write_text(
            f"{text}discovery: {{source: 's3://fleet/list.yml', region: us-east-1,"
            f" endpoint_url: '{self._list.url}', ca_file: {self._list.ca_file}}}\n"
        )
        configs = {LISTED: listed}
        for kind, path in (("without a key", None), ("with a key", key)):
            configs[kind] = servers.config(kind.replace(" ", "-"), key=path, health="interval: 60s")
        for kind, config in configs.items():
            sidecar = self._stack.enter_context(processes.sidecar(config))
            processes.until(sidecar.is_answering)
            self._sidecars[kind] = (sidecar, 0.0)
        time.sleep(SETTLES_S)
        self._sidecars = {kind: (one, processes.cpu_s(one.pid)) for kind, (one, _) in self._sidecars.items()}
        self._signing_s = processes.children_cpu_s(self._sidecars[LISTED][0].pid)
        self._rested_from = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def measure(self) -> list[Figure]:
        """Wait for the end of the rest, and read what it cost."""
        time.sleep(max(0.0, self._rested_from + RESTS_S - time.monotonic()))
        rested_s = time.monotonic() - self._rested_from
        bare_mb = processes.rss_mb(self._bare)
        figures = []
        for kind, (sidecar, _) in self._sidecars.items():
            mb = processes.rss_mb(sidecar.pid)
            ours, other = f"{mb:.1f} MB", f"{bare_mb:.1f} MB"
            figures.append(at_most(GROUP, f"RSS {kind}, MB", ours, other, figure=mb, limit=LIMIT_MB))
            limit = round(LIMIT_MB / BARE_MB, 3)
            figures.append(at_most(GROUP, f"RSS {kind} : bare process", ours, other, figure=mb / bare_mb, limit=limit))
        took_s = {kind: processes.cpu_s(one.pid) - before_s for kind, (one, before_s) in self._sidecars.items()}
        for kind, cpu_s in took_s.items():
            what, other = f"% of a core at rest, {kind}", f"in {rested_s:.0f} s"
            percent = 100 * cpu_s / rested_s
            if kind == LISTED:
                reading_s = self._reading_s(self._sidecars[kind][0])
                percent += 100 * (self._signing_s / SIGNED_FOR_S + reading_s / LIST_INTERVAL_S)
                other += f", a reading {duration(reading_s)}, one that signs {duration(self._signing_s)}"
            figures.append(at_most(GROUP, what, duration(cpu_s), other, figure=percent, limit=CPU_LIMIT_PERCENT))
        return figures

    def _reading_s(self, sidecar: processes.Sidecar) -> float:
        """Processor time of a process that reads the list by the URL which an earlier one signed."""
        before_s, before = processes.children_cpu_s(sidecar.pid), self._list.asked
        for number in range(1, READINGS + 1):
            os.kill(sidecar.pid, signal.SIGHUP)
            processes.until(lambda: self._list.asked >= before + number)  # noqa: B023 - called at once
            time.sleep(READING_ENDS_S)
        return (processes.children_cpu_s(sidecar.pid) - before_s) / READINGS


def start() -> list[Figure]:
    """From the start of the process to its first answer; and what it imports on the way."""
    with fleet() as servers, client_key(servers) as key:
        ours = [_time_to_answer(servers.config(f"start-{number}", key=key)) for number in range(STARTS)]
        home = servers.config("bare").parent
        command = [sys.executable, _BARE, str(home / "sidecar.sock"), servers.main.url, str(home / "ca.pem")]
        others = [_time_to_listen(command, home / "sidecar.sock") for _ in range(STARTS)]
        imported = _imports(servers.config("imports", key=key))
    took_s, other_s = median(ours), median(others)
    words = duration(took_s), f"bare listens after {duration(other_s)}"
    aws = sorted(name for name in imported if name in ("boto3", "botocore", "awscrt", "s3transfer"))
    return [
        at_most(GROUP, "start to first answer, s", *words, figure=took_s, limit=START_LIMIT_S),
        at_most(
            GROUP,
            "AWS modules imported",
            ", ".join(aws) or "none",
            f"of {len(imported)} modules",
            figure=float(len(aws)),
            limit=0,
        ),
    ]


@contextlib.contextmanager
def client_key(servers: Fleet):
    """A client key in a file, known to all ``servers`` as that of the node, which has its object there."""
    key = PrivateKey.generate()
    for server in servers.servers:
        server.register(NODE, key.public_pem().decode())
        server.put_node(NODE, run_list=["recipe[web]"])
    path = servers.config("key").parent / "client.pem"
    path.write_bytes(key.private_pem())
    yield path


def _time_to_answer(config: Path) -> float:
    started = time.monotonic()
    with processes.sidecar(config) as sidecar:
        processes.until(sidecar.is_answering)
        return time.monotonic() - started


def _time_to_listen(command: list[str], socket: Path) -> float:
    socket.unlink(missing_ok=True)
    started = time.monotonic()
    with processes.running(command):
        processes.until(socket.exists)
        return time.monotonic() - started


def _imports(config: Path) -> set[str]:
    """Every module that a sidecar with a key has imported once it has answered, as Python itself tells it."""
    with processes.sidecar(config, "-X", "importtime") as sidecar:
        processes.until(sidecar.is_answering)
        processes.until(lambda: set(sidecar.health().values()) == {"UP"})
    log = (config.parent / "log").read_text()
    return set(re.findall(r"^import time:.*\|\s*([\w.]+)$", log, re.MULTILINE))
