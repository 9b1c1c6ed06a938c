"""Pure: when what a run of this node needs is read whole on a server.

Objects can be large, so they are read seldom. Only while a reading contradicts what we hold of a server, the next one
follows soon, to confirm it or not.
"""

from __future__ import annotations

import math

from chef_failover.decide.pace import JITTER
from chef_failover.decide.readiness import missing
from chef_failover.decide.rights import is_barred
from chef_failover.model.model import ServerSnapshot, Snapshot
from chef_failover.model.needs import Content, ParityMode, ReadinessMode

INTERVAL_S = 600.0
"""Seconds between whole readings of an object that is as it should be."""
RETRY_INTERVAL_S = 60.0
"""Seconds between readings while something is amiss."""
CONFIRMING_INTERVAL_S = 2.0
"""Seconds until a reading that says something new is repeated."""


def due_at(snapshot: Snapshot, server: ServerSnapshot, *, chance: float, asked_at: float = -math.inf) -> float:
    """The instant of the monotonic clock from which on what a run needs there is to be read whole.

    Minus infinity for at once; infinity as long as only a change of ``snapshot`` can bring it.

    Args:
        snapshot: the world.
        server: the one to be read.
        chance: from 0 to below 1, for the jitter; the same until the next reading.
        asked_at: when somebody last asked for a reading: after a chef-client run, on an operator's word.
    """
    policy = snapshot.policy
    is_off = policy.readiness.mode is ReadinessMode.OFF and policy.parity is ParityMode.OFF
    if is_off or not server.answers_node:
        return math.inf
    check = server.node_check
    if check is None or asked_at > check.read_at:
        return -math.inf
    lacks = missing(snapshot, server) is not None and not is_barred(snapshot, server)  # of which a run's end tells
    span_s = RETRY_INTERVAL_S if check.trouble or lacks else INTERVAL_S
    if server.readiness.is_changing and not check.trouble:
        span_s = CONFIRMING_INTERVAL_S
    return check.read_at + span_s * (1 - JITTER + 2 * JITTER * chance)


def is_recent(former: Content | None, wanted: Content) -> bool:
    """The same was asked for there so short a time before ``wanted`` that nobody needs to ask again."""
    if former is None or former.question != wanted.question:
        return False
    return wanted.asked_at - former.asked_at < INTERVAL_S * (1 - JITTER)
