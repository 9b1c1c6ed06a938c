"""Pure: the order in which a node prefers its servers: as configured and, among equals, one that each node has alone.

Equals are ordered by rendezvous hashing, so losing a server moves only its nodes.
"""

from __future__ import annotations

import functools
import hashlib

from chef_failover.model.model import ServerSnapshot, Snapshot


def preference(server: ServerSnapshot, snapshot: Snapshot) -> tuple[int, float]:
    """What orders ``server`` among the others, smaller for better."""
    return server.priority, unit_hash("rendezvous", snapshot.policy.identity, server.name)


def is_preferred(one: ServerSnapshot, other: ServerSnapshot, snapshot: Snapshot) -> bool:
    """Whether ``one`` comes before ``other``."""
    return preference(one, snapshot) < preference(other, snapshot)


@functools.lru_cache(maxsize=256)
def unit_hash(*parts: str) -> float:
    """A number from 0 to below 1 that the same parts always give, on every node and in every release."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64
