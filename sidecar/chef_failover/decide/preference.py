"""Pure: the order in which a node prefers its servers: as configured and, among equals, one that each node has alone.

Equals are ordered by rendezvous hashing, so losing a server moves only its nodes.
"""

from __future__ import annotations

from chef_failover.decide.spread import unit_hash
from chef_failover.model.model import ServerSnapshot, Snapshot


def preference(server: ServerSnapshot, snapshot: Snapshot) -> tuple[int, float]:
    """What orders ``server`` among the others, smaller for better."""
    return server.priority, unit_hash("rendezvous", snapshot.policy.identity, server.name)


def ranked(snapshot: Snapshot) -> list[ServerSnapshot]:
    """The servers, the most preferred first."""
    return sorted(snapshot.servers, key=lambda server: preference(server, snapshot))


def is_preferred(one: ServerSnapshot, other: ServerSnapshot, snapshot: Snapshot) -> bool:
    """Whether ``one`` comes before ``other``."""
    return preference(one, snapshot) < preference(other, snapshot)
