"""Shell: what is counted, as counters and histograms of prometheus-client in a registry of our own.

Every label's values are few and known before. `exposition` adds to the registry what is read from the sidecar at each
scrape. Families are shown in the order of their registration, which is the order of docs/metrics.md.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from chef_failover.metrics import exposition
from chef_failover.metrics.measured import Measured
from chef_failover.metrics.moves import CAUSES, Move

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the probe durations that are told apart: from a server next door to a long ``health.timeout``."""

disable_created_metrics()  # type: ignore[no-untyped-call] # every series begins with the process, so that says nothing


class Series:
    """The metrics of a sidecar that started at ``started_on``; ``measure`` returns what is not counted."""

    def __init__(self, started_on: datetime.datetime, measure: Callable[[], Measured] | None) -> None:
        self.registry = registry = CollectorRegistry()

        def show(*sections: exposition.Section) -> None:
            if measure is not None:
                registry.register(exposition.Scraped(measure, sections))

        show(exposition.of_servers)
        self.probes = Counter(
            "chef_failover_probes",
            "Probes by outcome.",
            ["server", "outcome"],
            registry=registry,
        )
        self.durations = Histogram(
            "chef_failover_probe_duration_seconds",
            "Duration of probes that found the server alive, from name lookup to the last byte.",
            ["server"],
            buckets=BUCKETS_S,
            registry=registry,
        )
        self.attempts = Counter(
            "chef_failover_association_attempts",
            "Finished attempts to register the node, by the resulting state.",
            ["server", "result"],
            registry=registry,
        )
        self.requests = Counter(
            "chef_failover_requests",
            "Requests to the Chef server, and to AWS on its behalf or for the server list, by purpose.",
            ["server", "purpose"],
            registry=registry,
        )
        show(exposition.of_the_choice)
        self.moves = {
            move: Counter(
                f"chef_failover_{move.value}s",
                f"Moves to a {which} server, by the reason to leave the former one.",
                ["reason"],
                registry=registry,
            )
            for move, which in ((Move.FAILOVER, "less preferred"), (Move.FAILBACK, "preferred"))
        }
        self.runs = Counter(
            "chef_failover_runs",
            "Finished chef-client runs, by result; a server that is not configured is called other.",
            ["server", "result"],
            registry=registry,
        )
        show(exposition.of_runs, exposition.of_ourselves)
        self.is_reload_good = Gauge(
            "chef_failover_config_last_reload_successful",
            "0 if the last reload kept the old configuration because the new one is invalid.",
            registry=registry,
        )
        self.reloaded_on = Gauge(
            "chef_failover_config_last_reload_success_timestamp_seconds",
            "When the configuration in use was loaded, in Unix time.",
            registry=registry,
        )
        self.is_reload_good.set(True)
        self.reloaded_on.set(started_on.timestamp())
        for counter in self.moves.values():
            for cause in sorted(CAUSES):
                counter.labels(cause)

    def watch(self, servers: Iterable[str], gone: Iterable[str] = ()) -> None:
        """Remove the series of servers that are ``gone``; begin those of ``servers`` that are shown with 0."""
        for name in gone:
            for metric in (self.probes, self.durations, self.attempts, self.requests, self.runs):
                metric.remove_by_labels({"server": name})
        for name in sorted(servers):
            self.durations.labels(name)
            for result in ("failed", "succeeded"):
                self.runs.labels(name, result)
