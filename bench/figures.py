"""What was measured, as a table for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Figure:
    """One measured thing beside its yardstick.

    ``ours`` and ``other`` are in words, with units; ``figure`` is what ``target`` speaks of, mostly their ratio.
    ``is_met`` None: for information, there is no target.
    """

    group: str
    what: str
    ours: str
    other: str
    figure: float
    target: str
    is_met: bool | None


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A promise that could not be measured, and what it would need."""

    group: str
    needs: str


def at_most(group: str, what: str, ours: str, other: str, *, figure: float, limit: float) -> Figure:
    """A figure that should not be above ``limit``."""
    return Figure(group, what, ours, other, figure, f"<= {limit:g}", figure <= limit)


def at_least(group: str, what: str, ours: str, other: str, *, figure: float, limit: float) -> Figure:
    """A figure that should not be below ``limit``."""
    return Figure(group, what, ours, other, figure, f">= {limit:g}", figure >= limit)


def note(group: str, what: str, ours: str, other: str, figure: float) -> Figure:
    """A figure without a target."""
    return Figure(group, what, ours, other, figure, "-", None)


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that is not below ``percent`` per cent of them."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def median(samples: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(samples)


def duration(seconds: float) -> str:
    """In the unit that reads best."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} us"


def table(results: Sequence[Figure | Skipped]) -> str:
    """All of them, one line each."""
    head = ("", "what", "chef-failover", "beside it", "figure", "target", "")
    rows = [head]
    for result in results:
        if isinstance(result, Skipped):
            rows.append((result.group, f"skipped: needs {result.needs}", "", "", "", "", "SKIP"))
            continue
        verdict = {True: "pass", False: "MISS", None: "info"}[result.is_met]
        rows.append(
            (result.group, result.what, result.ours, result.other, f"{result.figure:.4g}", result.target, verdict)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def write(path: Path, results: Sequence[Figure | Skipped], took_s: float) -> None:
    """The same as JSON."""
    document = {
        "schema": 1,
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "kernel": platform.release()},
        "took_s": round(took_s, 1),
        "figures": [dataclasses.asdict(result) for result in results if isinstance(result, Figure)],
        "skipped": [dataclasses.asdict(result) for result in results if isinstance(result, Skipped)],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")
