"""The source at one snapshot: what changed since a watermark, and the rows themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg import Copy, sql
from psycopg.rows import TupleRow

from accountdb.catalog.tables import Column
from accountdb.compare.model import Key
from accountdb.compare.session import named, prepare
from accountdb.pg import session
from accountdb.pg.connect import Connection, connect
from accountdb.pg.names import doubled
from accountdb.sql import block
from accountdb.sync.capture import Capture
from accountdb.sync.model import SOURCE, Name, SyncTable
from accountdb.sync.preflight import FILE as PREFLIGHT
from accountdb.sync.watermark import Identity, Reach, Watermark
from accountdb.transfer.copying import chunks, sorting

FILE = "sync/source.sql"

_KEYS = 5000

# Rows on their way, as COPY gives them.
Pieces = Iterator[tuple[bytes, int]]


@dataclass(frozen=True)
class Changes:
    """What the change log names of one table."""

    rows: int
    emptied: bool


@dataclass(frozen=True)
class Source:
    """One snapshot of the source. ``target`` is the database that is synced, ``exported`` lets others see the same.

    ``log_end``: all that the snapshot sees stands before it in the write-ahead log. None for a standby: it
    shows nothing that a crash takes.
    """

    conn: Connection = field(repr=False)
    dsn: str = field(repr=False)
    target: str
    identity: Identity
    snapshot: str
    now: int
    taken_at: datetime
    exported: str
    log_end: str | None

    def outlast_crash(self) -> None:
        """Return when a crash of the source takes back nothing that this snapshot sees.

        A commit that does not wait for the log, or a rollback, may be forgotten, and its transaction id given
        once more: to one that would be taken for an old one. What nobody else has waited for, this waits for.
        """
        if self.log_end is None:
            return
        with self._named():
            (written,) = _row(self.conn.execute(block(FILE, "written"), {"end": self.log_end}))
        if written:
            return
        with closing(connect(self.dsn, name=SOURCE, autocommit=True, application="pgsync")) as conn, self._named():
            session.keep_alive(conn)
            conn.execute(block(FILE, "write"))

    def reach(self, job: str, known: Iterable[tuple[SyncTable, Watermark]]) -> dict[Name, Reach]:
        """What has become of tables' watermarks, by table."""
        with self._named(), session.pipelined(self.conn):
            asked = {}
            for table, mark in known:
                asked[table.name] = [self.conn.execute(block(FILE, "reach"), {"since": mark.snapshot})]
                if table.capture is Capture.LOG and mark.capture is Capture.LOG:
                    reader = {"job": job, "target": self.target, "schema": table.name[0], "table": table.name[1]}
                    values = {**reader, "since": mark.snapshot}
                    asked[table.name].append(self.conn.execute(block(FILE, "log_reaches"), values))
        found = {}
        for name, cursors in asked.items():
            (end, distance), *of_log = map(_row, cursors)
            logged, forgotten = of_log[0] if of_log else (False, False)
            found[name] = Reach(int(end), int(distance), self.now, logged, forgotten)
        return found

    def logged(self, tables: Mapping[Name, str]) -> dict[Name, Changes]:
        """How many entries the log has of each table since a snapshot."""
        statement = sql.SQL(block(FILE, "logged")).format(since=sql.SQL(block(FILE, "since")))
        with self._named(), session.pipelined(self.conn):
            asked = {name: self.conn.execute(statement, self._since(name, since)) for name, since in tables.items()}
        return {name: Changes(*_row(cursor)) for name, cursor in asked.items()}

    def holds_rows(self, table: SyncTable) -> bool:
        """Whether the table has a row."""
        with self._named():
            statement = sql.SQL(block(FILE, "any")).format(table=table.origin)
            row = self.conn.execute(statement).fetchone()
        return bool(row and row[0])

    def has(self, table: SyncTable, rows: int) -> bool:
        """Whether the table has so many rows. Looks at no more of them."""
        with self._named():
            statement = sql.SQL(block(FILE, "some")).format(table=table.origin, rows=sql.Literal(rows))
            row = self.conn.execute(statement).fetchone()
        return bool(row and row[0] >= rows)

    def about(self, table: SyncTable) -> int | None:
        """How many rows the table has, by the server's estimate; None where it has none."""
        with self._named():
            names = {"schema": table.source.schema, "table": table.source.name}
            row = self.conn.execute(block(FILE, "about"), names).fetchone()
        return int(row[0]) if row and row[0] > 0 else None

    def changed(self, table: SyncTable, mark: Watermark) -> Iterator[Key]:
        """The keys of the rows that were written, or deleted as far as the log says so, since a watermark."""
        if table.capture is Capture.LOG:
            statement = sql.SQL(block(FILE, "keys_by_log")).format(since=sql.SQL(block(FILE, "since")))
            return self._keys(statement, self._since(table.name, mark.snapshot))
        keys = sql.SQL(", ").join(sql.SQL("t.{}::text").format(sql.Identifier(column.name)) for column in _key(table))
        statement = sql.SQL(block(FILE, "keys_by_xmin")).format(
            keys=keys, table=table.origin, horizon=sql.Literal(_horizon(mark.snapshot))
        )
        return self._keys(statement, None)

    def buried(self, table: SyncTable, tombstones: SyncTable, since: str) -> Iterator[Key]:
        """The keys of the rows that died since a snapshot, whoever wrote their tombstones."""
        if tombstones.capture is Capture.LOG:
            statement = sql.SQL(block(FILE, "buried_by_log")).format(since=sql.SQL(block(FILE, "since")))
            values = self._since(tombstones.name, since)
        else:
            horizon = sql.Literal(_horizon(since))
            statement, values = sql.SQL(block(FILE, "buried_by_xmin")).format(horizon=horizon), {}
        return self._keys(statement, {**values, "of_schema": table.name[0], "of_table": table.name[1]})

    def _keys(self, statement: sql.Composed, values: Mapping[str, object] | None) -> Iterator[Key]:
        with self._named(), self.conn.cursor(name="accountdb_keys") as cursor:
            cursor.itersize = _KEYS
            for (key,) in cursor.execute(statement, values):
                yield tuple(key)

    @contextmanager
    def by_log(self, table: SyncTable, since: str) -> Iterator[Pieces]:
        """The rows that the log names, each with whether it is there."""
        key = _key(table)
        keys = sql.SQL(", ").join(
            sql.SQL("l.row_key[{}]::{} AS {}").format(sql.Literal(n), sql.SQL(c.base_type), sql.Identifier(f"k{n}"))
            for n, c in enumerate(key, 1)
        )
        statement = sql.SQL(block(FILE, "by_log")).format(
            keys=doubled(keys), since=sql.SQL(block(FILE, "since")), **self._joined(table)
        )
        with self._copy(statement, self._since(table.name, since)) as copy:
            yield copy

    @contextmanager
    def by_keys(self, table: SyncTable, found: Sequence[Key]) -> Iterator[Pieces]:
        """Some rows by their keys, each with whether it is there."""
        key = _key(table)
        names = [f"t{n}" for n, _ in enumerate(key, 1)]
        keys = sql.SQL(", ").join(
            sql.SQL("a.{}::{} AS {}").format(sql.Identifier(f"t{n}"), sql.SQL(c.base_type), sql.Identifier(f"k{n}"))
            for n, c in enumerate(key, 1)
        )
        statement = sql.SQL(block(FILE, "by_keys")).format(
            arrays=sql.SQL(", ").join(sql.SQL("%({})s::text[]").format(sql.SQL(name)) for name in names),
            names=sql.SQL(", ").join(map(sql.Identifier, names)),
            keys=doubled(keys),
            **self._joined(table),
        )
        values = {name: list(texts) for name, texts in zip(names, zip(*found, strict=True), strict=True)}
        with self._copy(statement, values) as copy:
            yield copy

    @contextmanager
    def by_xmin(self, table: SyncTable, mark: Watermark) -> Iterator[Pieces]:
        """The rows that were written since a snapshot's horizon."""
        statement = sql.SQL(block(FILE, "by_xmin")).format(
            columns=_names("t.", table.columns),
            table=table.origin,
            horizon=sql.Literal(_horizon(mark.snapshot)),
            format=sql.SQL(table.format),
        )
        with self._copy(statement, None) as copy:
            yield copy

    @contextmanager
    def whole(self, table: SyncTable) -> Iterator[Pieces]:
        """All rows, in the order of the key."""
        statement = sql.SQL(block(FILE, "whole")).format(
            columns=_names("t.", table.columns),
            table=table.origin,
            key=_names("t.", [column.name for column in table.key]),
            format=sql.SQL(table.format),
        )
        with sorting(self.conn, SOURCE, self.dsn), self._copy(statement, None) as copy:
            yield copy

    def _joined(self, table: SyncTable) -> dict[str, sql.Composable]:
        key = _key(table)
        match = sql.SQL(" AND ").join(
            sql.SQL("t.{} = w.{}").format(sql.Identifier(c.name), sql.Identifier(f"k{n}")) for n, c in enumerate(key, 1)
        )
        place = {column.name: n for n, column in enumerate(key, 1)}
        shown = [
            sql.SQL("coalesce(t.{}, w.{})").format(sql.Identifier(name), sql.Identifier(f"k{place[name]}"))
            if name in place
            else sql.SQL("t.{}").format(sql.Identifier(name))
            for name in table.columns
        ]
        return {
            "present": doubled(sql.SQL("t.{} IS NOT NULL").format(sql.Identifier(key[0].name))),
            "columns": doubled(sql.SQL(", ").join(shown)),
            "table": doubled(table.origin),
            "match": doubled(match),
            "format": sql.SQL(table.format),
        }

    def _since(self, name: Name, since: str) -> dict[str, object]:
        return {"schema": name[0], "table": name[1], "since": since, "target": self.target}

    @contextmanager
    def _copy(self, statement: sql.Composed, values: Mapping[str, object] | None) -> Iterator[Pieces]:
        with ExitStack() as stack:
            with self._named():
                copy = stack.enter_context(stack.enter_context(self.conn.cursor()).copy(statement, values))
            yield self._pieces(copy)

    def _pieces(self, copy: Copy) -> Pieces:
        # What goes wrong while reading is the source's, though the target's writer asks for it.
        with self._named():
            yield from chunks(copy)

    def _named(self) -> AbstractContextManager[None]:
        return named(SOURCE, self.dsn)


@contextmanager
def at_snapshot(conn: Connection, dsn: str, target: str) -> Iterator[Source]:
    """One read-only transaction of ``conn``, which sees the source as it is when it begins; autocommit after it."""
    with named(SOURCE, dsn):
        prepare(conn)
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.read_only = True
        conn.autocommit = False
        with session.pipelined(conn):
            asked = [conn.execute(block(*of)) for of in ((FILE, "moment"), (FILE, "export"), (PREFLIGHT, "identity"))]
        (snapshot, now, taken_at, log_end), (exported,), identity = map(_row, asked)
    try:
        yield Source(conn, dsn, target, Identity(*identity), snapshot, int(now), taken_at, exported, log_end)
    finally:
        # What has been applied by now stands, and who still needs the source finds out that it is lost.
        with suppress(psycopg.Error):
            conn.rollback()
            conn.read_only = None
            conn.isolation_level = None
            conn.autocommit = True


def _row(cursor: psycopg.Cursor[TupleRow]) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None
    return row


def _key(table: SyncTable) -> tuple[Column, ...]:
    return tuple(column for name in table.source.primary_key if (column := table.source.column(name)))


def _horizon(snapshot: str) -> str:
    """The oldest transaction that was under way, or the next one."""
    return snapshot.partition(":")[0]


def _names(prefix: str, names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL(prefix) + sql.Identifier(name) for name in names)
