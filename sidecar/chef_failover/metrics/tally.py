"""Shell: counts what happens, for whoever asks. This is all that the other shells know of metrics.

Plain numbers under a lock, and not the metrics library's own: that is loaded only in a sidecar that somebody scrapes.
There is one series for each server that the configuration names now, times a few fixed words, however long it runs and
however often it is reloaded.
"""

from __future__ import annotations

import collections
import datetime
import threading
from collections.abc import Callable, Collection

from chef_failover.metrics.counts import CAUSES, OTHER, Counts, Durations, Move, move_between
from chef_failover.model.model import Association, ProbeResult, Registration, Snapshot


class Tally:
    """Counts from its construction on."""

    def __init__(self, utc_now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC)) -> None:
        self._utc_now = utc_now
        self._lock = threading.Lock()
        self._servers: Collection[str] = ()
        self._probes: collections.Counter[tuple[str, str]] = collections.Counter()
        self._durations: dict[str, Durations] = {}
        self._moves: collections.Counter[tuple[str, str]] = collections.Counter(
            {(move.value, cause): 0 for move in Move for cause in CAUSES}
        )
        self._attempts: collections.Counter[tuple[str, str]] = collections.Counter()
        self._runs: collections.Counter[tuple[str, str]] = collections.Counter()
        self._reloaded_on = utc_now()
        self._is_reload_good = True

    def watch(self, servers: Collection[str]) -> None:
        """From now on the configuration names these servers; what was counted of others is forgotten."""
        with self._lock:
            self._servers = frozenset(servers)
            for counter in (self._probes, self._attempts, self._runs):
                for key in [key for key in counter if key[0] not in self._servers and key[0] != OTHER]:
                    del counter[key]
            for name in self._durations.keys() - self._servers:
                del self._durations[name]
            for name in self._servers:
                self._durations.setdefault(name, Durations())
                for result in ("succeeded", "failed"):
                    self._runs[name, result] += 0

    def reloaded(self, *, is_good: bool) -> None:
        """A reload took a new configuration over, or kept the old one."""
        with self._lock:
            self._is_reload_good = is_good
            if is_good:
                self._reloaded_on = self._utc_now()

    def probed(self, server: str, result: ProbeResult) -> None:
        """A probe has ended."""
        with self._lock:
            if server not in self._servers:
                return
            self._probes[server, result.outcome.value] += 1
            if result.latency_s is not None:
                self._durations[server] = self._durations[server].add(result.latency_s)

    def changed(self, before: Snapshot, after: Snapshot) -> None:
        """The world went from ``before`` to ``after``."""
        move = move_between(before, after)
        if move is not None:
            with self._lock:
                self._moves[move] += 1

    def registered(self, server: str, before: Registration, after: Registration) -> None:
        """The node's registration went on."""
        if before.association is Association.REQUESTED and after.association is not Association.REQUESTED:
            with self._lock:
                if server in self._servers:
                    self._attempts[server, after.association.value] += 1

    def ran(self, server: str | None, result: str) -> None:
        """A chef-client run has ended; ``server`` is what was reported, and may be anything."""
        with self._lock:
            self._runs[server if server in self._servers and server is not None else OTHER, result] += 1

    def read(self) -> Counts:
        """What is counted, at one instant."""
        with self._lock:
            return Counts(
                probes=dict(self._probes),
                durations=dict(self._durations),
                moves=dict(self._moves),
                attempts=dict(self._attempts),
                runs=dict(self._runs),
                reloaded_on=self._reloaded_on,
                is_reload_good=self._is_reload_good,
            )
