"""Shell: the loop that probes one server, on a thread of its own, so that a hanging server delays no other."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from chef_failover.decide.health import Pace, next_delay_s
from chef_failover.model.model import ProbeResult

log = logging.getLogger(__name__)

LONGEST_NAP_S = 5.0
FIRST_PROBE_S = 5.0
"""The first probe falls within this, however long the interval: nobody likes to be told "not probed yet"."""


class Monitor:
    """Probes when it is due, and at once when somebody wants fresher results than there are.

    Args:
        name: of the server.
        probe: probes it; may take as long as its own deadline.
        report: takes the result, and tells whether a change is under way.
        pace: between probes.
        clock: monotonic seconds; the same as that of the results.
        rng: for the jitter.
        is_known: there is a result already, as after a reload: then the first probe has time.
        tend: called between probes, for what is due in the world without one; seconds until it is to be called again.
    """

    def __init__(
        self,
        name: str,
        *,
        probe: Callable[[], ProbeResult],
        report: Callable[[ProbeResult], bool],
        pace: Pace,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random,
        tend: Callable[[], float] = lambda: LONGEST_NAP_S,
        is_known: bool = False,
    ) -> None:
        self.name = name
        self.faults = 0
        """How often a probe broke by a fault of ours; such a probe says nothing of the server."""
        self._probe = probe
        self._report = report
        self._pace = pace
        self._clock = clock
        self._rng = rng
        self._tend = tend
        self._wake = threading.Condition()
        self._is_stopping = False
        self._due_at = clock() + rng.uniform(0, pace.interval_s if is_known else min(pace.interval_s, FIRST_PROBE_S))
        self._last_at = self._wanted_from = float("-inf")
        self._thread = threading.Thread(target=self._run, name=f"monitor {name}", daemon=True)

    @property
    def due_at(self) -> float:
        """When the next probe begins at the latest."""
        return self._due_at

    def start(self) -> None:
        """Begin, at a random offset."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no further probe. One under way ends by itself, and its result still counts."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end after `stop`; whether it came."""
        if self._thread.is_alive():  # it may never have begun
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def is_late(self, now: float, allowance_s: float) -> bool:
        """The loop has missed its next probe by more than ``allowance_s``: it hangs or is dead."""
        return now > self._due_at + allowance_s

    def freshen(self, wanted_from: float, within_s: float = 0.0) -> None:
        """Ask for a result no older than this instant, by a probe that begins ``within_s`` from now.

        However many ask, one probe serves them, and so does one that is under way.
        """
        begin_at = self._clock() + within_s
        with self._wake:
            if wanted_from > self._last_at:
                self._wanted_from = max(self._wanted_from, wanted_from)
                self._due_at = min(self._due_at, begin_at)
                self._wake.notify()  # also when it is overdue: the clock by which it naps may have stood still

    def step(self) -> None:
        """One probe, and when the next is due."""
        try:
            result = self._probe()
            is_changing = self._report(result)
        except Exception:
            self.faults += 1
            log.exception("probe of %s broke by a fault of ours, not of the server", self.name)
            last_at, delay_s = self._clock(), self._pace.retry_interval_s
        else:
            last_at, delay_s = result.finished_at, next_delay_s(self._pace, self._rng, is_changing=is_changing)
        with self._wake:
            self._last_at = last_at
            is_wanted = self._wanted_from > last_at  # by somebody who came while the result was taken in
            self._due_at = last_at if is_wanted else last_at + delay_s

    def _run(self) -> None:
        while self._wait():
            self.step()

    def _wait(self) -> bool:
        """Until a probe is due or wanted; False when the loop is to end."""
        while True:
            # Not longer: a machine that slept has lost that time on the clock by which this waits, not on ours.
            nap_s = min(self._tend(), LONGEST_NAP_S)
            with self._wake:
                left_s = self._due_at - self._clock()
                if self._is_stopping or left_s <= 0:
                    return not self._is_stopping
                self._wake.wait(min(left_s, nap_s))
