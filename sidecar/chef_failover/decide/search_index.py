"""Pure: whether a server's search index works, without which no run can save its node there.

Only the last request of a run needs the index: the run does all its work and then fails. So such a server stands below
every sound one, and above those where a run does nothing, or fails at once.

The server gives its index 400 ms to answer, so one look proves nothing, not even the first: it takes ``fall`` of them,
unless a former life has seen the index fail. A run that starts goes by the same count, and waits for no look. But no
node moves to a server whose latest look failed: where all have the same trouble, it stays where it is.

Source: github.com/chef/chef-server chef_wm_status.erl, health_ping_timeout.
"""

from __future__ import annotations

import math

from chef_failover.decide.health import Thresholds, advance
from chef_failover.decide.readiness import PROVING
from chef_failover.model.model import Health, RiseFall, ServerSnapshot

WORKS, FAILS = LABELS = ("index works", "index fails")
"""What is said of it where changes are remembered."""


def looked_at(
    index: RiseFall, *, is_good: bool, had_failed: bool, at: float, thresholds: Thresholds
) -> tuple[RiseFall, str]:
    """The index after one more look ``at`` that instant, and its label; ``had_failed`` tells what a former life saw."""
    if index.health is Health.UNKNOWN and not had_failed:
        index = RiseFall(Health.UP, changed_at=-math.inf)
    index = advance(index, is_good=is_good, at=at, thresholds=thresholds)
    return index, FAILS if index.health is Health.DOWN else WORKS


def is_doubtful(server: ServerSnapshot) -> bool:
    """Its latest look failed, and not enough have."""
    return server.index.health is Health.UP and server.index.is_changing


def why_impaired(server: ServerSnapshot) -> str | None:
    """Why a run there could not save its node, as a sentence; None when nothing is known to hinder it."""
    if not server.index_fails:
        return None
    if server.index.is_changing:
        return f"its search index failed {PROVING}"
    return "its search index fails, so a run's last save fails"
