"""What was seen, row by row, beside its bar."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs


@attrs.frozen
class Row:
    """One row: what, its figure, the bar and whether it is met (None: for information)."""

    what: str
    figure: float
    bar: float | None
    said: str = ""
    """How it came about, in words."""
    chance: float = 0.0
    """What chance alone adds to the bar in a sample of this size, one time in a hundred."""

    @property
    def is_met(self) -> bool | None:
        """Whether the figure is within its bar."""
        return None if self.bar is None else self.figure <= self.bar + self.chance


def ratio_of_counts(what: str, count: int, expected: float, bar: float, said: str = "") -> Row:
    """``count`` events, of which ``expected``, itself a count, would make a ratio of 1."""
    expected = max(expected, 1e-9)
    spread = math.sqrt(max(1.0, bar * expected * (1 + bar)))
    return Row(what, count / expected, bar, said, chance=2.33 * spread / expected)


def table(rows: Sequence[Row]) -> str:
    """All of them, one line each."""
    cells = [("", "figure", "bar", "", "")]
    for row in rows:
        bar = "-" if row.bar is None else f"<= {row.bar:g}"
        verdict = {True: "pass", False: "MISSED", None: "info"}[row.is_met]
        cells.append(
            (row.what, f"{row.figure:.3g}" if row.figure < 1000 else f"{row.figure:.0f}", bar, verdict, row.said)
        )
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), row[1].rjust(widths[1]), *map(str.ljust, row[2:4], widths[2:]), row[4]])
        for row in cells
    ]
    return "\n".join(line.rstrip() for line in lines)
