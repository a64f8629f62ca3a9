"""What pgsync costs: the first load, passes, memory, a slow link, and capture.

    python -m benchmarks.pgsync [--rows 1000000] [--runs 5] [--part load passes memory link capture]

All that is compared with each other runs in turn on the same servers, so a noisy machine hits all of
it; figures are medians, ratios medians of the pairs. pgsync is always the whole command, its start
included. Small tables have a hundredth of the rows where the cost must not follow them, a tenth where
the memory must not. Exit status 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks import capturing, firstload, passes, slowlink
from benchmarks.following import pair, servers
from benchmarks.measure import Bars

PARTS = ("load", "passes", "memory", "link", "capture")


def main() -> int:
    """Run it all and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pgsync", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--transactions", type=int, default=40_000, help="updates, where capture is measured")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--latency", type=float, default=100.0, help="of the slow link, each way, in ms")
    parser.add_argument("--part", nargs="*", default=PARTS, choices=PARTS)
    options = parser.parse_args()
    # Told to end it ends in good order, so that no folder stays.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    bars = Bars()
    with tempfile.TemporaryDirectory(prefix="accountdb-bench-") as name:
        _measure(Path(name), options, bars)
    for what in bars.missed:
        print(f"missed: {what}")
    return 1 if bars.missed else 0


def _measure(folder: Path, options: argparse.Namespace, bars: Bars) -> None:
    rows, runs = options.rows, options.runs
    with servers(folder) as running:
        large = pair(running, folder, "large")
        large.load(rows)
        if "load" in options.part:
            firstload.measure(running, large, rows, runs, bars)
        if "link" in options.part:
            slowlink.measure(running, large, rows, runs, bars, options.latency)
        if "memory" in options.part:
            tenth = pair(running, folder, "tenth")
            tenth.load(rows // 10)
            passes.memory({rows // 10: tenth, rows: large}, bars)
        if "passes" in options.part:
            small = pair(running, folder, "small")
            small.load(max(rows // 100, passes.CHANGES * 10))
            passes.measure({max(rows // 100, passes.CHANGES * 10): small, rows: large}, runs, bars)
        if "capture" in options.part:
            capturing.measure(running, large, rows, runs, options.transactions, bars)


if __name__ == "__main__":
    sys.exit(main())
