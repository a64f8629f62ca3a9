"""What comparing two regions costs, and what a merge into an empty one does.

    python -m benchmarks.diff [--rows 1000000] [--differences 100000] [--runs 5] [--part equal majors many merge]

Two regions with the same users, not joined. All that is compared with each other runs in turn on
the same servers, so a noisy machine hits all of it; figures are medians, ratios medians of the
pairs. ``diff`` is measured as a library call, its connections included, and as the whole command
``migratectl diff``, its start included. The bar against the bare select (psycopg, both servers at
once, connections included) is held by the call, the one against reladiff, a command too, by the
command. How reladiff is called: ``benchmarks.reladiff``. Exit status 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from accountdb.compare.columns import HashKind
from accountdb.compare.model import Finding, Options, Unwatched
from accountdb.errors import AccountdbError
from accountdb.lab import Lab, binaries
from accountdb.pg.connect import connect
from accountdb.setup.diffing import diff_regions
from benchmarks import merge, reladiff
from benchmarks.measure import Bars, Rounds, Took, call, command
from benchmarks.regions import load, scattered, unjoined
from benchmarks.reladiff import FASTEST_EQUAL, FASTEST_SCATTERED, Reladiff

EQUAL_BAR, RELADIFF_BAR, SCATTERED_BAR, MEMORY_BAR_MB, MAJORS_BAR = 2.0, 8.0, 1.3, 150.0, 4.0
FEW = 20
PARTS = ("equal", "majors", "many", "merge")
_COMMAND = Path(sys.executable).with_name("migratectl")
_BARE = b"SELECT bit_xor(hash_record_extended(t, 0)) FROM public.users t"


def main() -> int:
    """Run it all and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.diff", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--differences", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--part", nargs="*", default=PARTS, choices=PARTS)
    options = parser.parse_args()
    bars = Bars()
    with tempfile.TemporaryDirectory(prefix="accountdb-bench-") as name:
        folder = Path(name)
        with unjoined(folder / "lab", "native") as running:
            load(running.regions, options.rows)
            if "equal" in options.part:
                _equal_and_few(running, reladiff.install(folder), options, bars)
            if "majors" in options.part:
                _majors(running, folder, options, bars)
            if "many" in options.part:
                _many(running, options, bars)
            if "merge" in options.part:
                merge.measure(running, options.rows, options.runs, bars)
    for what in bars.missed:
        print(f"missed: {what}")
    return 1 if bars.missed else 0


def _bare(dsns: Mapping[str, str]) -> None:
    """The select, on both servers at once."""

    def read(dsn: str) -> tuple[object, ...] | None:
        with connect(dsn) as conn:
            return conn.execute(_BARE).fetchone()

    with ThreadPoolExecutor() as pool:
        list(pool.map(read, dsns.values()))


def _call(dsns: Mapping[str, str], differing: int = 0, kind: HashKind | None = None) -> Took:
    """The library call, which must find ``differing`` rows."""
    found: list[Finding] = []
    options = Options(tables=("users",), hash_kind=kind)
    took = call(lambda: diff_regions(dsns, options, found.append, Unwatched()))
    if len(found) != differing:
        raise SystemExit(f"diff found {len(found)} rows that differ, not {differing}")
    return took


def _command(dsns: Mapping[str, str], differing: int = 0, *words: str) -> Took:
    """The command, which must find ``differing`` rows."""
    nodes = [word for name, dsn in dsns.items() for word in ("--node", f"{name}={dsn}")]
    took = command([_COMMAND, "diff", *nodes, "--table", "users", *words], status=1 if differing else 0)
    found = sum(line.startswith("public.users uuid=") for line in took.said)
    if found != differing:
        raise SystemExit(f"migratectl diff found {found} rows that differ, not {differing}")
    return took


def _reladiff(tool: Reladiff, dsns: Mapping[str, str], differing: int, settings: tuple[str, ...]) -> Took:
    one, other = dsns.values()
    found, took = tool.differing((one, other), settings)
    if found != differing:
        raise SystemExit(f"reladiff found {found} rows that differ, not {differing}")
    return took


def _equal_and_few(running: Lab, tool: Reladiff | None, options: argparse.Namespace, bars: Bars) -> None:
    """Equal tables and 20 scattered differences, in turn."""
    dsns = {str(region.name): region.app_dsn for region in running.regions}
    rounds = Rounds()
    for _ in range(options.runs):
        if tool:
            rounds.add("equal, reladiff as it comes", _reladiff(tool, dsns, 0, ()))
            rounds.add("equal, reladiff", _reladiff(tool, dsns, 0, FASTEST_EQUAL))
        rounds.add("equal, command", _command(dsns))
        rounds.add("bare select", call(partial(_bare, dsns)))
        rounds.add("equal, call", _call(dsns))
        with scattered(running.region("global"), options.rows, FEW):
            rounds.add("few, call", _call(dsns, FEW))
            rounds.add("few, command", _command(dsns, FEW))
            if tool:
                rounds.add("few, reladiff", _reladiff(tool, dsns, FEW, FASTEST_SCATTERED))
                rounds.add("few, reladiff as it comes", _reladiff(tool, dsns, FEW, ()))
    rounds.tell()
    bars.at_most("equal tables: diff / bare select", rounds.ratio("equal, call", "bare select"), EQUAL_BAR)
    bars.no_bar("equal tables: migratectl diff / bare select", rounds.ratio("equal, command", "bare select"))
    bars.at_most(f"diff with {FEW} differences / equal tables", rounds.ratio("few, call", "equal, call"), SCATTERED_BAR)
    bars.no_bar(
        f"migratectl diff with {FEW} differences / equal tables", rounds.ratio("few, command", "equal, command")
    )
    if tool is None:
        bars.skipped("equal tables: reladiff / migratectl diff", "reladiff is not there")
        return
    what = f"reladiff {tool.version} / migratectl diff"
    bars.at_least(f"equal tables: {what}", rounds.ratio("equal, reladiff", "equal, command"), RELADIFF_BAR)
    bars.no_bar(
        f"equal tables: {what}, reladiff as it comes", rounds.ratio("equal, reladiff as it comes", "equal, command")
    )
    bars.no_bar(f"{FEW} differences: {what}", rounds.ratio("few, reladiff", "few, command"))
    bars.no_bar(
        f"{FEW} differences: {what}, reladiff as it comes", rounds.ratio("few, reladiff as it comes", "few, command")
    )


def _majors(running: Lab, folder: Path, options: argparse.Namespace, bars: Bars) -> None:
    """PostgreSQL 15 against 17: SHA-256, and what the two servers agree on by themselves."""
    what = "PostgreSQL 15 against 17: diff by SHA-256 / bare select"
    try:
        binaries.find("pglogical")
    except AccountdbError as error:
        bars.skipped(what, str(error))
        return
    rounds = Rounds()
    with unjoined(folder / "lab15", "pglogical") as old:
        load((old.region("cn"),), options.rows)
        dsns = {"old": old.region("cn").app_dsn, "new": running.region("cn").app_dsn}
        print(f"PostgreSQL {old.server_version} against {running.server_version}", flush=True)
        for _ in range(options.runs):
            rounds.add("bare select", call(partial(_bare, dsns)))
            rounds.add("sha256, call", _call(dsns, 0, HashKind.SHA256))
            rounds.add("sha256, command", _command(dsns, 0, "--hash", "sha256"))
            rounds.add("agreed, call", _call(dsns))
            rounds.add("agreed, command", _command(dsns))
    rounds.tell()
    bars.at_most(what, rounds.ratio("sha256, call", "bare select"), MAJORS_BAR)
    bars.no_bar(what.replace("diff", "migratectl diff"), rounds.ratio("sha256, command", "bare select"))
    agreed = what.replace("SHA-256", "the hash agreed on")
    bars.no_bar(agreed, rounds.ratio("agreed, call", "bare select"))
    bars.no_bar(agreed.replace("diff", "migratectl diff"), rounds.ratio("agreed, command", "bare select"))


def _many(running: Lab, options: argparse.Namespace, bars: Bars) -> None:
    """A great many differences: what the command's memory grows by."""
    dsns = {str(region.name): region.app_dsn for region in running.regions}
    rounds = Rounds()
    for _ in range(min(options.runs, 3)):
        rounds.add("equal", _command(dsns))
        with scattered(running.region("global"), options.rows, options.differences):
            rounds.add("many", _command(dsns, options.differences))
    rounds.tell()
    count = f"{options.differences} differences"
    bars.at_most(
        f"{count}: memory growth of migratectl diff", rounds.peak("many") - rounds.peak("equal"), MEMORY_BAR_MB, " MB"
    )
    bars.no_bar(f"{count}: migratectl diff / equal tables", rounds.ratio("many", "equal"))


if __name__ == "__main__":
    sys.exit(main())
