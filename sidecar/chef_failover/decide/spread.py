"""Pure: how a fleet spreads whose nodes know nothing of each other: by chance, and by spans that grow.

Spans are made for 10,000 nodes and grow in proportion beyond. A smaller fleet has the same ones: it costs its servers
little as it is.
"""

from __future__ import annotations

import functools
import hashlib

MADE_FOR = 10_000
BOOT_S = 5.0
"""What a node does when it starts falls anywhere within this time, for `MADE_FOR` nodes."""
JITTER = 0.2
"""Intervals vary by a fifth either way, so that a fleet never beats in step."""


@functools.lru_cache(maxsize=256)
def unit_hash(*parts: str) -> float:
    """A number from 0 to below 1 that the same parts always give, on every node and in every release."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def scale(nodes: int | None) -> float:
    """How much longer than for `MADE_FOR` nodes spans are; ``nodes`` None is a fleet of unknown size."""
    return max(1.0, (nodes or 0) / MADE_FOR)


def varied(span_s: float, chance: float) -> float:
    """``span_s``, by a fifth shorter to a fifth longer as ``chance``, from 0 to below 1, has it."""
    return span_s * (1 - JITTER + 2 * JITTER * chance)


def doubled(first_s: float, times: int, longest_s: float) -> float:
    """``first_s``, doubled so many times, and ``longest_s`` at the most."""
    return min(longest_s, first_s * 2.0 ** min(times, 64))
