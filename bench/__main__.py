"""Measure everything: ``python -m bench``. Exit 1 when a target is missed, or with CI=true when a part is missing."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "sidecar")]

from bench import cold_start, crowd, detection, figures, flood, parts, recipe, rest, shim  # noqa: E402
from bench.figures import Figure, Skipped  # noqa: E402

_RESULT = ROOT / "build" / "bench.json"


def main() -> int:
    """Print one table, write build/bench.json and give the exit code."""
    started = time.monotonic()
    results: list[Figure | Skipped] = []

    def take(group: str, measure: Callable[[], list[Figure]]) -> None:
        print(f"{time.monotonic() - started:5.0f} s  {group}", file=sys.stderr, flush=True)
        try:
            results.extend(measure())
        except parts.MissingPartError as missing:
            print(f"skipped: needs {missing}", file=sys.stderr)
            results.append(Skipped(group[0], str(missing)))

    take("a: shim against a plain GET", shim.measure)  # microseconds: before anything runs beside it
    with contextlib.ExitStack() as background:
        # The recipe's minute of waiting and the sidecars' minute of rest cost no processor: they pass meanwhile.
        resting = background.enter_context(rest.Rest())
        beside = background.enter_context(recipe.Recipe())
        take("d: start", rest.start)
        take("e: an empty node", cold_start.measure)
        take("c: detection against HAProxy", detection.measure)
        take("b: shim against the recipe", beside.measure)
        take("d: rest", resting.measure)
    take("f: among readers", crowd.measure)  # which leave no processor to anybody else
    take("f: after a flood", flood.measure)
    results.sort(key=lambda result: result.group)
    print(figures.table(results))
    figures.write(_RESULT, results, time.monotonic() - started)
    missed = [result for result in results if isinstance(result, Figure) and result.is_met is False]
    skipped = [result for result in results if isinstance(result, Skipped)]
    print(f"\n{len(missed)} missed, {len(skipped)} skipped, {time.monotonic() - started:.0f} s; {_RESULT}")
    return 1 if missed or (skipped and parts.is_ci()) else 0


if __name__ == "__main__":
    sys.exit(main())
