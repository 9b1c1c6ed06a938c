"""Simulate a fleet: ``python -m bench.fleet``. Exit 1 when a bar is missed."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "sidecar")]

from bench.fleet import report  # noqa: E402
from bench.fleet.report import Row  # noqa: E402
from bench.fleet.scenarios import SCENARIOS, Scale  # noqa: E402


def main() -> int:
    """Print what is real and what is not, then the table, and give the exit code."""
    import bench.fleet  # noqa: PLC0415 - its docstring

    names = [scenario.__name__ for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description="Simulate a fleet.")
    parser.add_argument(
        "--nodes",
        type=int,
        default=10_000,
        help="the fleet that the sample stands for (10000); a larger one is told to the sidecars as fleet.nodes",
    )
    parser.add_argument("--sample", type=float, default=1.0, help="multiplies the nodes that are simulated (1.0)")
    parser.add_argument("--seed", type=int, default=17, help="of all chance (17)")
    parser.add_argument("scenarios", nargs="*", choices=[[], *names], metavar="SCENARIO", help=", ".join(names))
    arguments = parser.parse_args()
    scale = Scale(arguments.nodes, arguments.sample, arguments.seed)
    print(bench.fleet.__doc__)
    started, rows = time.process_time(), list[Row]()
    for scenario in SCENARIOS:
        if not arguments.scenarios or scenario.__name__ in arguments.scenarios:
            began = time.process_time()
            rows += scenario(scale)
            print(f"{time.process_time() - began:5.1f} s  {scenario.__doc__}", file=sys.stderr, flush=True)
    print(report.table(rows))
    missed = sum(row.is_met is False for row in rows)
    print(f"\n{missed} missed, {time.process_time() - started:.0f} s of one core")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
