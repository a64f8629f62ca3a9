"""What passes cost that are not the first: few changes, none, many; and their memory. Run by ``benchmarks.pgsync``.

A pass over a small table and one over a large one are held against each other by what the pass itself
took, not by the process: its start is the same whatever the table, and would hide what is not.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from accountdb.contract.row_contract import ACCOUNT_TABLES
from benchmarks.following import Pair, Passed
from benchmarks.measure import Bars, Rounds, command

GROWTH_BAR, IDLE_BAR_S, MEMORY_BAR_MB, MEMORY_GROWTH_BAR = 1.5, 0.6, 150.0, 1.1
CHANGES = 1000
_MANY_SHARE = 5
_COMMAND = Path(sys.executable).with_name("pgsync")


def measure(pairs: dict[int, Pair], runs: int, bars: Bars) -> None:
    """Passes over a small and a large table, in turn, by each capture."""
    for pair in pairs.values():
        pair.log(on=True)
    _brought(pairs)
    _few("log", pairs, runs, bars)
    _none("log", pairs, runs, bars)
    for pair in pairs.values():
        pair.log(on=False)
    _brought(pairs)
    _few("xmin", pairs, runs, bars)
    _none("xmin", pairs, runs, bars)


def _brought(pairs: dict[int, Pair]) -> None:
    for pair in pairs.values():
        pair.sync("--once", tables=ACCOUNT_TABLES)
        pair.settle()


def _few(capture: str, pairs: dict[int, Pair], runs: int, bars: Bars) -> None:
    """A thousand rows changed."""
    rounds = Rounds()
    passed: dict[int, list[float]] = {rows: [] for rows in pairs}
    for _ in range(runs):
        for rows, pair in pairs.items():
            pair.change(rows, CHANGES)
            done = pair.sync(tables=ACCOUNT_TABLES, updated=CHANGES)
            passed[rows].append(done.seconds)
            rounds.add(_few_name(capture, rows), done.took)
    rounds.tell()
    small, large = min(pairs), max(pairs)
    what = f"{CHANGES} changes, capture {capture}: {large} rows / {small} rows"
    ratio = statistics.median(b / a for a, b in zip(passed[small], passed[large], strict=True))
    if capture == "log":
        bars.at_most(what, ratio, GROWTH_BAR)
    else:
        bars.no_bar(what, ratio)
    bars.no_bar(f"{what}, whole process", rounds.ratio(_few_name(capture, large), _few_name(capture, small)))


def _few_name(capture: str, rows: int) -> str:
    return f"{CHANGES} changes in {rows} rows, {capture}"


def _none(capture: str, pairs: dict[int, Pair], runs: int, bars: Bars) -> None:
    """Nothing changed, all tables of the account schema in the job."""
    rounds = Rounds()
    for _ in range(runs):
        rounds.add("pgsync --help", command([_COMMAND, "--help"]))
        for rows, pair in pairs.items():
            rounds.add(f"nothing to do, {rows} rows", pair.sync(tables=ACCOUNT_TABLES, read=0).took)
    rounds.tell()
    for rows in pairs:
        name = f"nothing to do, {rows} rows"
        what = f"{name}, capture {capture}"
        if capture == "log" or rows == min(pairs):
            bars.at_most(what, rounds.seconds(name), IDLE_BAR_S, " s")
        else:
            # That capture looks at the whole table: it says so, and has no bar there.
            bars.no_bar(what, rounds.seconds(name), " s")
        bars.no_bar(f"{what}, the least", rounds.least(name), " s")
        bars.no_bar(f"{what}, of a processor", rounds.processor(name), " s")
    bars.no_bar("pgsync --help, for comparison", rounds.seconds("pgsync --help"), " s")


def memory(pairs: dict[int, Pair], bars: Bars) -> None:
    """The peak of each kind of pass, over a table and over one ten times as large."""
    peaks: defaultdict[str, dict[int, float]] = defaultdict(dict)
    for rows, pair in pairs.items():
        for kind, passed in _kinds(pair, rows):
            peaks[kind][rows] = passed.took.peak_mb
            print(f"  {kind}, {rows} rows: {passed.took.peak_mb:.1f} MB", flush=True)
    for kind, found in peaks.items():
        large, small = max(found), min(found)
        bars.at_most(f"{kind}: peak memory", max(found.values()), MEMORY_BAR_MB, " MB")
        bars.at_most(
            f"{kind}: peak memory, {large} rows / {small} rows", found[large] / found[small], MEMORY_GROWTH_BAR
        )


def _kinds(pair: Pair, rows: int) -> Iterator[tuple[str, Passed]]:
    """Each kind of pass once."""
    many = rows // _MANY_SHARE
    pair.empty()
    pair.log(on=True)
    yield "first load", pair.sync("--once", inserted=rows)
    yield "--once, equal", pair.sync("--once", read=0)
    pair.change(rows, many)
    yield "--once, a fifth differs", pair.sync("--once", updated=many)
    pair.change(rows, many)
    yield "a fifth changed, log", pair.sync(updated=many)
    pair.log(on=False)
    pair.sync("--once", read=0)
    pair.change(rows, many)
    yield "a fifth changed, xmin", pair.sync(updated=many)
