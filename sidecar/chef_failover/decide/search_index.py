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

from chef_failover.decide.health import advance
from chef_failover.model.model import Health, ProbeResult, RiseFall, ServerSnapshot, Thresholds

WORKS, FAILS = LABELS = ("index works", "index fails")
"""What is said of it where changes are remembered."""


def looked_at(index: RiseFall, result: ProbeResult, *, had_failed: bool, thresholds: Thresholds) -> RiseFall:
    """The index after a probe that looked at it; ``had_failed`` tells what a former life saw."""
    if index.health is Health.UNKNOWN and not had_failed:
        index = RiseFall(Health.UP, changed_at=-math.inf)
    return advance(index, is_good=not result.index_fails, at=result.finished_at, thresholds=thresholds)


def why_impaired(server: ServerSnapshot, *, is_in_use: bool) -> str | None:
    """Why a run there could not save its node, in words; None when nothing is known to hinder it.

    No node moves to a server whose latest look failed, but the one in use keeps its node until enough have.
    """
    if server.index.health is Health.DOWN:
        is_back = server.index.is_changing
        return f"its search index {'failed a moment ago' if is_back else 'fails, so the last save of a run fails'}"
    return "its search index failed its last check" if server.index.is_changing and not is_in_use else None
