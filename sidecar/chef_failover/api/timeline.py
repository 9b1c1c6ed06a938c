"""Pure: the last day as a line for each server and as a list, from the documents of the API."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from chef_failover.durations import in_words

Document = dict[str, Any]

DAY_S = 24 * 3600.0
HEALTHS = ("UP", "DOWN", "UNKNOWN")
NOT_KNOWN = "no record"
_DEGRADED = " (degraded)"


@attrs.frozen
class Span:
    """One stretch of a line: seconds since the line's beginning, and what held meanwhile."""

    start_s: float
    length_s: float
    what: str


@attrs.frozen
class Mark:
    """A run of chef-client on the line of the server it used."""

    at_s: float
    is_well: bool


@attrs.frozen
class Line:
    """A server's last day. ``in_words`` says it to those who do not see it."""

    name: str
    health: tuple[Span, ...]
    in_use: tuple[Span, ...]
    runs: tuple[Mark, ...]

    @property
    def in_words(self) -> str:
        """How long it was what, and for how long in use."""
        parts = [
            f"{what} for {in_words(total)}" for what in (*HEALTHS, NOT_KNOWN) if (total := _total(self.health, what))
        ]
        used_s = sum(span.length_s for span in self.in_use)
        parts.append(f"in use for {in_words(used_s)}" if used_s else "never in use")
        failed = sum(not run.is_well for run in self.runs)
        if self.runs:
            parts.append(f"{len(self.runs)} runs, {failed} failed")
        return f"{self.name} in the last day: {', '.join(parts)}"


@attrs.frozen
class Entry:
    """One thing that happened. ``kind`` is ``choice``, ``server`` or ``run``."""

    at: str
    kind: str
    subject: str
    what: str
    reason: str


def lines(document: Document, runs: Sequence[Document], *, on: datetime.datetime) -> tuple[Line, ...]:
    """A line for each server over the day that ends at ``on``.

    Args:
        document: as `render.servers` has it.
        runs: those that have ended, each as ``GET /v1/runs`` has it.
        on: now.
    """
    transitions = document["transitions"]
    times = [_seconds(entry["at"], on) for entry in transitions]
    changes = list(zip(times, transitions, strict=True))
    known_from = max(0.0, min(times, default=0.0))
    choices = [(at, entry) for at, entry in changes if entry["server"] is None]
    used = _spans(_steps(choices, document["choice"], known_from), known_from)
    return tuple(
        Line(
            name=entry["name"],
            health=_health(entry, changes, known_from),
            in_use=tuple(span for span in used if span.what.removesuffix(_DEGRADED) == entry["name"]),
            runs=tuple(
                Mark(at, run["result"] == "succeeded")
                for run in runs
                if run["server"] == entry["name"] and (at := _seconds(run["ended_at"], on)) >= 0
            ),
        )
        for entry in document["servers"]
    )


def entries(document: Document, runs: Sequence[Document], *, on: datetime.datetime) -> tuple[Entry, ...]:
    """What happened in the day that ends at ``on``, the latest first; the arguments are those of `lines`."""
    happened = [_change(entry) for entry in document["transitions"]]
    happened += [_run(run) for run in runs]
    recent = [entry for entry in happened if _seconds(entry.at, on) >= 0]
    return tuple(sorted(recent, key=lambda entry: entry.at)[::-1])


def _change(entry: Document) -> Entry:
    what = f"{entry['from']} → {entry['to']}"
    if entry["server"] is None:
        return Entry(entry["at"], "choice", "The choice", what, entry["reason"])
    return Entry(entry["at"], "server", entry["server"], what, entry["reason"])


def _run(run: Document) -> Entry:
    took = f" after {in_words(run['duration_s'])}" if run["duration_s"] is not None else ""
    where = f" on {run['server']}" if run["server"] else ""
    return Entry(run["ended_at"], "run", "A run", f"{run['result']}{took}{where}", run["error_class"] or "")


def _health(server: Document, changes: Iterable[tuple[float, Document]], known_from: float) -> tuple[Span, ...]:
    mine = [(at, entry) for at, entry in changes if entry["server"] == server["name"] and entry["to"] in HEALTHS]
    spans = _spans(_steps(mine, server["health"], known_from), known_from)
    return (Span(0.0, known_from, NOT_KNOWN), *spans) if known_from > 0 else spans


def _steps(
    changes: Sequence[tuple[float, Document]], now: str | None, known_from: float
) -> Sequence[tuple[float, str]]:
    """When each value began, from ``known_from`` on; without any change it has been what it is ``now``."""
    before = [entry["to"] for at, entry in changes if at <= known_from]
    first = before[-1] if before else changes[0][1]["from"] if changes else now or "none"
    return [(known_from, first), *((at, entry["to"]) for at, entry in changes if at > known_from)]


def _spans(steps: Sequence[tuple[float, str]], known_from: float) -> tuple[Span, ...]:
    ends = [at for at, _ in steps[1:]] + [DAY_S]
    return tuple(
        Span(at, end - at, what) for (at, what), end in zip(steps, ends, strict=True) if end > at >= known_from
    )


def _total(spans: Iterable[Span], what: str) -> float:
    return sum(span.length_s for span in spans if span.what == what)


def _seconds(time: str, on: datetime.datetime) -> float:
    """``time`` as seconds since the beginning of the day that ends at ``on``; negative before it."""
    return DAY_S - max(0.0, (on - datetime.datetime.fromisoformat(time)).total_seconds())
