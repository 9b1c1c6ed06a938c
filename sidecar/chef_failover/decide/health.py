"""Pure: from probe results to health, with rise and fall.

A server changes between UP and DOWN only after several results in a row say so: one lost packet moves nobody. The very
first result counts at once, since any answer beats none.
"""

from __future__ import annotations

import functools
import math

import attrs

from chef_failover.model.model import Health, Outcome, RiseFall, ServerSnapshot, Snapshot, Thresholds


def advance(state: RiseFall, *, is_good: bool, at: float, thresholds: Thresholds, comes_back: bool = True) -> RiseFall:
    """The health after one more result, which came ``at`` that instant of the monotonic clock.

    With ``comes_back`` False, a server met for the first time counts as having always been what it is: it does not come
    back from anywhere, so there is nothing to hold down. One that was UP before a restart of ours, as ``changed_at`` of
    an UNKNOWN one says, goes on to be.
    """
    toward = Health.UP if is_good else Health.DOWN
    if state.health is toward:
        return attrs.evolve(state, streak=0)
    if state.health is Health.UNKNOWN and is_good and state.changed_at is not None:
        return attrs.evolve(state, health=toward)
    if state.health is Health.UNKNOWN:
        return RiseFall(toward, changed_at=at if comes_back else -math.inf)
    streak = state.streak + 1
    if streak < (thresholds.rise if is_good else thresholds.fall):
        return attrs.evolve(state, streak=streak)
    return RiseFall(toward, changed_at=at)


def counted(server: ServerSnapshot, snapshot: Snapshot, outcome: Outcome, *, at: float) -> ServerSnapshot:
    """``server`` once a probe with ``outcome`` has counted; only one that is alive says whether it serves this node."""
    comes_back = snapshot.may_come_back(server.name)
    after = functools.partial(advance, at=at, thresholds=snapshot.policy.thresholds, comes_back=comes_back)
    access = after(server.access, is_good=outcome.serves_node) if outcome.is_alive else server.access
    return attrs.evolve(server, liveness=after(server.liveness, is_good=outcome.is_alive), access=access)
