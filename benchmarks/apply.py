"""What a guard costs: single-row updates queued while the subscription is paused, then applied.

    python -m benchmarks.apply [--mode pglogical] [--transactions 50000] [--runs 3] [--rows 10000 1000000]

Guarded and unguarded apply take turns on one pair of servers, so a noisy machine hits both. The
time runs from the first queued change that becomes visible to the last one: the start of the
apply worker does not count. Exit status 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from accountdb import lab
from accountdb.lab import Lab
from accountdb.pg.connect import connect
from accountdb.setup import join
from accountdb.setup.ready import make_ready

COST_BAR, GROWTH_BAR = 0.7, 1.3
_FIRST, _LAST = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
_ORIGIN = b"""
SELECT pg_replication_origin_create('bench')
WHERE NOT EXISTS (SELECT FROM pg_replication_origin WHERE roname = 'bench')
"""
_LOAD = b"""
INSERT INTO users (uuid, username, email, password, origin_node, created_at, updated_at)
SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'user' || n, 'user' || n || '@example.cn',
       'secret', 'node_cn', '2026-01-01', '2026-01-01'
FROM generate_series(1, %s) AS n
"""


@dataclass(frozen=True)
class Run:
    """One queue applied: transactions a second, for the writer and for the applier."""

    written: float
    applied: float


@dataclass(frozen=True)
class Figures:
    """Medians over the runs on one table, transactions a second; ``ratio`` is the median of the pairs."""

    ratio: float
    guarded: float
    unguarded: float
    written: float


def main() -> int:
    """Run it all and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.apply", description=__doc__)
    parser.add_argument("--mode", default="pglogical", choices=["pglogical", "native"])
    parser.add_argument("--transactions", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 1_000_000])
    options = parser.parse_args()
    found: dict[int, Figures] = {}
    missed = False
    with tempfile.TemporaryDirectory(prefix="accountdb-bench-") as folder:
        running = lab.up(Path(folder) / "lab", lab.mode_of(options.mode), owner_pid=os.getpid()).keep()
        try:
            make_ready(running)
            for rows in options.rows:
                _load(running, rows)
                found[rows] = _compare(running, rows, options)
                missed |= found[rows].ratio < COST_BAR or found[rows].guarded <= found[rows].written
        finally:
            running.down()
    if len(found) > 1:
        missed |= _growth(found[min(found)], found[max(found)]) > GROWTH_BAR
    return 1 if missed else 0


def _growth(small: Figures, large: Figures) -> float:
    """How much more a guard costs in the large table. Apply itself slows down there, guarded or not."""
    growth = small.ratio / large.ratio
    guarded, unguarded = small.guarded / large.guarded, small.unguarded / large.unguarded
    print(
        f"from the small table to the large one: guarded apply takes {guarded:.2f} times as long, unguarded"
        f" {unguarded:.2f} times; the guard's share of it grows {growth:.2f} times (bar: at most {GROWTH_BAR})"
    )
    return growth


def _compare(running: Lab, rows: int, options: argparse.Namespace) -> Figures:
    with_guard: list[Run] = []
    without: list[Run] = []
    for number in range(options.runs):
        for guard, runs in ((False, without), (True, with_guard)):
            _set_guard(running, guard)
            run = _run(running, rows, options.transactions, number)
            runs.append(run)
            name = "guarded" if guard else "unguarded"
            print(f"{rows} rows, {name}: written {run.written:.0f}/s, applied {run.applied:.0f}/s", flush=True)
    _set_guard(running, True)
    ratio = statistics.median(g.applied / u.applied for g, u in zip(with_guard, without, strict=True))
    rate = statistics.median(run.applied for run in with_guard)
    written = statistics.median(run.written for run in (*with_guard, *without))
    print(
        f"{rows} rows: guarded / unguarded apply {ratio:.2f} (bar: at least {COST_BAR});"
        f" guarded {rate:.0f}/s against {written:.0f}/s that one region writes (bar: above)"
    )
    return Figures(ratio, rate, statistics.median(run.applied for run in without), written)


def _load(running: Lab, rows: int) -> None:
    """The same rows in both regions, loaded under an origin, so that nothing of it is streamed."""
    for region in running.regions:
        with connect(region.admin_dsn, autocommit=True) as conn:
            conn.execute("SET session_replication_role = replica")
            conn.execute(_ORIGIN)
            conn.execute("SELECT pg_replication_origin_session_setup('bench')")
            conn.execute("ALTER TABLE users DISABLE TRIGGER accountdb_guard")
            conn.execute("TRUNCATE users CASCADE")
            conn.execute(_LOAD, (rows,))
            conn.execute("ALTER TABLE users ENABLE REPLICA TRIGGER accountdb_guard")
            conn.execute("VACUUM (ANALYZE, FREEZE) users")
            conn.execute("CHECKPOINT")


def _set_guard(running: Lab, on: bool) -> None:
    mode = "ENABLE REPLICA" if on else "DISABLE"
    with connect(running.region("global").admin_dsn, autocommit=True) as conn:
        conn.execute(f"ALTER TABLE users {mode} TRIGGER accountdb_guard".encode())


def _run(running: Lab, rows: int, transactions: int, number: int) -> Run:
    cn, global_ = running.region("cn"), running.region("global")
    join.pause(global_.admin_dsn)
    _touch(cn.app_dsn, _FIRST, number)
    began = time.monotonic()
    _write(running, rows, transactions)
    written = transactions / (time.monotonic() - began)
    _touch(cn.app_dsn, _LAST, number)
    versions = _versions(cn.app_dsn)
    join.resume(global_.admin_dsn)
    first = _await(global_.app_dsn, _FIRST, versions[_FIRST])
    last = _await(global_.app_dsn, _LAST, versions[_LAST])
    return Run(written, transactions / (last - first))


def _write(running: Lab, rows: int, transactions: int) -> None:
    """Single-row updates, each a transaction, from two clients."""
    key = "('00000000-0000-4000-8000-' || lpad(to_hex(:n::int), 12, '0'))::uuid"
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(f"\\set n random(3, {rows})\nUPDATE users SET level = level + 1 WHERE uuid = {key};\n")
        script.flush()
        pgbench = [str(running.bin_dir / "pgbench"), "-n", "-M", "prepared", "-c", "2", "-j", "2"]
        count = ["-t", str(transactions // 2), "-f", script.name]
        subprocess.run([*pgbench, *count, running.region("cn").app_dsn], check=True, capture_output=True)


def _touch(dsn: str, key: str, number: int) -> None:
    with connect(dsn, autocommit=True) as conn:
        conn.execute("UPDATE users SET level = %s WHERE uuid = %s", (number, key))


def _versions(dsn: str) -> dict[str, int]:
    with connect(dsn, autocommit=True) as conn:
        query = "SELECT uuid::text, version FROM users WHERE uuid IN (%s, %s)"
        return dict(conn.execute(query, (_FIRST, _LAST)).fetchall())


def _await(dsn: str, key: str, version: int) -> float:
    """When the change became visible."""
    with connect(dsn, autocommit=True) as conn:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            row = conn.execute("SELECT version >= %s FROM users WHERE uuid = %s", (version, key)).fetchone()
            if row and row[0]:
                return time.monotonic()
            time.sleep(0.005)  # the poll's step
    raise SystemExit(f"the change of {key} did not arrive within 300 s")


if __name__ == "__main__":
    sys.exit(main())
