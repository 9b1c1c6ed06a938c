"""Shell: counts what happens. The other shells know of metrics only this.

The metrics library is loaded with the first count or scrape, after READY: its import takes 50 ms there, because it
brings an HTTP server and TLS. Once the probes' own libraries are loaded, 15 ms of that are left.
"""

from __future__ import annotations

import datetime
import enum
import threading
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from chef_failover.metrics.measured import Measured
from chef_failover.metrics.moves import move_between
from chef_failover.model.model import ProbeResult, Registration, RegistrationState, Snapshot

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from chef_failover.metrics.exposition import Exposition
    from chef_failover.metrics.series import Series

OTHER = "other"
"""Stands for a server that the configuration does not name: clients that report runs do not choose our labels."""


class Purpose(enum.StrEnum):
    """What requests are made for."""

    PROBE = "probe"
    READING = "reading"
    """The node's object: read, and made where it is missing."""
    PARITY = "parity"
    """What a run would get there: policy, environment, cookbooks."""
    REGISTRATION = "registration"
    LIST = "list"


class Counters:
    """Counts from its construction on; ``measure`` is called at each scrape for what is not counted."""

    def __init__(
        self,
        utc_now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
        measure: Callable[[], Measured] | None = None,
    ) -> None:
        self._utc_now = utc_now
        self._measure = measure
        self._started_on = utc_now()
        self._lock = threading.Lock()
        self._servers: frozenset[str] = frozenset()
        self._made: Series | None = None

    @property
    def registry(self) -> CollectorRegistry:
        """What a scrape reads."""
        with self._lock:
            return self._series.registry

    def expose(self, accept: str = "") -> Exposition:
        """What a scrape reads, in the form that a client prefers by its ``Accept`` header."""
        from chef_failover.metrics.exposition import expose  # noqa: PLC0415 - see the top

        return expose(self.registry, accept)

    def watch(self, servers: Collection[str]) -> None:
        """From now on the configuration names these servers; the series of others are removed."""
        with self._lock:
            gone, self._servers = self._servers.difference(servers, {OTHER}), frozenset(servers)
            if self._made is not None:
                self._made.watch(self._servers, gone)

    def reloaded(self, *, is_good: bool) -> None:
        """A reload took a new configuration over, or kept the old one."""
        with self._lock:
            self._series.is_reload_good.set(is_good)
            if is_good:
                self._series.reloaded_on.set(self._utc_now().timestamp())

    def probed(self, server: str, result: ProbeResult) -> None:
        """A probe has ended."""
        with self._lock:
            if server not in self._servers:
                return
            self._series.probes.labels(server, result.outcome.value).inc()
            if result.latency_s is not None:
                self._series.durations.labels(server).observe(result.latency_s)

    def requested(self, server: str, purpose: Purpose) -> None:
        """A request is made to that server, or for its sake; ``server`` is empty for the list's."""
        with self._lock:
            if server in self._servers or purpose is Purpose.LIST:
                self._series.requests.labels(server, purpose.value).inc()

    def changed(self, before: Snapshot, after: Snapshot) -> None:
        """The world went from ``before`` to ``after``."""
        if (found := move_between(before, after)) is not None:
            move, cause = found
            with self._lock:
                self._series.moves[move].labels(cause).inc()

    def registered(self, server: str, before: Registration, after: Registration) -> None:
        """The node's registration went on."""
        if before.state is RegistrationState.REQUESTED and after.state is not RegistrationState.REQUESTED:
            with self._lock:
                if server in self._servers:
                    self._series.attempts.labels(server, after.state.value).inc()

    def ran(self, server: str | None, result: str) -> None:
        """A chef-client run has ended; ``server`` is what was reported, and may be anything."""
        with self._lock:
            self._series.runs.labels(server if server in self._servers else OTHER, result).inc()

    @property
    def _series(self) -> Series:
        """Made at first use. The lock is held."""
        if self._made is None:
            from chef_failover.metrics.series import Series  # noqa: PLC0415 - see the top

            self._made = Series(self._started_on, self._measure)
            self._made.watch(self._servers)
        return self._made
