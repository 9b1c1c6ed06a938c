"""Limits as AWS and rate-limiting fronts have them: a bucket that fills at a steady rate."""

from __future__ import annotations

import collections

from bench.fleet.clock import Clock


class Bucket:
    """Lets ``rate`` calls a second through, and up to ``burst`` at once; the others are throttled."""

    def __init__(self, clock: Clock, rate: float, burst: float) -> None:
        self.asked: collections.Counter[int] = collections.Counter()
        """Calls, by the second in which they came."""
        self.taken = 0
        self._clock = clock
        self._rate = rate
        self._burst = max(1.0, burst)
        self._left = self._burst
        self._filled_at = 0.0

    @property
    def calls(self) -> int:
        """Calls so far."""
        return self.asked.total()

    def take(self) -> bool:
        """Whether one call goes through now."""
        now = self._clock.now
        self.asked[int(now)] += 1
        self._left = min(self._burst, self._left + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._left < 1:
            return False
        self._left -= 1
        self.taken += 1
        return True
