"""What comparing the structure of two regions costs.

    python -m benchmarks.check [--tables 300] [--runs 7]

Two regions with the same structure: for each 3 tables 20 columns and 10 indexes, a third of the
tables with a view and a function. ``migratectl check`` and migra run in turn on the same two, as
whole commands, their start included: once where nothing differs, once where 20 objects do. Figures
are medians, ratios medians of the pairs. Exit status 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from psycopg import sql

from accountdb.errors import AccountdbError
from accountdb.pg.connect import connect
from accountdb.pg.dsn import with_params
from benchmarks import migra
from benchmarks.measure import Bars, Rounds, command
from benchmarks.migra import Migra
from benchmarks.regions import unjoined

SECONDS_BAR, MIGRA_BAR = 3.0, 1.0
DIFFERING = 20
_DATABASE = "structure"
_COMMAND = Path(sys.executable).with_name("migratectl")
_TYPES = ("text", "varchar(40)", "integer DEFAULT 0", "timestamptz DEFAULT now()", "jsonb", "numeric(10, 2)")


def main() -> int:
    """Run it all and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=__doc__)
    parser.add_argument("--tables", type=int, default=300)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    bars = Bars()
    with tempfile.TemporaryDirectory(prefix="accountdb-bench-") as name:
        folder = Path(name)
        peer = migra.install(folder)
        with unjoined(folder / "lab", "native") as running:
            dsns = (
                _made(running.region("cn").admin_dsn, options.tables),
                _made(running.region("global").admin_dsn, options.tables),
            )
            _measure("equal", dsns, peer, options.runs, bars)
            with connect(dsns[1]) as conn:
                for number in range(DIFFERING):
                    conn.execute(f"ALTER TABLE public.t{number} ALTER c4 SET DEFAULT '[]'".encode())
            _measure(f"{DIFFERING} objects differ", dsns, peer, options.runs, bars)
    return 1 if bars.missed else 0


def _made(admin_dsn: str, tables: int) -> str:
    """A database of this structure on the server of ``admin_dsn``."""
    with connect(admin_dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_DATABASE)))
    dsn = with_params(admin_dsn, dbname=_DATABASE)
    with connect(dsn) as conn:
        for number in range(tables):
            # 20 columns in three tables, the key among them; 10 indexes, those of the keys aside.
            columns = ", ".join(f"c{at} {_TYPES[at]}" for at in range(6 if number % 3 else 5))
            statements = [
                f"CREATE TABLE public.t{number} (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), {columns},"
                " CONSTRAINT positive CHECK (c2 >= 0))",
                f"CREATE INDEX t{number}_a ON public.t{number} (lower(c0))",
                f"CREATE INDEX t{number}_b ON public.t{number} (c2) WHERE c1 IN ('a', 'b')",
                f"CREATE UNIQUE INDEX t{number}_c ON public.t{number} (c1, c3)",
            ]
            if number % 3 == 0:
                statements += [
                    f"CREATE INDEX t{number}_d ON public.t{number} (c3)",
                    f"CREATE VIEW public.v{number} AS SELECT id, c0 FROM public.t{number} WHERE c1 IN ('a', 'b')",
                    f"CREATE FUNCTION public.f{number}(a integer) RETURNS integer LANGUAGE plpgsql AS"
                    f" $$begin return a + {number}; end$$",
                ]
            for statement in statements:
                conn.execute(statement.encode())
    return dsn


def _measure(what: str, dsns: tuple[str, str], peer: Migra | None, runs: int, bars: Bars) -> None:
    ours, theirs = f"migratectl check, {what}", f"migra {peer.version if peer else ''}, {what}"
    rounds = Rounds()
    equal = what == "equal"
    for _ in range(runs):
        words: list[str | Path] = [_COMMAND, "check", f"--cn={dsns[0]}", f"--global={dsns[1]}"]
        took = rounds.add(ours, command(words, status=0 if equal else 1))
        told = sum(not line.startswith(" ") for line in took.said)
        if told != (0 if equal else DIFFERING):
            raise AccountdbError(f"check told {told} objects")
        if peer:
            rounds.add(theirs, peer.compare(dsns, equal=equal))
    rounds.tell()
    bars.at_most(ours, rounds.seconds(ours), SECONDS_BAR, " s")
    if peer:
        bars.at_most(f"{ours} / {theirs}", rounds.ratio(ours, theirs), MIGRA_BAR)
    else:
        bars.skipped(f"{ours} / migra", "migra cannot be installed")


if __name__ == "__main__":
    sys.exit(main())
