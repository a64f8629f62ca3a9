"""What the first load of a destination costs, beside what one would write by hand. Run by ``benchmarks.pgsync``.

``pg_dump -a -t users | psql`` is what everybody has at hand; it is measured with the triggers as they
are installed and with none that fires, and the bar is held against the faster one. The best that can be
written by hand knows the table: two psqls, the rows in binary and in the order of the key, the other
indexes dropped before and made again after them, in one transaction.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from psycopg import sql

from accountdb.catalog.tables import read_tables
from accountdb.lab import Lab
from accountdb.pg.connect import connect
from accountdb.sql import block
from benchmarks.following import Pair
from benchmarks.measure import Bars, Rounds, call

DUMP_BAR, HAND_BAR = 0.5, 1.3
_DUMP, _QUIET, _HAND = "pg_dump | psql", "pg_dump | psql, no trigger fires", "by hand"
FIRST = "first load"
# As much as pgsync gives itself: memory can buy time, and is not what is compared.
_SORT_MEMORY, _INDEX_MEMORY = "32MB", "128MB"


def measure(running: Lab, pair: Pair, rows: int, runs: int, bars: Bars) -> None:
    """Fill the empty users of ``pair``, in turn by pgsync, by dump and by hand."""
    by_hand = _ByHand(pair)
    rounds = Rounds()
    for _ in range(runs):
        pair.empty()
        rounds.add(FIRST, pair.sync("--once", inserted=rows).took)
        pair.check(rows)
        pair.empty()
        rounds.add(_DUMP, call(lambda: _dump(running, pair)))
        pair.check(rows)
        pair.empty()
        rounds.add(_QUIET, call(lambda: _dump(running, pair, "replica")))
        pair.check(rows)
        pair.empty()
        rounds.add(_HAND, call(lambda: by_hand.load(running)))
        pair.check(rows)
        by_hand.check()
    rounds.tell()
    faster = min(_DUMP, _QUIET, key=rounds.seconds)
    other = _DUMP if faster == _QUIET else _QUIET
    bars.at_most(f"{FIRST} / {faster}", rounds.ratio(FIRST, faster), DUMP_BAR)
    bars.no_bar(f"{FIRST} / {other}", rounds.ratio(FIRST, other))
    bars.at_most(f"{FIRST} / {_HAND}", rounds.ratio(FIRST, _HAND), HAND_BAR)


def _dump(running: Lab, pair: Pair, role: str = "origin") -> None:
    dump: list[str | Path] = [running.bin_dir / "pg_dump", "-a", "-t", "public.users", pair.source_admin]
    settings = {"PGOPTIONS": f"-c session_replication_role={role}"}
    _piped(dump, [*_psql(running), pair.target_admin], settings)


class _ByHand:
    """The statements that a person would write who knows this one table."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        with connect(pair.target) as conn:
            table = next(table for table in read_tables(conn) if table.name == "users")
            found = conn.execute(
                block("transfer/indexes.sql", "deferrable"), {"schema": table.schema, "table": table.name}
            ).fetchall()
        self._indexes = {name: definition for name, definition, _ in found}
        self._columns = ", ".join(
            sql.Identifier(column.name).as_string() for column in table.columns if not column.generated
        )
        if len(self._indexes) < 2:
            raise SystemExit("users has no index but its key: that is not the schema that is measured")

    def load(self, running: Lab) -> None:
        """Copy and make the indexes, in one transaction."""
        read = [
            f"SET work_mem = '{_SORT_MEMORY}'; SET enable_indexscan = off",
            f"COPY (SELECT {self._columns} FROM public.users ORDER BY uuid) TO STDOUT (FORMAT binary)",
        ]
        write = [
            "BEGIN",
            *(f"DROP INDEX public.{name}" for name in self._indexes),
            f"COPY public.users ({self._columns}) FROM STDIN (FORMAT binary)",
            f"SET LOCAL maintenance_work_mem = '{_INDEX_MEMORY}'",
            *self._indexes.values(),
            "COMMIT",
        ]
        psql = _psql(running)
        _piped([*psql, self._pair.source, *_each(read)], [*psql, self._pair.target, *_each(write)], {})

    def check(self) -> None:
        """Raises SystemExit where an index did not come back."""
        with connect(self._pair.target) as conn:
            found = conn.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'users'").fetchall()
        if lacking := self._indexes.keys() - {name for (name,) in found}:
            raise SystemExit(f"without {', '.join(lacking)} the load by hand is no measure")


def _psql(running: Lab) -> list[str | Path]:
    return [running.bin_dir / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1"]


def _each(statements: Sequence[str]) -> list[str]:
    return [word for statement in statements for word in ("-c", statement)]


def _piped(read: Sequence[str | Path], write: Sequence[str | Path], settings: Mapping[str, str]) -> None:
    with subprocess.Popen(read, stdout=subprocess.PIPE) as reading:
        subprocess.run(
            write, stdin=reading.stdout, stdout=subprocess.DEVNULL, env=os.environ | dict(settings), check=True
        )
    if reading.returncode:
        raise SystemExit(f"{Path(read[0]).name} ended with {reading.returncode}")
