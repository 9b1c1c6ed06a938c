"""A Chef server with a capacity: one queue, where what was taken in is worked off whether its client waits or not."""

from __future__ import annotations

import collections
import enum
from collections.abc import Iterable
from typing import NamedTuple

from bench.fleet.aws import Bucket
from bench.fleet.clock import Clock

NETWORK_S = 0.002
"""There and back."""
LONGEST_BACKLOG_S = 10.0
"""Beyond that the front answers 503."""
REFUSAL_CPU_S = 0.0011
"""What a front spends on TLS and a 503."""


class Kind(enum.Enum):
    """What a request is for; seconds of the server's CPU, by ``bench.fleet.costs``; bytes both ways, TLS included."""

    RUN = ("chef-client", 0.0025, 700_000 // 15)
    PROBE = ("probe", 0.0020, 3_200)
    """Signed, on a connection of its own."""
    QUESTION = ("probe for a run", 0.0020, 3_200)
    UNSIGNED = ("unsigned probe", 0.0014, 3_200)
    STATUS = ("status", 0.0008, 800)
    """On a probe's connection."""
    READING = ("reading", 0.0056, 154_000)
    """The node object of 150 kB, on a connection of its own."""
    PARITY = ("policy group", 0.0020, 6_000)
    RIGHTS = ("rights", 0.0020, 4_000)
    """As much as a probe, though some share a connection with another request."""
    REGISTRATION = ("registration", 0.0028, 4_500)
    SEED = ("seeding", 0.0023, 5_000)

    def __init__(self, label: str, cpu_s: float, size: int) -> None:
        self.label = label
        self.cpu_s = cpu_s
        self.size = size


READINGS = (Kind.READING, Kind.PARITY, Kind.RIGHTS)
OURS = tuple(kind for kind in Kind if kind is not Kind.RUN)


class Reply(NamedTuple):
    """When the answer is there, and its HTTP status; 0 where the connection is refused."""

    at: float
    status: int


class ChefServer:
    """One server, which knows every node unless it ``forgets``.

    Args:
        clock: the time.
        name: of the server.
        cores: its capacity, in seconds of CPU a second.
        other: the part of that which others than this fleet take, always.
        registrations: lets them through; without it all are.
    """

    def __init__(
        self, clock: Clock, name: str, *, cores: float = 1e9, other: float = 0.0, registrations: Bucket | None = None
    ) -> None:
        self.name = name
        self.is_up = True
        self.has_policy = True
        self.clients: set[str] | None = None
        """Who is registered; None for everybody."""
        self.objects: set[str] | None = None
        """The nodes that have their object here; None for all."""
        self.empty: set[str] = set()
        """Those whose object here does nothing, since a run has made it."""
        self.seeded_at: dict[str, float] = {}
        """When the object of each node was made here."""
        self.counts: collections.Counter[tuple[Kind, int]] = collections.Counter()
        """Requests by kind and second."""
        self.work: collections.Counter[int] = collections.Counter()
        """Microseconds of CPU that were taken in, by the second in which they are worked off."""
        self.refused = 0
        self.cores = cores
        self.other = other
        self._clock = clock
        self._registrations = registrations
        self._busy_until = 0.0

    def stop(self) -> None:
        """Die: connections are refused, and what was queued is lost."""
        self.is_up = False

    def start(self) -> None:
        """Come back, with an empty queue."""
        self.is_up = True
        self._busy_until = self._clock.now

    def forget(self) -> None:
        """Come back restored from nothing: no client, no object."""
        self.clients, self.objects = set(), set()
        self.start()

    def ask(self, kind: Kind) -> Reply:
        """One request that arrives now."""
        now = self._clock.now
        self.counts[kind, int(now)] += 1
        if not self.is_up:
            return Reply(now + NETWORK_S, 0)
        backlog_s = max(0.0, self._busy_until - now)
        is_refused = backlog_s > LONGEST_BACKLOG_S
        self.refused += is_refused
        took_s = (REFUSAL_CPU_S if is_refused else kind.cpu_s) / (self.cores - self.other)
        self._busy_until = now + backlog_s + took_s
        self.work[int(self._busy_until)] += int(1e6 * took_s * (self.cores - self.other))
        if is_refused:
            return Reply(now + NETWORK_S, 503)
        return Reply(self._busy_until + NETWORK_S, 200)

    def knows(self, node: str) -> bool:
        """Whether that node is registered here."""
        return self.clients is None or node in self.clients

    def has_object(self, node: str) -> bool:
        """Whether that node's object is here."""
        return self.objects is None or node in self.objects

    def register(self, node: str) -> int:
        """The status of a registration: 201, or 429 where too many come."""
        if self._registrations is not None and not self._registrations.take():
            return 429
        if self.clients is not None:
            self.clients.add(node)
        return 201

    def seed(self, node: str) -> None:
        """That node's object has been made here."""
        if self.objects is not None and (node not in self.objects or node in self.empty):
            self.objects.add(node)
            self.empty.discard(node)
            self.seeded_at[node] = self._clock.now

    def save(self, node: str) -> None:
        """A run of that node ends here: where there was no object, there is an empty one now."""
        if not self.has_object(node):
            self.objects.add(node)
            self.empty.add(node)

    def requests(self, kinds: Iterable[Kind], begin: float, end: float) -> int:
        """How many of these kinds came from ``begin`` to before ``end``, in whole seconds."""
        wanted = set(kinds)
        return sum(n for (kind, second), n in self.counts.items() if kind in wanted and begin <= second < end)

    def peak(self, kinds: Iterable[Kind], begin: float, end: float, width_s: int) -> float:
        """The most requests a second of these kinds, over any ``width_s`` seconds in a row of that time."""
        wanted = set(kinds)
        seconds: collections.Counter[int] = collections.Counter()
        for (kind, second), n in self.counts.items():
            if kind in wanted and begin <= second < end:
                seconds[second] += n
        return peak(seconds, width_s)

    def load(self, begin: float, end: float) -> float:
        """The part of its capacity that was used, others' load included."""
        done_s = sum(us for second, us in self.work.items() if begin <= second < end) / 1e6
        return (self.other + done_s / (end - begin)) / self.cores


def peak(seconds: collections.Counter[int], width_s: int) -> float:
    """The most a second, over any ``width_s`` seconds in a row."""
    most = total = 0
    window: collections.deque[tuple[int, int]] = collections.deque()
    for second in sorted(seconds):
        window.append((second, seconds[second]))
        total += seconds[second]
        while window[0][0] <= second - width_s:
            total -= window.popleft()[1]
        most = max(most, total)
    return most / width_s
