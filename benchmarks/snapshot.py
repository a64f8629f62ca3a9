"""What export and import cost: a million users out of one region and into an empty one.

    python -m benchmarks.snapshot [--rows 1000000] [--runs 3]

Each user has an identity. Export, import and ``pg_dump | psql`` of the same tables run in turn on the same
servers; figures are medians, ratios medians of the pairs. A command is measured whole, its start included. Exit
status 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from accountdb.catalog.tables import read_tables
from accountdb.compare.content import read_content
from accountdb.lab import Lab
from accountdb.pg.connect import connect
from benchmarks.measure import Bars, Rounds, call, command
from benchmarks.regions import load, unjoined

BIN = Path(sys.executable).parent
FILES = ("s.yaml", "s.jsonl", "s.yaml.gz", "s.jsonl.zst")
TABLES = ("users", "identities")
MEMORY_BAR_MB = 100
_DUMP = "pg_dump | psql"


def main() -> int:
    """Run it all and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.snapshot", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    bars = Bars()
    with (
        tempfile.TemporaryDirectory(prefix="accountdb-bench-") as name,
        unjoined(Path(name) / "lab", "native") as running,
    ):
        _measure(running, Path(name), options.rows, options.runs, bars)
    for what in bars.missed:
        print(f"missed: {what}")
    return 1 if bars.missed else 0


def _measure(running: Lab, folder: Path, rows: int, runs: int, bars: Bars) -> None:
    source, target = running.region("cn"), running.region("global")
    load([source], rows)
    with connect(source.admin_dsn, autocommit=True) as conn:
        conn.execute("INSERT INTO identities (provider, external_id, user_uuid) SELECT 'p', uuid, uuid FROM users")
        conn.execute("VACUUM ANALYZE identities")
    rounds = Rounds()
    for _ in range(runs):
        for name in FILES:
            file = folder / name
            rounds.add(
                f"export {name}", command([BIN / "migratectl", "export", "--dsn", source.app_dsn, "--output", file])
            )
            _empty(target.admin_dsn)
            rounds.add(
                f"import {name}", command([BIN / "migratectl", "import", "--dsn", target.app_dsn, "--file", file])
            )
            _check(source.admin_dsn, target.admin_dsn)
        _empty(target.admin_dsn)
        rounds.add(_DUMP, call(lambda: _dump(running)))
        _check(source.admin_dsn, target.admin_dsn)
    rounds.tell()
    for name in FILES:
        print(f"{name}: {(folder / name).stat().st_size / 2**20:.0f} MB")
        for what in ("export", "import"):
            bars.no_bar(f"{what} {name} / {_DUMP}", rounds.ratio(f"{what} {name}", _DUMP))
            bars.at_most(f"{what} {name}, memory", rounds.peak(f"{what} {name}"), MEMORY_BAR_MB, " MB")


def _empty(dsn: str) -> None:
    with connect(dsn, autocommit=True) as conn:
        conn.execute("SET accountdb.allow_truncate = on")
        conn.execute("TRUNCATE users CASCADE")
        conn.execute("CHECKPOINT")


def _check(source: str, target: str) -> None:
    contents = []
    for dsn in (source, target):
        with connect(dsn, autocommit=True) as conn:
            contents.append(read_content(conn, [t for t in read_tables(conn) if t.name in TABLES]))
    if contents[0] != contents[1]:
        raise SystemExit("the rows did not arrive as they were")


def _dump(running: Lab) -> None:
    source, target = running.region("cn"), running.region("global")
    tables = [word for table in TABLES for word in ("-t", f"public.{table}")]
    with subprocess.Popen(
        [running.bin_dir / "pg_dump", "-a", *tables, source.admin_dsn], stdout=subprocess.PIPE
    ) as reading:
        subprocess.run(
            [running.bin_dir / "psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", target.admin_dsn],
            stdin=reading.stdout,
            stdout=subprocess.DEVNULL,
            env=os.environ,
            check=True,
        )
    if reading.returncode:
        raise SystemExit(f"pg_dump ended with {reading.returncode}")


if __name__ == "__main__":
    sys.exit(main())
