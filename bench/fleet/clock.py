"""The simulated clock: what is to happen, in the order of its instants. It stands for the engine's threads."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class Clock:
    """Seconds since the simulation began, as float; what is known before that has negative instants."""

    def __init__(self) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, Callable[..., None], tuple]] = []
        self._number = itertools.count()  # what falls on one instant happens in the order in which it was asked for

    def at(self, instant: float, do: Callable[..., None], *arguments: object) -> None:
        """Have ``do`` called then, or as soon as possible if that is over."""
        heapq.heappush(self._queue, (max(instant, self.now), next(self._number), do, arguments))

    def run_until(self, end: float) -> None:
        """Let all happen that comes before ``end``."""
        queue = self._queue
        while queue and queue[0][0] < end:
            self.now, _, do, arguments = heapq.heappop(queue)
            do(*arguments)
        self.now = end
