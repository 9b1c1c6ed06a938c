"""Pure: chance that never changes its mind, to spread a fleet of nodes that know nothing of each other."""

from __future__ import annotations

import functools
import hashlib


@functools.lru_cache(maxsize=256)
def unit_hash(*parts: str) -> float:
    """A number from 0 to below 1 that the same parts always give, on every node and in every release."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64
