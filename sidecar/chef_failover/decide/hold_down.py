"""Pure: how long a server that failed must stay well before this node comes back to it.

The first time that is ``failback``. Whenever the node has come back and has to leave again within a day, the hold-down
doubles, up to `LONGEST_S`; each day after the last failure takes one doubling back.

That alone does not stop a server that comes and goes every quarter of an hour. A node asks it twice an hour, finds it
UP seven times of eight, and so would come back to it again and again. Therefore, once a server has failed `MOST_A_DAY`
times in a day, the hold-down also lasts until that day is over.

What was learned counts until the node has come back. If a person's order takes the node away after that, the plain
``failback`` is left, and a server that stays well meanwhile is returned to at once.

A failure is that the node leaves the server because of how it is: DOWN, failing runs, impaired, not ready, turning away
the node that it knew. What a person wants (a drain, a pin, another order, a newer policy) is none, and what a server
does while the node is elsewhere only begins its time of being well again.

Each node adds a part of the hold-down, up to once more, by a hash of its name and the server's: a large return is a
ramp as long as the hold-down itself. With ``failback: immediately`` there is no hold-down, and with ``never`` it does
not end; neither learns.
"""

from __future__ import annotations

import math

import attrs

from chef_failover import durations
from chef_failover.decide.spread import doubled, unit_hash
from chef_failover.model.model import Choice, Returns, SelectionPolicy, ServerSnapshot, Snapshot, Standing

LONGEST_S = 4 * 3600.0
"""The longest that a hold-down grows to, before the spread."""
DAY_S = 86400.0
MOST_A_DAY = 2
"""Failures in a day after which the node stays away for the rest of it. With the returns these are four moves."""
_NO_FAILURES = (Standing.UNKNOWN, Standing.DRAINED, Standing.STALE, Standing.ELIGIBLE)


def after_move(snapshot: Snapshot, before: Choice, choice: Choice, *, now: float) -> Snapshot:
    """``snapshot`` with what the move from ``before`` to ``choice`` tells of these two servers."""
    left = next((one for one in choice.verdicts if one.name == before.name), None)
    if left is None or not 0 < snapshot.policy.failback_s < math.inf:
        return snapshot
    former, chosen = snapshot.server(before.name), snapshot.server(choice.name)
    # Where the node is not registered yet, nothing has failed.
    is_refused = left.standing is Standing.TURNS_NODE_AWAY and former is not None and not former.is_registered
    if former is not None and left.standing not in _NO_FAILURES and not is_refused:
        returns = _failed(former.returns, snapshot.policy.failback_s, now)
        snapshot = snapshot.with_server(attrs.evolve(former, returns=returns))
    if chosen is not None and not left.is_better:
        returns = attrs.evolve(chosen.returns, came_back_at=now)
        snapshot = snapshot.with_server(attrs.evolve(chosen, returns=returns))
    return snapshot


def length_s(server: ServerSnapshot, policy: SelectionPolicy, *, now: float) -> float:
    """For how many seconds the server must stay well before this node comes back; infinite for never."""
    return _base_s(server, policy, now) * (1 + _share(server, policy))


def left_s(server: ServerSnapshot, policy: SelectionPolicy, *, well_since: float | None, now: float) -> float:
    """Seconds until this node may come back to a server that is well since that instant, None for not at all."""
    if well_since is None or math.isinf(policy.failback_s):
        return math.inf
    failed_at, base_s = server.returns.failed_at, policy.failback_s
    if _is_away(server.returns):
        base_s = _base_s(server, policy, now)
        if _doublings(server.returns, now):
            well_since = max(well_since, failed_at[-1])
        if base_s and len(failed_at) == MOST_A_DAY:
            well_since = max(well_since, failed_at[0] + DAY_S - base_s)
    return max(0.0, base_s * (1 + _share(server, policy)) - (now - well_since))


def failures(server: ServerSnapshot, *, now: float) -> int:
    """How often this node left it in the last 24 hours because it failed; of more than `MOST_A_DAY` just these."""
    return sum(now - at < DAY_S for at in server.returns.failed_at)


def in_words(span_s: float, server: ServerSnapshot, *, now: float) -> str:
    """``span_s`` of its hold-down for people: that it is ``failback``, or why it is longer."""
    why = ""
    if _is_away(server.returns) and failures(server, now=now) == MOST_A_DAY:
        why = ", since it failed twice in 24 h"
    elif _is_away(server.returns) and _doublings(server.returns, now):
        why = ", since it failed after the node had come back"
    return f"{durations.in_words(span_s)} (failback{why})"


def _is_away(returns: Returns) -> bool:
    """The server has failed, and the node has not come back since."""
    return bool(returns.failed_at) and returns.failed_at[-1] >= returns.came_back_at


def _base_s(server: ServerSnapshot, policy: SelectionPolicy, now: float) -> float:
    """The hold-down before the spread."""
    return max(policy.failback_s, doubled(policy.failback_s, _doublings(server.returns, now), LONGEST_S))


def _share(server: ServerSnapshot, policy: SelectionPolicy) -> float:
    """How much of the hold-down this node adds to it."""
    return unit_hash("hold-down", policy.identity, server.name)


def _doublings(returns: Returns, now: float) -> int:
    """Those that are left after the days of peace."""
    return max(0, returns.doublings - int((now - returns.failed_at[-1]) // DAY_S)) if returns.failed_at else 0


def _failed(returns: Returns, failback_s: float, now: float) -> Returns:
    most = math.ceil(math.log2(max(1.0, LONGEST_S / failback_s)))
    has_relapsed = bool(returns.failed_at) and now - returns.came_back_at < DAY_S
    return Returns(min(most, _doublings(returns, now) + has_relapsed), (*returns.failed_at, now)[-MOST_A_DAY:])
