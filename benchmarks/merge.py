"""What a merge into an empty region costs, against ``pg_dump -a -t users | psql``. Run by ``benchmarks.diff``.

The target is truncated and checkpointed before each run. psql is measured twice: with the triggers
as they are installed, and with none that fires. The bar is held against the faster one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from accountdb.lab import Lab, LabRegion
from accountdb.pg.connect import connect
from benchmarks.measure import Bars, Rounds, call, command
from benchmarks.regions import quiet

MERGE_BAR = 0.6
_COMMAND = Path(sys.executable).with_name("migratectl")
_MERGE, _DUMP, _DUMP_QUIET = "merge", "pg_dump | psql", "pg_dump | psql, no trigger fires"


def measure(running: Lab, rows: int, runs: int, bars: Bars) -> None:
    """Fill the empty ``users`` of region global from cn, in turn by merge and by dump."""
    source, target = running.region("cn"), running.region("global")
    merge: list[str | Path] = [_COMMAND, "merge", "--cn", source.admin_dsn, "--global", target.admin_dsn]
    rounds = Rounds()
    for _ in range(runs):
        _empty(target)
        rounds.add(_MERGE, command(merge))
        _check(target, rows)
        _empty(target)
        rounds.add(_DUMP, call(lambda: _dump(running, source, target)))
        _check(target, rows)
        _empty(target)
        with quiet(target):
            rounds.add(_DUMP_QUIET, call(lambda: _dump(running, source, target, "replica")))
        _check(target, rows)
    rounds.tell()
    faster = min(_DUMP, _DUMP_QUIET, key=rounds.seconds)
    other = _DUMP if faster == _DUMP_QUIET else _DUMP_QUIET
    bars.at_most(f"merge into an empty region / {faster}", rounds.ratio(_MERGE, faster), MERGE_BAR)
    bars.no_bar(f"merge into an empty region / {other}", rounds.ratio(_MERGE, other))
    bars.no_bar("merge into an empty region, peak memory", rounds.peak(_MERGE), " MB")


def _empty(region: LabRegion) -> None:
    with quiet(region) as conn:
        conn.execute("TRUNCATE public.users CASCADE")
        conn.execute("CHECKPOINT")


def _check(region: LabRegion, rows: int) -> None:
    with connect(region.app_dsn) as conn:
        found = conn.execute("SELECT count(*) FROM public.users").fetchone()
    if found != (rows,):
        raise SystemExit(f"{found} rows arrived, not {rows}")


def _dump(running: Lab, source: LabRegion, target: LabRegion, role: str = "origin") -> None:
    dump: list[str | Path] = [running.bin_dir / "pg_dump", "-a", "-t", "public.users", source.admin_dsn]
    load: list[str | Path] = [
        running.bin_dir / "psql",
        "-X",
        "-q",
        "-o",
        os.devnull,
        "-v",
        "ON_ERROR_STOP=1",
        target.admin_dsn,
    ]
    environment = os.environ | {"PGOPTIONS": f"-c session_replication_role={role}"}
    with subprocess.Popen(dump, stdout=subprocess.PIPE) as dumping:
        subprocess.run(load, stdin=dumping.stdout, env=environment, check=True)
    if dumping.returncode:
        raise SystemExit(f"pg_dump ended with {dumping.returncode}")
