"""The program: seeds in turn on one lab, a line each, and the figures at the end."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from accountdb import lab
from accountdb.setup.ready import make_ready
from proof.history import History, make
from proof.jobs import Jobs, installed
from proof.playing import Outcome, play, prepare
from proof.shrinking import shrink


def main() -> int:
    """Exit status 0 when every history was proved, 1 when one failed."""
    options = _options()
    seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.seeds)
    with tempfile.TemporaryDirectory(prefix="accountdb-proof-") as folder:
        mode = lab.mode_of(options.mode)
        running = lab.up(Path(folder) / "lab", mode, owner_pid=os.getpid(), regions=options.regions).keep()
        try:
            make_ready(running)
            prepare(running)
            jobs = installed(running, Path(folder)) if mode == "pgsync" else None
            return _prove(running, seeds, options, jobs)
        finally:
            running.down()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m proof", description=__doc__)
    parser.add_argument("--mode", default="native", choices=["native", "pglogical", "pgsync"])
    parser.add_argument("--seeds", type=int, default=10, help="how many histories")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seed", type=int, help="play this one only")
    parser.add_argument("--regions", type=int, default=len(lab.REGIONS), help="how many regions: 2 to 5")
    parser.add_argument("--rounds", type=int, default=10, help="rounds of each history")
    parser.add_argument("--shrink-seconds", type=float, default=300.0, help="how long to shrink a failing one")
    found = parser.parse_args()
    if found.mode == "pgsync" and found.regions != len(lab.REGIONS):
        parser.error("a job of pgsync is between two regions: --mode pgsync takes --regions 2")
    return found


def _prove(running: lab.Lab, seeds: range | list[int], options: argparse.Namespace, jobs: Jobs | None) -> int:
    began = time.monotonic()
    outcomes: list[Outcome] = []
    for seed in seeds:
        history = make(seed, options.rounds, running.names)
        outcome = play(running, history, jobs=jobs)
        outcomes.append(outcome)
        verdict = "proved" if not outcome.faults else "FAILED"
        print(
            f"seed {seed}: {verdict}, {outcome.writes} writes, {outcome.conflicts} conflicts,"
            f" {outcome.healed} rows healed, {outcome.seconds:.1f} s",
            flush=True,
        )
        if outcome.faults:
            _explain(running, history, outcome, options, jobs)
            return 1
    healed = sum(1 for outcome in outcomes if outcome.healed)
    writes, conflicts = sum(o.writes for o in outcomes), sum(o.conflicts for o in outcomes)
    print(
        f"{len(outcomes)} histories of {options.regions} regions proved in mode {options.mode}:"
        f" {writes} acknowledged writes, {conflicts} conflicts, healing needed in {healed},"
        f" {time.monotonic() - began:.0f} s"
    )
    return 0


def _explain(
    running: lab.Lab, history: History, outcome: Outcome, options: argparse.Namespace, jobs: Jobs | None
) -> None:
    for fault in outcome.faults:
        print(f"  {fault}")
    regions = "" if options.regions == len(lab.REGIONS) else f" REGIONS={options.regions}"
    print(f"  replay: make proof SEED={history.seed} MODE={options.mode} ROUNDS={options.rounds}{regions}", flush=True)
    if options.shrink_seconds <= 0:
        return
    small = shrink(history, lambda h: bool(play(running, h, jobs=jobs).faults), seconds=options.shrink_seconds)
    print("  shrunk to:")
    for number, round_ in enumerate(small.rounds):
        print(f"    round {number}: {round_.fault} {round_.region} {' '.join(round_.apart)}")
        for region, transactions in round_.transactions.items():
            for transaction in transactions:
                print(f"      {region}: {transaction}")


if __name__ == "__main__":
    sys.exit(main())
