"""Shell: the chef-client runs that the shim reports."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import cachetools

from chef_failover.chef import used as used_document
from chef_failover.model.run_history import Phase, Run, RunHistory, Used

RUNS_UNDER_WAY = 64
FORGOTTEN_AFTER_S = 6 * 3600.0
"""A run whose end is never reported (killed, rebooted) is no longer under way after this."""
EVENTS = ("started", "succeeded", "failed")
PHASES = [phase.value for phase in Phase]


@attrs.frozen
class RunReport:
    """One report: ``event`` is one of EVENTS, ``server`` the name of the server used, if the run knew it."""

    run_id: str
    event: str
    server: str | None = None
    error_class: str | None = None
    phase: Phase | None = None
    http_status: int | None = None
    used: Used | None = None


@attrs.frozen
class _Started:
    """A run under way: ``at`` is an instant of the monotonic clock, ``on`` the same in wall time."""

    report: RunReport
    at: float
    on: datetime.datetime


class Runs:
    """Runs under way, and the last ones that ended.

    A failed one makes ``look_at(server)`` happen at once, whatever its error: the exception's class does not tell,
    since a cut connection can surface in chef-client as NoMethodError. Every end is told to ``on_end``.
    """

    def __init__(
        self,
        look_at: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        *,
        utc_now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
        history: RunHistory = RunHistory(),  # noqa: B008 - a frozen value
        on_end: Callable[[Run], None] = lambda _: None,
    ) -> None:
        self._look_at = look_at
        self._clock = clock
        self._utc_now = utc_now
        self._on_end = on_end
        self._history = history
        self._under_way: cachetools.TTLCache[str, _Started] = cachetools.TTLCache(
            RUNS_UNDER_WAY, FORGOTTEN_AFTER_S, timer=clock
        )
        self._lock = threading.Lock()

    @property
    def under_way(self) -> tuple[RunReport, ...]:
        """The runs that started and have not ended."""
        with self._lock:
            return tuple(started.report for started in self._under_way.values())

    @property
    def history(self) -> RunHistory:
        """The runs that have ended."""
        return self._history

    def report(self, report: RunReport) -> None:
        """Take in one report."""
        now, on = self._clock(), self._utc_now()
        ended = None
        with self._lock:
            if report.event == "started":
                self._under_way[report.run_id] = _Started(report, now, on)
            else:
                run = _ended(report, self._under_way.pop(report.run_id, None), now, on)
                history = self._history.add(attrs.evolve(run, used=None))
                ended = run if history is not self._history else None
                self._history = history
        if ended is not None:
            self._on_end(ended)
        if report.event == "failed" and report.server is not None:
            self._look_at(report.server)


def parse_report(body: object) -> RunReport:
    """A report from JSON.

    Raises:
        ValueError: with everything that is wrong, in one message.
    """
    if not isinstance(body, Mapping):
        raise ValueError("the body must be a JSON object")
    problems = []
    if not _is_text(body.get("run_id")):
        problems.append("run_id must be text of 1 to 200 characters")
    if body.get("event") not in EVENTS:
        problems.append(f"event must be one of {', '.join(EVENTS)}")
    problems += [
        f"{key} must be null or text of 1 to 200 characters"
        for key in ("server", "error_class")
        if body.get(key) is not None and not _is_text(body[key])
    ]
    phase, http_status = body.get("phase"), body.get("http_status")
    if phase is not None and phase not in PHASES:
        problems.append(f"phase must be null or one of {', '.join(PHASES)}")
    if http_status is not None and not (type(http_status) is int and 100 <= http_status <= 599):
        problems.append("http_status must be null or a number from 100 to 599")
    used = None
    try:
        used = used_document.parse(body["used"]) if body.get("used") is not None else None
    except ValueError as error:
        problems.append(str(error))
    if problems:
        raise ValueError("; ".join(problems))
    return RunReport(
        body["run_id"],
        body["event"],
        body.get("server"),
        body.get("error_class"),
        Phase(phase) if phase is not None else None,
        http_status,
        used,
    )


def _ended(report: RunReport, started: _Started | None, now: float, on: datetime.datetime) -> Run:
    return Run(
        run_id=report.run_id,
        server=report.server,
        result=report.event,
        error_class=report.error_class,
        ended_on=on,
        started_on=started.on if started else None,
        duration_s=round(now - started.at, 3) if started else None,
        phase=report.phase,
        http_status=report.http_status,
        used=report.used,
    )


def _is_text(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()
