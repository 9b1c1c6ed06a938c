"""Pure: what is counted since the sidecar started, as values. Every label's values are few and known before."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Mapping

import attrs

from chef_failover.model.model import Snapshot, Standing
from chef_failover.model.run_history import RunHistory

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the probe durations that are told apart: from a server next door to a long ``health.timeout``."""
OTHER = "other"
"""Stands for a server that the configuration does not name: whoever reports runs does not choose our labels."""


class Move(enum.StrEnum):
    """A change of the server in use, by its direction in the order of preference."""

    FAILOVER = "failover"
    FAILBACK = "failback"


PREFERRED, PINNED, REMOVED = "preferred", "pinned", "removed"
CAUSES = (
    *(standing.name.lower() for standing in (Standing.DOWN, Standing.TURNS_NODE_AWAY, Standing.NOT_READY)),
    Standing.DRAINED.name.lower(),
    PREFERRED,
    PINNED,
    REMOVED,
)
"""Why the node moves; these are shown from the start, with 0, so that the first of a kind is an increase."""


def move_between(before: Snapshot, after: Snapshot) -> tuple[Move, str] | None:
    """The move of the settled choice and its cause: one of CAUSES or, rarely, the name of another `Standing`.

    The very first choice is no move.
    """
    was, now = before.choice, after.choice
    if was is None or now is None or was.name == now.name:
        return None
    left = next((verdict for verdict in now.verdicts if verdict.name == was.name), None)
    if left is None:
        return Move.FAILOVER, REMOVED
    move = Move.FAILOVER if left.is_better else Move.FAILBACK
    if after.pinned == now.name:
        return move, PINNED
    return move, PREFERRED if left.standing is Standing.ELIGIBLE else left.standing.name.lower()


@attrs.frozen
class Durations:
    """How many took how long: one number for each of BUCKETS_S, not cumulated, and one for what took longer."""

    counts: tuple[int, ...] = (0,) * (len(BUCKETS_S) + 1)
    sum_s: float = 0.0

    def add(self, duration_s: float) -> Durations:
        """With one more."""
        place = sum(duration_s > bound for bound in BUCKETS_S)
        counts = (*self.counts[:place], self.counts[place] + 1, *self.counts[place + 1 :])
        return Durations(counts, self.sum_s + duration_s)


@attrs.frozen
class Counts:
    """Everything counted so far. Keys begin with the server's name where there is one."""

    probes: Mapping[tuple[str, str], int]
    """By server and outcome."""
    durations: Mapping[str, Durations]
    """Of the probes that found the server alive."""
    moves: Mapping[tuple[str, str], int]
    """By `Move` and cause."""
    attempts: Mapping[tuple[str, str], int]
    """Attempts to register the node that have ended, by server and by the association they led to."""
    runs: Mapping[tuple[str, str], int]
    """Runs that ended, by server (or OTHER) and result."""
    reloaded_on: datetime.datetime
    """When the configuration in use was taken over: at the start, or by a reload."""
    is_reload_good: bool
    """The last reload took the configuration over."""


@attrs.frozen
class Measured:
    """All that metrics show, at one instant: ``now`` of the monotonic clock."""

    version: str
    snapshot: Snapshot
    history: RunHistory
    counts: Counts
    runs_under_way: int
    faults: int
    """Loops that broke by a fault of ours, and went on."""
    fingerprint: int
    """Of the configuration: the same number for the same configuration, up to 48 bits."""
    now: float
