"""Shell: when one server is probed."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable

from chef_failover.engine.scheduler import Scheduler
from chef_failover.model.model import ProbeResult


class Monitor:
    """Probes when silence or trouble makes it due, and at once when fresher results are wanted than there are.

    Args:
        name: of the server.
        probe: probes it; may take as long as its own deadline.
        report: takes the result.
        due_at: by the chance that it is given, when what is known of the server makes the next probe due.
        limit_s: what a probe takes at the most.
        retry_s: when the next one is due after one that broke by an internal error.
        scheduler: does it; its clock is that of the results.
        rng: for the chance, which stays the same until the next probe.
    """

    def __init__(
        self,
        name: str,
        *,
        probe: Callable[[], ProbeResult],
        report: Callable[[ProbeResult], None],
        due_at: Callable[[float], float],
        limit_s: float,
        retry_s: float,
        scheduler: Scheduler,
        rng: random.Random,
    ) -> None:
        self._probe = probe
        self._report = report
        self._due_at = due_at
        self._retry_s = retry_s
        self._rng = rng
        self._chance = rng.random()
        self._clock = scheduler.clock
        self._lock = threading.Lock()
        self._last_at = self._wanted_from = self._not_before = -math.inf
        self._wanted_at = math.inf
        self._began_at: float | None = None
        self._task = scheduler.task(
            f"probe of {name}", self.step, pool=scheduler.probes, limit_s=limit_s, retry_s=retry_s
        )

    @property
    def due_at(self) -> float:
        """When the next probe begins, unless what is known of the server changes."""
        return min(self._wanted_at, max(self._not_before, self._due_at(self._chance)))

    def plan(self) -> None:
        """Begin, or take into account what is known by now."""
        self._task.wake(self.due_at - self._clock())

    def stop(self) -> None:
        """Begin no further probe. One under way ends by itself, and its result still counts."""
        self._task.cancel()

    def freshen(self, wanted_from: float, within_s: float = 0.0, *, is_awaited: bool = False) -> float:
        """Ask for a result no older than this instant, by a probe that begins ``within_s`` from now.

        However many ask, one probe serves them, and so does one that is under way. Return when that began, or now.
        """
        with self._lock:
            now = self._clock()
            if wanted_from <= self._last_at:
                return now
            self._wanted_from = max(self._wanted_from, wanted_from)
            self._wanted_at = min(self._wanted_at, now + within_s)
            since = self._began_at if self._began_at is not None else now
        self._task.wake(within_s, is_awaited=is_awaited)
        return since

    def step(self) -> float:
        """One probe if it is due; seconds until the next."""
        if (left_s := self.due_at - self._clock()) > 0:
            return left_s
        self._began_at = last_at = self._clock()
        self._not_before = last_at + self._retry_s
        try:
            result = self._probe()
            self._report(result)
            last_at, self._not_before = result.finished_at, -math.inf
        finally:
            with self._lock:
                self._last_at, self._began_at, self._chance = last_at, None, self._rng.random()
                is_wanted = self._wanted_from > last_at  # since the result was taken in
                self._wanted_at = last_at if is_wanted else math.inf
        return self.due_at - self._clock()
