"""Pure: from probe results to health, with rise and fall.

A server changes between UP and DOWN only after several results in a row say so: one lost packet moves nobody. The very
first result counts at once, since any answer beats none.

A server's search index is counted alike. Only the last request of a run needs it: the run does all its work and then
cannot save its node. So a server without one stands below every sound one, and above those where a run does nothing, or
fails at once. The server gives its index 400 ms to answer, so one look proves nothing, not even the first: it takes
``fall`` of them, unless a former life has seen the index fail. A run that starts goes by the same count, and waits for
no look. But no node moves to a server whose latest look failed: where all have the same trouble, it stays where it is.

Source: github.com/chef/chef-server chef_wm_status.erl, health_ping_timeout.
"""

from __future__ import annotations

import functools
import math

import attrs

from chef_failover.model.model import Health, Outcome, ProbeResult, RiseFall, ServerSnapshot, Snapshot, Thresholds

INDEX_WORKS, INDEX_FAILS = INDEX_LABELS = ("index works", "index fails")
"""What is said of a search index where changes are remembered."""


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


def index_after(index: RiseFall, result: ProbeResult, *, had_failed: bool, thresholds: Thresholds) -> RiseFall:
    """The search index after a probe that looked at it; ``had_failed`` tells what a former life saw."""
    if index.health is Health.UNKNOWN and not had_failed:
        index = RiseFall(Health.UP, changed_at=-math.inf)
    return advance(index, is_good=not result.index_fails, at=result.finished_at, thresholds=thresholds)
