"""Rows that one region lacks: carried over in the server's own format, many to a transaction.

Three ways in, from the fastest. A table that is empty is loaded whole, in key order, its secondary
indexes made afterwards, in one transaction that holds it alone. Rows that take nothing from others
go in by sets. What is left is for the guard, one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import psycopg
from psycopg import Copy, sql

from accountdb.catalog.tables import Table
from accountdb.compare.model import Key, Watch
from accountdb.compare.session import Region, named
from accountdb.merge.recording import Recorder
from accountdb.merge.references import conditions
from accountdb.merge.writer import FILE, Writer, filled, judged, make_stage, stage_name, title, writable
from accountdb.pg.connect import Connection
from accountdb.sql import block
from accountdb.transfer.copying import carry, chunks, format_for, sorting
from accountdb.transfer.indexes import indexes_later

# Somebody else is at the table, has put something in it, or has a trigger there that waits for the end.
_NOT_NOW = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.UniqueViolation,
    psycopg.errors.ObjectInUse,
)
_LOCK_WAIT = "3s"
_STEP = 5000


@dataclass(frozen=True)
class Source:
    """Rows of one table in the region that has them."""

    region: Region
    table: Table
    query: sql.Composed
    values: dict[str, object]
    format: str
    whole: bool = False
    """Whether it is the table from end to end: sorting it then beats its index, which leads all over the heap."""

    def send(self, conn: Connection, into: sql.Identifier, watch: Watch) -> None:
        """COPY from the source straight into a table of ``conn``'s region."""
        receive = sql.SQL(block(FILE, "receive")).format(
            into=into,
            columns=sql.SQL(", ").join(map(sql.Identifier, writable(self.table))),
            format=sql.SQL(self.format),
        )
        with ExitStack() as stack:
            # Errors of the region that sends are named here, those of the other one by its writer.
            with named(self.region.name, self.region.dsn):
                source = stack.enter_context(self.region.lend())
                if self.whole:
                    stack.enter_context(sorting(source, self.region.name, self.region.dsn))
                rows = stack.enter_context(stack.enter_context(source.cursor()).copy(self.query, self.values))
            copy = stack.enter_context(stack.enter_context(conn.cursor()).copy(receive))
            carry(self._pieces(rows), copy, watch.advance)

    def _pieces(self, rows: Copy) -> Iterator[tuple[bytes, int]]:
        with named(self.region.name, self.region.dsn):
            yield from chunks(rows)


def by_range(region: Region, table: Table, low: Key | None, high: Key | None) -> Source:
    """The rows from key ``low`` to below ``high`` that are not dead there; None has no bound."""
    limits = [
        sql.SQL("t.uuid {} %({})s::text::uuid").format(sql.SQL(operator), sql.SQL(name))
        for name, operator, bound in (("low", ">=", low), ("high", "<", high))
        if bound is not None
    ]
    values: dict[str, object] = {"low": low and low[0], "high": high and high[0], **title(table)}
    range_ = sql.SQL(" AND ").join(limits) if limits else sql.SQL("true")
    form = format_for(table.columns)
    query = filled("source_range", table, range=range_, format=sql.SQL(form))
    return Source(region, table, query, values, form, whole=not limits)


def by_keys(region: Region, table: Table, keys: Sequence[Key]) -> Source:
    """Some rows by their keys."""
    form = format_for(table.columns)
    query = filled("source_keys", table, format=sql.SQL(form))
    return Source(region, table, query, {"keys": [key[0] for key in keys]}, form)


@dataclass(frozen=True)
class Loader:
    """Brings rows into one region."""

    writer: Writer
    recorder: Recorder | None = field(repr=False)
    watch: Watch = field(repr=False)

    def insert(self, source: Source) -> tuple[int, list[Key]]:
        """Insert what is not there, in one transaction. Returns how many went in, and what a guard has to judge."""
        return self.writer.run(lambda conn: self._insert(conn, source))

    def _insert(self, conn: Connection, source: Source) -> tuple[int, list[Key]]:
        table = source.table
        make_stage(conn, table)
        source.send(conn, stage_name(table), self.watch)
        inserted = 0
        if all(index.immediate for index in table.unique_indexes):
            with judged(conn):
                inserted = new = self._insert_new(conn, table)
                while new and any(reference.parent == reference.child for reference in table.references):
                    # Children of rows that have come in just now.
                    new = self._insert_new(conn, table)
                    inserted += new
        return inserted, [(key,) for (key,) in conn.execute(filled("leftover", table), {"unused": None})]

    def _insert_new(self, conn: Connection, table: Table) -> int:
        parents = [filled("parent", table, **conditions(r, "s")) for r in table.references]
        returning = sql.SQL(block(FILE, "returning") if self.recorder else "")
        statement = filled("insert_new", table, parents=sql.SQL("\n  ").join(parents), returning=returning)
        cursor = conn.execute(statement, title(table))
        if self.recorder:
            self.recorder.inserted(table, cursor.fetchall())
        return cursor.rowcount

    def fill(self, source: Source) -> int | None:
        """Load an empty table whole. None, and nothing done, where it may not be locked or is not empty.

        Nobody reads or writes the table until it is done. A worker only: foreign keys are checked
        once at the end, and guards need not be asked about a table that holds nothing.
        """
        with named(self.writer.name, self.writer.dsn):
            try:
                with self.writer.conn.transaction():
                    return self._fill(self.writer.conn, source)
            except _NOT_NOW:
                return None

    def _fill(self, conn: Connection, source: Source) -> int | None:
        table = source.table
        owned = conn.execute(block(FILE, "owned"), title(table)).fetchone()
        if not (self.writer.worker and owned and owned[0]):
            return None
        conn.execute("SELECT pg_catalog.set_config('lock_timeout', %s, true)", (_LOCK_WAIT,))
        conn.execute(filled("lock_empty", table), {"unused": None})
        row = conn.execute(filled("holds_rows", table), {"unused": None}).fetchone()
        if row is None or row[0]:
            return None
        # Not called, it costs nothing: a guard that lets each row pass would take a fifth of the time.
        conn.execute(filled("guard_off", table), {"unused": None})
        with indexes_later(conn, table):
            source.send(conn, table.identifier, self.watch)
        _check_loaded(conn, table)
        conn.execute(filled("guard_on", table), {"unused": None})
        cursor = conn.execute(filled("stamps", table), {"unused": None}) if self.recorder else None
        while cursor and self.recorder and (stamps := cursor.fetchmany(_STEP)):
            self.recorder.inserted(table, stamps)
        conn.execute(filled("analyze", table), {"unused": None})
        count = conn.execute(filled("count_rows", table), {"unused": None}).fetchone()
        return int(count[0]) if count else 0


def _check_loaded(conn: Connection, table: Table) -> None:
    """Take out again what is dead here and what has no parent here, until nothing more follows."""
    removed = True
    while removed:
        removed = conn.execute(filled("remove_dead", table), title(table)).rowcount > 0
        for reference in table.references:
            statement = filled("remove_orphans", table, **conditions(reference, "t"))
            removed |= conn.execute(statement, {"unused": None}).rowcount > 0
