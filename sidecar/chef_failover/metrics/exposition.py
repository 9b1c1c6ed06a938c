"""Pure: what was measured as Prometheus metrics, in text or OpenMetrics form.

Everything is rendered from one `Measured`, through a registry that lives for one answer: nothing is kept here, so
nothing of it can grow, and a server that left the configuration leaves no series behind. Importing the library costs a
megabyte and some milliseconds, so this module is imported only when somebody asks.

Names follow https://prometheus.io/docs/practices/naming/. Of states that exclude each other only the one that holds is
shown, with the value 1: fourteen zeros for each outcome that it is not would make most of the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from chef_failover.decide.parity import compare
from chef_failover.decide.readiness import why_not_ready
from chef_failover.metrics.counts import BUCKETS_S, Durations, Measured, Move
from chef_failover.model.model import Health, ServerSnapshot, Standing

Row = tuple[tuple[str, ...], float]
"""The values of the labels, and the value."""


@attrs.frozen
class Exposition:
    """The body of an answer and the type of its content."""

    body: bytes
    content_type: str


def expose(measured: Measured, accept: str = "") -> Exposition:
    """``measured`` in the form that a client prefers, by its ``Accept`` header; without one, as plain text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(measured))
    encode, content_type = choose_encoder(accept)
    return Exposition(encode(registry), content_type)


@attrs.frozen(eq=False)
class _Once(Collector):
    measured: Measured

    def collect(self) -> Iterator[Metric]:
        yield from collect(self.measured)


def collect(measured: Measured) -> Iterator[Metric]:
    """Every metric there is. Each is there even when it has no sample."""
    yield _info("chef_failover_build", "The version that runs.", {"version": measured.version})
    yield from _of_servers(measured)
    yield from _of_probes(measured)
    yield from _of_the_choice(measured)
    yield from _of_runs(measured)
    yield from _of_ourselves(measured)


def _of_servers(measured: Measured) -> Iterator[Metric]:
    servers = measured.snapshot.servers
    choice = measured.snapshot.choice
    eligible = {verdict.name for verdict in choice.verdicts if verdict.standing >= Standing.STALE} if choice else ()
    compared = {one.name: compare(measured.snapshot, one, now=measured.now) for one in servers}
    yield _gauge(
        "server_up",
        "1 while the Chef server is UP by its probes, 0 while it is DOWN; absent before the first probe.",
        ["server"],
        (((one.name,), one.health is Health.UP) for one in servers if one.health is not Health.UNKNOWN),
    )
    yield _gauge(
        "server_eligible",
        "1 while the server could take over this node's runs: UP, the node registered and ready there, not drained.",
        ["server"],
        (((one.name,), one.name in eligible) for one in servers),
    )
    yield _gauge(
        "server_chosen",
        "1 for the server that this node uses.",
        ["server"],
        (((one.name,), choice is not None and one.name == choice.name) for one in servers),
    )
    yield _gauge(
        "server_outcome",
        "1 for the class of the last probe's outcome; other classes are absent.",
        ["server", "outcome"],
        (((one.name, one.last.outcome.value), 1) for one in servers if one.last),
    )
    yield _gauge(
        "server_association",
        "1 for the state of the node's registration with the server; other states are absent.",
        ["server", "state"],
        (((one.name, one.association.value), 1) for one in servers),
    )
    yield _gauge(
        "server_ready",
        "0 while a run of this node would not find on the server what it needs, else 1.",
        ["server"],
        (((one.name,), why_not_ready(measured.snapshot, one) is None) for one in servers),
    )
    yield _gauge(
        "server_stale",
        "1 while a run would get an older policy or older cookbooks there than on the server in use, 0 while not; "
        "absent while nobody can tell.",
        ["server"],
        (((name,), found.is_stale) for name, found in compared.items() if found.is_stale is not None),
    )
    yield _gauge(
        "server_certificate_expiry_timestamp_seconds",
        "When the certificate ends that the server showed in its last good answer, in Unix time.",
        ["server"],
        (((one.name,), ends) for one in servers if (ends := _certificate_ends(one)) is not None),
    )


def _of_probes(measured: Measured) -> Iterator[Metric]:
    counts, servers = measured.counts, measured.snapshot.servers
    yield _gauge(
        "server_probe_age_seconds",
        "Since the end of the last probe; grows when the probing loop hangs.",
        ["server"],
        (((one.name,), round(measured.now - one.last.finished_at, 3)) for one in servers if one.last),
    )
    yield _counter("probes", "Probes by the class of their outcome.", ["server", "outcome"], counts.probes.items())
    durations = HistogramMetricFamily(
        "chef_failover_probe_duration_seconds",
        "How long probes took that found the server alive, from name lookup to the last byte.",
        labels=["server"],
    )
    for name, taken in sorted(counts.durations.items()):
        durations.add_metric([name], buckets=list(_cumulated(taken)), sum_value=taken.sum_s)
    yield durations
    yield _counter(
        "association_attempts",
        "Attempts to register the node that have ended, by the state they led to.",
        ["server", "result"],
        counts.attempts.items(),
    )


def _of_the_choice(measured: Measured) -> Iterator[Metric]:
    snapshot, moves = measured.snapshot, measured.counts.moves
    choice = snapshot.choice
    yield _gauge(
        "degraded",
        "1 while no server deserves to be used and the best of the rest is.",
        [],
        [((), choice is not None and choice.is_degraded and choice.standing is not Standing.UNKNOWN)],
    )
    yield _gauge(
        "offline",
        "1 while this node has no network, so that nothing is counted.",
        [],
        [((), snapshot.offline is not None)],
    )
    yield _gauge(
        "choice_timestamp_seconds",
        "When the node settled on the server it uses, in Unix time.",
        [],
        [((), snapshot.chosen_on.timestamp())] if snapshot.chosen_on else [],
    )
    for move, words in (
        (Move.FAILOVER, "Moves to a less preferred server"),
        (Move.FAILBACK, "Moves to a better server"),
    ):
        yield _counter(
            f"{move.value}s",
            f"{words}, by why the former one was left.",
            ["reason"],
            (((cause,), count) for (direction, cause), count in moves.items() if direction == move),
        )


def _of_runs(measured: Measured) -> Iterator[Metric]:
    history = measured.history
    last = history.last
    yield _counter(
        "runs",
        "chef-client runs that ended, by result; a server that the configuration does not name is called other.",
        ["server", "result"],
        measured.counts.runs.items(),
    )
    yield _gauge(
        "runs_under_way", "chef-client runs that started and have not ended.", [], [((), measured.runs_under_way)]
    )
    yield _gauge(
        "runs_since_success", "Runs that failed since the last one that succeeded.", [], [((), history.since_success)]
    )
    yield _gauge(
        "last_run_timestamp_seconds",
        "When the last run ended, in Unix time.",
        [],
        [((), last.ended_on.timestamp())] if last else [],
    )
    yield _gauge(
        "last_run_success_timestamp_seconds",
        "When the last run ended that succeeded, in Unix time.",
        [],
        [((), history.last_success_on.timestamp())] if history.last_success_on else [],
    )
    yield _gauge(
        "last_run_duration_seconds",
        "How long the last run took.",
        [],
        [((), last.duration_s)] if last and last.duration_s is not None else [],
    )


def _of_ourselves(measured: Measured) -> Iterator[Metric]:
    counts = measured.counts
    yield _counter(
        "faults", "Loops that broke by a fault of the sidecar's own, and went on.", [], [((), measured.faults)]
    )
    yield _gauge(
        "config_hash",
        "A number that is the same wherever the same version has the same configuration.",
        [],
        [((), measured.fingerprint)],
    )
    yield _gauge(
        "config_last_reload_successful",
        "0 when the last reload kept the old configuration because the new one is no good.",
        [],
        [((), counts.is_reload_good)],
    )
    yield _gauge(
        "config_last_reload_success_timestamp_seconds",
        "When the configuration in use was taken over, in Unix time.",
        [],
        [((), counts.reloaded_on.timestamp())],
    )


def _certificate_ends(server: ServerSnapshot) -> float | None:
    ends = server.proof.certificate_expires_on if server.proof else None
    return ends.timestamp() if ends else None


def _cumulated(taken: Durations) -> Iterator[tuple[str, float]]:
    total = 0
    for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), taken.counts, strict=True):
        total += count
        yield bound, total


def _gauge(name: str, words: str, labels: list[str], rows: Iterable[Row]) -> Metric:
    family = GaugeMetricFamily(f"chef_failover_{name}", words, labels=labels)
    for values, value in rows:
        family.add_metric(values, float(value))
    return family


def _counter(name: str, words: str, labels: list[str], rows: Iterable[Row]) -> Metric:
    family = CounterMetricFamily(f"chef_failover_{name}", words, labels=labels)
    for values, value in sorted(rows):
        family.add_metric(values, value)
    return family


def _info(name: str, words: str, labels: dict[str, str]) -> Metric:
    family = InfoMetricFamily(name, words)
    family.add_metric([], labels)
    return family
