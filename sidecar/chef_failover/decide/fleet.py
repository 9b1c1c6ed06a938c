"""Pure: what the size of the fleet changes.

Spans are made for 10,000 nodes and grow in proportion beyond. A smaller fleet has the same ones: it costs its servers
little as it is.
"""

from __future__ import annotations

MADE_FOR = 10_000
BOOT_S = 5.0
"""What a node does when it starts falls anywhere within this time, for `MADE_FOR` nodes."""


def scale(nodes: int | None) -> float:
    """How much longer than for `MADE_FOR` nodes spans are; ``nodes`` None is a fleet of unknown size."""
    return max(1.0, (nodes or 0) / MADE_FOR)
