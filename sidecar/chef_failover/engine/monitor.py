"""Shell: when one server is probed."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from chef_failover.decide.health import Pace, next_delay_s
from chef_failover.engine.scheduler import Scheduler
from chef_failover.model.model import ProbeResult

FIRST_PROBE_S = 5.0
"""The first probe falls within this, however long the interval: nobody likes to be told "not probed yet"."""


class Monitor:
    """Probes when it is due, and at once when somebody wants fresher results than there are.

    Args:
        name: of the server.
        probe: probes it; may take as long as its own deadline.
        report: takes the result, and tells whether a change is under way.
        pace: between probes.
        limit_s: what a probe takes at the most.
        scheduler: does it; its clock is that of the results.
        rng: for the jitter.
        is_known: there is a result already, as after a reload: then the first probe has time.
    """

    def __init__(
        self,
        name: str,
        *,
        probe: Callable[[], ProbeResult],
        report: Callable[[ProbeResult], bool],
        pace: Pace,
        limit_s: float,
        scheduler: Scheduler,
        rng: random.Random,
        is_known: bool = False,
    ) -> None:
        self._probe = probe
        self._report = report
        self._pace = pace
        self._rng = rng
        self._clock = scheduler.clock
        self._lock = threading.Lock()
        self._due_at = self._clock() + rng.uniform(
            0, pace.interval_s if is_known else min(pace.interval_s, FIRST_PROBE_S)
        )
        self._last_at = self._wanted_from = float("-inf")
        self._task = scheduler.task(
            f"probe of {name}", self.step, pool=scheduler.probes, limit_s=limit_s, retry_s=pace.retry_interval_s
        )

    @property
    def due_at(self) -> float:
        """When the next probe begins at the latest."""
        return self._due_at

    def start(self) -> None:
        """Begin, at a random offset."""
        self._task.wake(self._due_at - self._clock())

    def stop(self) -> None:
        """Begin no further probe. One under way ends by itself, and its result still counts."""
        self._task.cancel()

    def freshen(self, wanted_from: float, within_s: float = 0.0, *, is_awaited: bool = False) -> None:
        """Ask for a result no older than this instant, by a probe that begins ``within_s`` from now.

        However many ask, one probe serves them, and so does one that is under way.
        """
        with self._lock:
            if wanted_from <= self._last_at:
                return
            self._wanted_from = max(self._wanted_from, wanted_from)
            self._due_at = min(self._due_at, self._clock() + within_s)
        self._task.wake(within_s, is_awaited=is_awaited)

    def step(self) -> float:
        """One probe if it is due; seconds until the next."""
        if (left_s := self._due_at - self._clock()) > 0:
            return left_s
        last_at, delay_s = self._clock(), self._pace.retry_interval_s
        try:
            result = self._probe()
            is_changing = self._report(result)
            last_at, delay_s = result.finished_at, next_delay_s(self._pace, self._rng, is_changing=is_changing)
        finally:
            with self._lock:
                self._last_at = last_at
                is_wanted = self._wanted_from > last_at  # by somebody who came while the result was taken in
                self._due_at = last_at if is_wanted else last_at + delay_s
        return self._due_at - self._clock()
