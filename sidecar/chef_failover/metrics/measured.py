"""Pure: what a scrape shows of the sidecar beside what is counted, as one value."""

from __future__ import annotations

import attrs

from chef_failover.model.model import Snapshot
from chef_failover.model.run_history import RunHistory


@attrs.frozen
class Measured:
    """The sidecar at one instant: ``now`` of the monotonic clock."""

    version: str
    snapshot: Snapshot
    history: RunHistory
    runs_under_way: int
    faults: int
    """Tasks that failed with an internal error, and were tried again."""
    fingerprint: int
    """Of the configuration: the same number for the same configuration, up to 48 bits."""
    now: float
