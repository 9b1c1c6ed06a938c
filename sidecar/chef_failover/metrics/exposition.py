"""Pure: what is read from the sidecar at a scrape as Prometheus metrics, and a registry as text or OpenMetrics.

Names follow https://prometheus.io/docs/practices/naming/. Of states that exclude each other only the one that holds is
shown, with the value 1: fourteen zeros for each outcome that it is not would make most of the answer.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterable, Iterator

import attrs
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from chef_failover.decide.hold_down import length_s
from chef_failover.decide.parity import compare
from chef_failover.decide.readiness import why_not_ready
from chef_failover.decide.rights import may_save
from chef_failover.metrics.measured import Measured
from chef_failover.model.model import Health, ServerSnapshot, Standing

Row = tuple[tuple[str, ...], float | None]
"""The values of the labels, and the value: no sample where that is None or infinite."""
Section = Callable[[Measured], Iterator[Metric]]


@attrs.frozen
class Exposition:
    """The body of an answer and the type of its content."""

    body: bytes
    content_type: str


def expose(registry: CollectorRegistry, accept: str = "") -> Exposition:
    """``registry`` in the form that a client prefers, by its ``Accept`` header; without one, as plain text."""
    encode, content_type = choose_encoder(accept)
    return Exposition(encode(registry), content_type)


@attrs.frozen(eq=False)
class Scraped(Collector):
    """Some of the metrics, computed at each scrape. Each is there even when it has no sample."""

    measure: Callable[[], Measured]
    sections: tuple[Section, ...]

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        measured = self.measure()
        for section in self.sections:
            yield from section(measured)


def of_servers(measured: Measured) -> Iterator[Metric]:
    """The version, and each server."""
    yield InfoMetricFamily("chef_failover_build", "The running version.", {"version": measured.version})
    snapshot, now = measured.snapshot, measured.now
    servers, choice = snapshot.servers, snapshot.choice
    eligible = {verdict.name for verdict in choice.verdicts if verdict.standing >= Standing.STALE} if choice else ()

    def of_each(name: str, words: str, value: Callable[[ServerSnapshot], float | None]) -> Metric:
        return _gauge(name, words, ["server"], (((one.name,), value(one)) for one in servers))

    yield of_each(
        "server_up",
        "1 while probes find the Chef server UP, 0 while they find it DOWN; absent before the first probe.",
        lambda one: None if one.health is Health.UNKNOWN else one.health is Health.UP,
    )
    yield of_each(
        "server_eligible",
        "1 while the server could take over this node's runs: it is UP, ready and not drained, knows the node, "
        "does not fail runs, and its search index works.",
        lambda one: one.name in eligible,
    )
    yield of_each(
        "server_chosen",
        "1 for the server that this node uses.",
        lambda one: snapshot.is_in_use(one.name),
    )
    yield _gauge(
        "server_outcome",
        "1 for the outcome of the last probe; other outcomes are absent.",
        ["server", "outcome"],
        (((one.name, one.last_probe.outcome.value), 1) for one in servers if one.last_probe),
    )
    yield _gauge(
        "server_association",
        "1 for the state of the node's registration with the server; other states are absent.",
        ["server", "state"],
        (((one.name, one.registration.state.value), 1) for one in servers),
    )
    yield of_each(
        "server_ready",
        "0 while the server lacks something that a run of this node needs, else 1.",
        lambda one: why_not_ready(snapshot, one) is None,
    )
    yield of_each(
        "server_index_up",
        "0 while the server's search index fails, which fails the last save of every run, else 1; absent if unknown.",
        lambda one: None if one.index_fails is None else not one.index_fails,
    )
    yield of_each(
        "server_may_save",
        "0 while this node probably cannot save its object on the server, so a run there would fail at its end, "
        "1 while it can; absent if unknown.",
        may_save,
    )
    yield of_each(
        "server_stale",
        "1 while the server has another policy or older cookbooks than the last successful run used, else 0; "
        "absent if unknown.",
        lambda one: compare(snapshot, one, now=now).is_stale,
    )
    yield of_each(
        "server_hold_down_seconds",
        "How long the server must stay healthy before this node returns to it; longer after failed returns, "
        "absent with failback: never.",
        lambda one: round(length_s(one, snapshot.policy, now=now), 1),
    )
    yield of_each(
        "server_certificate_expiry_timestamp_seconds",
        "When the server's certificate expires, as of its last good answer, in Unix time.",
        lambda one: _unix(one.last_alive_probe.certificate_expires_on) if one.last_alive_probe else None,
    )
    yield of_each(
        "server_probe_age_seconds",
        "Time since the last probe ended; grows if probing hangs.",
        lambda one: round(now - one.last_probe.finished_at, 3) if one.last_probe else None,
    )


def of_the_choice(measured: Measured) -> Iterator[Metric]:
    """The choice, and what it is worth."""
    snapshot = measured.snapshot
    choice = snapshot.choice
    yield GaugeMetricFamily(
        "chef_failover_degraded",
        "1 while no server is eligible and the node uses the best of the rest.",
        choice is not None and choice.is_degraded and choice.standing is not Standing.UNKNOWN,
    )
    yield GaugeMetricFamily(
        "chef_failover_offline",
        "1 while this node has no network; failed probes then do not count.",
        snapshot.offline is not None,
    )
    yield GaugeMetricFamily(
        "chef_failover_choice_timestamp_seconds",
        "When the node moved to the server it uses, in Unix time.",
        _unix(snapshot.chosen_on),
    )


def of_runs(measured: Measured) -> Iterator[Metric]:
    """Runs under way, and the last that ended."""
    history = measured.history
    last = history.last
    yield GaugeMetricFamily("chef_failover_runs_under_way", "chef-client runs in progress.", measured.runs_under_way)
    yield GaugeMetricFamily(
        "chef_failover_runs_since_success", "Failed runs since the last successful one.", history.since_success
    )
    yield GaugeMetricFamily(
        "chef_failover_last_run_timestamp_seconds",
        "When the last run ended, in Unix time.",
        _unix(last.ended_on) if last else None,
    )
    yield GaugeMetricFamily(
        "chef_failover_last_run_success_timestamp_seconds",
        "When the last successful run ended, in Unix time.",
        _unix(history.last_success_on),
    )
    yield GaugeMetricFamily(
        "chef_failover_last_run_duration_seconds", "Duration of the last run.", last.duration_s if last else None
    )


def of_ourselves(measured: Measured) -> Iterator[Metric]:
    """The sidecar itself."""
    yield CounterMetricFamily(
        "chef_failover_faults", "Internal errors: in tasks, requests, reloads, threads and logging.", measured.faults
    )
    yield GaugeMetricFamily(
        "chef_failover_config_hash",
        "A hash of the configuration; equal on nodes with the same version and configuration.",
        measured.fingerprint,
    )


def _unix(on: datetime.datetime | None) -> float | None:
    return on.timestamp() if on else None


def _gauge(name: str, words: str, labels: list[str], rows: Iterable[Row]) -> Metric:
    family = GaugeMetricFamily(f"chef_failover_{name}", words, labels=labels)
    for values, value in rows:
        if value is not None and math.isfinite(value):
            family.add_metric(values, float(value))
    return family
