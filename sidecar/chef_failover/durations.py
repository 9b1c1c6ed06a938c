"""Pure: lengths of time as people write and read them."""

from __future__ import annotations

import re

LONGEST_S = 366 * 86400.0
"""What is longer than a year is a mistake, and no clock can count it."""
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PATTERN = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")


def parse_duration_s(text: object) -> float:
    """The seconds in ``500ms``, ``10s``, ``5m``, ``1h`` or ``1d``.

    Raises:
        ValueError: ``text`` is anything else; the message says what would be right.
    """
    match = _PATTERN.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write 500ms, 10s, 5m, 1h or 1d")
    seconds = float(match[1]) * _UNITS_S[match[2]]
    if seconds > LONGEST_S:
        raise ValueError(f"{text!r} is longer than 366 days; write less")
    return seconds


def in_words(seconds: float) -> str:
    """``45 s``, ``8 min``, ``3 h``, ``2 d``: one unit, rounded, never a false precision."""
    for limit, unit_s, unit in ((90, 1, "s"), (90 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{max(1, round(seconds / unit_s))} {unit}"
    return f"{round(seconds / 86400)} d"
