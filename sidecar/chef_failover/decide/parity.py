"""Pure: whether a standby would give this node something older than its runs use.

A standby is stale when it has another revision of this node's policy, or older cookbooks, than the last successful run
used, half an hour after that changed.

What a run used, it tells at its end. What a standby has is read there, as `reading` has it, and counts if it was read
since runs use just that: a deployment reaches the servers one after the other.

A server is held against what runs used on a server that is preferred to it. Once a run on an old standby has succeeded,
what runs use is old; the main server is not stale for that, so the node returns.
"""

from __future__ import annotations

import math

from chef_failover.decide.preference import is_preferred, preference
from chef_failover.model.comparison import Comparison, comparison
from chef_failover.model.model import ServerSnapshot, Snapshot
from chef_failover.model.needs import ParityMode
from chef_failover.model.run_history import Used

SETTLING_S = 1800.0
"""How long a deployment may take to reach all servers."""


def compare(snapshot: Snapshot, server: ServerSnapshot, *, now: float) -> Comparison:
    """Compare ``server`` with what the last successful run used."""
    used, origin = snapshot.used, snapshot.compared_with
    content = server.node_check.content if server.node_check else None
    if snapshot.policy.parity is ParityMode.OFF:
        return Comparison("not compared: parity is off")
    if used is None or origin is None:
        return Comparison("not compared: no run has reported what it used")
    if origin.name == server.name:
        return Comparison("has what runs use")
    if not is_preferred(origin, server, snapshot):
        return Comparison(f"not compared: it is preferred to {origin.name}, where the last runs were")
    if content is not None and content.read_at >= snapshot.used_since:
        found = comparison(used, content)
    elif content is None and server.was_stale:
        found = Comparison("it was stale when last read, before a restart", is_stale=True)
    else:
        found = Comparison("not compared: not read since runs began to use this")
    if found.is_stale and now < snapshot.used_since + SETTLING_S:
        return Comparison("not compared yet: runs use something new, which may reach this server within 30 min")
    return found


def stale(snapshot: Snapshot, server: ServerSnapshot, *, now: float) -> str | None:
    """What is older there than what runs use, as words of their own; None: nothing that we know of."""
    found = compare(snapshot, server, now=now)
    return found.words if found.is_stale else None


def is_behind(snapshot: Snapshot, server: ServerSnapshot) -> bool:
    """It has something older than runs use, by its last reading, whether or not a deployment is on its way."""
    return stale(snapshot, server, now=math.inf) is not None


def is_compared(snapshot: Snapshot, server: ServerSnapshot) -> bool:
    """What it has may be held against it."""
    is_off, origin = snapshot.policy.parity is ParityMode.OFF, snapshot.compared_with
    return not is_off and origin is not None and is_preferred(origin, server, snapshot)


def origin(snapshot: Snapshot, server: ServerSnapshot | None, used: Used) -> str | None:
    """`Snapshot.used_server` once a run on ``server`` has succeeded that used ``used``; ``snapshot`` is from before."""
    former = snapshot.compared_with if snapshot.used == used else None
    found = [one for one in (former, server) if one is not None]
    return min(found, key=lambda one: preference(one, snapshot)).name if found else None
