"""Shell: the chef-client runs that the shim reports."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import cachetools

RUNS_KEPT = 64
FORGOTTEN_AFTER_S = 6 * 3600.0
"""A run whose end nobody reports (killed, rebooted) is no longer under way after this."""
EVENTS = ("started", "succeeded", "failed")


@attrs.frozen
class RunReport:
    """One report: ``event`` is one of EVENTS, ``server`` the name of the server used, if the run knew it."""

    run_id: str
    event: str
    server: str | None = None
    error_class: str | None = None


class Runs:
    """Runs under way.

    A failed one makes ``look_at(server)`` happen at once, whatever its error: the exception's class does not tell,
    since a cut connection can surface in chef-client as NoMethodError.
    """

    def __init__(self, look_at: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._look_at = look_at
        self._under_way: cachetools.TTLCache[str, RunReport] = cachetools.TTLCache(
            RUNS_KEPT, FORGOTTEN_AFTER_S, timer=clock
        )
        self._lock = threading.Lock()

    @property
    def under_way(self) -> tuple[RunReport, ...]:
        """The runs that started and have not ended."""
        with self._lock:
            return tuple(self._under_way.values())

    def report(self, report: RunReport) -> None:
        """Take in one report."""
        with self._lock:
            if report.event == "started":
                self._under_way[report.run_id] = report
            else:
                self._under_way.pop(report.run_id, None)
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
    if problems:
        raise ValueError("; ".join(problems))
    return RunReport(body["run_id"], body["event"], body.get("server"), body.get("error_class"))


def _is_text(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()
