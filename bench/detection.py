"""(c) How soon a killed main server counts as DOWN, against HAProxy.

HAProxy and a sidecar watch the same servers with the same interval, retry interval, thresholds and timeout. A server is
killed at a random instant and both are watched until they say DOWN. That a kill falls somewhere between two probes is
most of the spread, on both sides, so many servers die, each many times, and independently of one another.

The two are alike by design, so the true ratio is about 1 and half of all honest runs would measure a little more. The
target is therefore missed when the ratio of the medians is above 1 beyond chance: when the lower end of its 95 %
confidence interval (bootstrap) is.
"""

from __future__ import annotations

import contextlib
import csv
import random
import socket
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import parts, processes
from bench.figures import Figure, duration, median
from bench.servers import fleet
from chef_devserver.server import DevServer

GROUP = "c"
INTERVAL_S, RETRY_S = 1.0, 0.2
SERVERS = 6
LASTS_S = 60.0
"""No further server is killed after this."""
_GIVE_UP_S = 15.0
_POLL_S = 0.004
_HAPROXY = """
global
  stats socket {home}/stats.sock mode 600 level user
defaults
  mode http
  timeout connect 1s
  timeout client 1s
  timeout server 1s
  timeout check 1s
backend chef
  option httpchk GET /_status
  default-server check check-ssl verify none inter 1s fastinter 200ms downinter 1s fall 3 rise 2
{servers}
"""


class Watcher:
    """Looks at both all the time, and knows when each last began to call each server UP or DOWN."""

    def __init__(self, sidecar: processes.Sidecar, stats: Path) -> None:
        self._looks = {"ours": sidecar.health, "haproxy": lambda: _haproxy_health(stats)}
        self._seen: dict[tuple[str, str], tuple[str, float]] = {}
        self._changed = threading.Condition()
        self._ended = threading.Event()

    def run(self) -> None:
        """Until `end`."""
        while not self._ended.wait(_POLL_S):
            for who, look in self._looks.items():
                states = look()
                at = time.monotonic()
                with self._changed:
                    for name, state in states.items():
                        if self._seen.get((who, name), ("", 0.0))[0] != state:
                            self._seen[who, name] = (state, at)
                    self._changed.notify_all()

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def wait_for(self, name: str, state: str) -> dict[str, float]:
        """When each of the two began to say so, once both do."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_seen(name, state), _GIVE_UP_S):
                raise TimeoutError(f"{name} is not {state} for both: {self._seen}")
            return {who: self._seen[who, name][1] for who in self._looks}

    def _is_seen(self, name: str, state: str) -> bool:
        return all(self._seen.get((who, name), ("", 0.0))[0] == state for who in self._looks)


def measure(rng: random.Random | None = None) -> list[Figure]:
    """The figures; `MissingPartError` without haproxy."""
    haproxy = parts.require("haproxy")
    rng = rng or random.Random()
    names = [f"server-{number}" for number in range(SERVERS)]
    with fleet(names) as servers, contextlib.ExitStack() as stack:
        health = f"interval: {INTERVAL_S:g}s, retry_interval: {RETRY_S * 1000:g}ms, timeout: 1s, rise: 2, fall: 3"
        config = servers.config("detection", health=health)
        home = config.parent
        lines = "\n".join(f"  server {server.name} 127.0.0.1:{server.port}" for server in servers.servers)
        (home / "haproxy.cfg").write_text(_HAPROXY.format(home=home, servers=lines))
        sidecar = stack.enter_context(processes.sidecar(config))
        command = [haproxy, "-db", "-f", str(home / "haproxy.cfg")]
        stack.enter_context(processes.running(command, log=home / "haproxy.log"))
        processes.until(sidecar.is_answering)
        processes.until((home / "stats.sock").exists)
        watcher = Watcher(sidecar, home / "stats.sock")
        pool = stack.enter_context(ThreadPoolExecutor(SERVERS + 1))
        looking = pool.submit(watcher.run)
        stack.callback(watcher.end)
        last_kill_at = time.monotonic() + LASTS_S
        killers = [
            pool.submit(_kill_again_and_again, server, watcher, last_kill_at, random.Random(rng.random()))
            for server in servers.servers
        ]
        trials = [trial for killer in killers for trial in killer.result(LASTS_S + 4 * _GIVE_UP_S)]
        watcher.end()
        looking.result(_GIVE_UP_S)
    return [_figure(trials, rng)]


def _kill_again_and_again(
    server: DevServer, watcher: Watcher, last_kill_at: float, rng: random.Random
) -> list[tuple[float, float]]:
    """Seconds from each kill to DOWN: ours, HAProxy's."""
    trials = []
    while time.monotonic() < last_kill_at:
        watcher.wait_for(server.name, "UP")
        time.sleep(3 * RETRY_S + rng.uniform(0, 2 * INTERVAL_S))  # both are at rest again, at any point of their cycle
        killed_at = time.monotonic()
        server.stop()
        down_at = watcher.wait_for(server.name, "DOWN")
        server.start()
        trials.append((down_at["ours"] - killed_at, down_at["haproxy"] - killed_at))
    return trials


def _figure(trials: list[tuple[float, float]], rng: random.Random) -> Figure:
    ratio = _ratio(trials)
    resampled = [_ratio(rng.choices(trials, k=len(trials))) for _ in range(2000)]
    quantiles = statistics.quantiles(resampled, n=40)
    low, high = quantiles[0], quantiles[-1]
    return Figure(
        GROUP,
        f"killed server is DOWN: ours : HAProxy, {len(trials)} kills, 95 % {low:.2f}..{high:.2f}",
        duration(median([ours for ours, _ in trials])),
        duration(median([haproxy for _, haproxy in trials])),
        ratio,
        "<= 1 (95 %)",
        low <= 1,
    )


def _ratio(trials: list[tuple[float, float]]) -> float:
    return median([ours for ours, _ in trials]) / median([haproxy for _, haproxy in trials])


def _haproxy_health(stats: Path) -> dict[str, str]:
    """UP or DOWN of each server; a server on its way ("UP 1/3") is what it was."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(stats))
        client.sendall(b"show stat -1 4 -1\n")
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    rows = csv.DictReader(answer.decode().removeprefix("# ").splitlines())
    return {row["svname"]: row["status"].partition(" ")[0] for row in rows if row["svname"]}
