"""The target in one transaction: rows staged, then written by sets, so that only what differs is touched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from accountdb.catalog.tables import Column, UniqueIndex
from accountdb.compare.session import named
from accountdb.errors import Refused
from accountdb.pg.connect import Connection
from accountdb.pg.names import doubled
from accountdb.sql import block
from accountdb.sync.model import DESTINATION, Counts, SyncTable
from accountdb.transfer.copying import carry
from accountdb.transfer.indexes import indexes_later
from accountdb.transfer.unique import free_value, same_claim, with_generated

FILE = "sync/apply.sql"

# From this many rows on an empty table gets its indexes afterwards.
FILL_FROM = 10_000
_MODES = {"O": "ENABLE", "A": "ENABLE ALWAYS"}
# accountdb's triggers that have nothing to say about rows of a table that was empty.
_SILENT = ("accountdb_apply", "accountdb_revive")


class StrangerError(Exception):
    """A row of the target, which the pass did not look at, holds a unique value that the source gives to another."""

    def __init__(self, table: SyncTable, index: str) -> None:
        super().__init__(f"{table.title}: {index}")
        self.table = table
        self.index = index


@dataclass(frozen=True)
class Target:
    """A transaction of the target that writes tables of one group. ``number`` tells their staging tables apart."""

    conn: Connection = field(repr=False)
    dsn: str = field(repr=False)

    def stage(self, table: SyncTable) -> None:
        """The staging table, empty."""
        self._run(
            "stage",
            table,
            stage=sql.Identifier(_stage_name(table)),
            columns=_names("t.", table.columns),
        )

    def receive(
        self,
        table: SyncTable,
        rows: Iterable[tuple[bytes, int]],
        advance: Callable[[int], None],
        *,
        present: bool = True,
    ) -> None:
        """Rows into the staging table; ``present``: each with whether it is there."""
        columns = [*(["accountdb_present"] if present else []), *table.columns]
        self._receive(table, _stage(table), columns, rows, advance)

    def _receive(
        self,
        table: SyncTable,
        into: sql.Composable,
        columns: Sequence[str],
        rows: Iterable[tuple[bytes, int]],
        advance: Callable[[int], None],
    ) -> int:
        statement = sql.SQL(block(FILE, "receive")).format(
            into=into, columns=_names("", columns), format=sql.SQL(table.format)
        )
        # An error of the source is told by the source: nothing here may name it.
        with self.conn.cursor() as cursor:
            with cursor.copy(statement) as copy:
                carry(rows, copy, advance)
            return cursor.rowcount

    def staged(self, table: SyncTable) -> tuple[int, int]:
        """How many staged rows are there, and how many in all."""
        row = self._run("staged", table).fetchone()
        assert row is not None
        self._run("analyze", table)
        return row[0], row[1]

    def add(self, table: SyncTable) -> None:
        """Insert what is missing of the staged rows, and change nothing."""
        self._run("add", table)

    def upsert(self, table: SyncTable, counts: Counts) -> None:
        """Insert what is missing, update what differs. Values may change places between rows."""
        try:
            with self.conn.transaction():
                self._upsert(table, counts)
        except psycopg.errors.UniqueViolation:
            with self.conn.transaction():
                self._make_room(table)
                self._upsert(table, counts)

    def _upsert(self, table: SyncTable, counts: Counts) -> None:
        inserted = self._run("insert", table).rowcount
        updated = self._run("update", table).rowcount if _changeable(table) else 0
        # After both, so that a try that failed is not counted.
        counts.inserted, counts.updated = inserted, updated

    def _make_room(self, table: SyncTable) -> None:
        """Have staged rows that hold what others of them bring give it up, for as long as it takes to write those."""
        for index in table.target.unique_indexes:
            rivals = self._rivals(table, index)
            if any(not staged for *_, staged in rivals):
                raise StrangerError(table, index.name)
            if not rivals:
                continue
            arrays = [list(texts) for texts in zip(*(row[:-1] for row in rivals), strict=True)]
            free = free_value(table.target, index, [column.name for column in table.key])
            if not (free and self._vacated(table, free, arrays)):
                self._give_way(table, index, arrays)

    def _rivals(self, table: SyncTable, index: UniqueIndex) -> list[tuple[str, ...]]:
        """The rows here that hold what another row brings: their keys, and whether they are staged too."""
        return self._run(
            "rivals",
            table,
            keys=sql.SQL(", ").join(sql.SQL("t.{}::text").format(sql.Identifier(c.name)) for c in table.key),
            bringing=with_generated(table.target, _stage(table)),
            claim=same_claim(index),
            other=sql.SQL(" AND ").join(sql.SQL("t.{0} = o.{0}").format(sql.Identifier(c.name)) for c in table.key),
        ).fetchall()

    def _vacated(self, table: SyncTable, free: tuple[Column, sql.Composable], arrays: list[list[str]]) -> bool:
        column, value = free
        change = sql.SQL("{} = {}").format(sql.Identifier(column.name), value)
        try:
            with self.conn.transaction():
                self._by_keys("vacate", table, arrays, changes=doubled(change))
        except (psycopg.IntegrityError, psycopg.DataError):
            return False
        return True

    def _give_way(self, table: SyncTable, index: UniqueIndex, arrays: list[list[str]]) -> None:
        """Rows that cannot hold another value meanwhile go and come again, where nothing refers to them."""
        if table.target.referenced_by:
            raise Refused(
                f"{table.title}: values of {index.name} change places between rows that others refer to, and no row"
                " can do without one meanwhile",
                hint=f"make the constraint DEFERRABLE at the destination, or allow NULL in {', '.join(index.columns)}",
            )
        self._by_keys("give_way", table, arrays)

    def _by_keys(self, name: str, table: SyncTable, arrays: list[list[str]], **parts: sql.Composable) -> None:
        names = [f"k{n}" for n, _ in enumerate(table.key)]
        wanted = [
            sql.SQL("t.{} = w.{}::{}").format(
                sql.Identifier(column.name), sql.Identifier(key), sql.SQL(column.base_type)
            )
            for column, key in zip(table.key, names, strict=True)
        ]
        statement = sql.SQL(block(FILE, name)).format(
            own=doubled(table.own),
            arrays=sql.SQL(", ").join(sql.SQL("%s::text[]") for _ in names),
            names=sql.SQL(", ").join(map(sql.Identifier, names)),
            wanted=doubled(sql.SQL(" AND ").join(wanted)),
            **parts,
        )
        self.conn.execute(statement, arrays)

    def doomed(self, table: SyncTable) -> int:
        """How many rows here are staged as gone."""
        row = self._run("doomed", table).fetchone()
        return int(row[0]) if row else 0

    def delete(self, table: SyncTable) -> int:
        """Delete the rows that are staged as gone. Returns how many there were."""
        return self._run("delete", table).rowcount

    def rows(self, table: SyncTable, at_least: int) -> int:
        """About how many rows the table has; exact where the estimate is below ``at_least``."""
        names = {"schema": table.name[0], "table": table.name[1]}
        row = self.conn.execute(block(FILE, "rows"), names).fetchone()
        if row and row[0] >= at_least:
            return int(row[0])
        row = self._run("count", table).fetchone()
        return int(row[0]) if row else 0

    def empty(self, table: SyncTable) -> bool:
        """Whether the table holds no row."""
        row = self._run("empty", table).fetchone()
        return bool(row and row[0])

    def fill(
        self, table: SyncTable, rows: Iterable[tuple[bytes, int]], advance: Callable[[int], None], *, large: bool
    ) -> int:
        """Load an empty table. ``large``: alone with it, its indexes afterwards. Returns how many rows it has."""
        with self._silent(table, _SILENT):
            if large and table.owned and not self._waited_for(table):
                self._run("lock", table)
                with indexes_later(self.conn, table.target):
                    count = self._receive(table, table.identifier, table.columns, rows, advance)
                self.conn.execute(sql.SQL("ANALYZE {}").format(table.identifier))
            else:
                count = self._receive(table, table.identifier, table.columns, rows, advance)
        return count

    def _waited_for(self, table: SyncTable) -> bool:
        """Whether something is checked only at the end: until then no index can be made."""
        values = {"schema": table.name[0], "table": table.name[1]}
        row = self.conn.execute(block(FILE, "waited_for"), values).fetchone()
        return bool(row and row[0])

    @contextmanager
    def quiet(self, tables: Sequence[SyncTable]) -> Iterator[None]:
        """Within the block no trigger changes what is written, and references are checked at its end."""
        self.conn.execute("SET CONSTRAINTS ALL DEFERRED")
        loose = [(table, name) for table in tables if table.owned for name in self._fixed(table, tables)]
        off = [(table, *trigger) for table in tables for trigger in self._off(table, table.rewriting)]
        for table, constraint in loose:
            self._run("loosen", table, constraint=sql.Identifier(constraint))
        yield
        self.conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table, constraint in loose:
            self._run("fasten", table, constraint=sql.Identifier(constraint))
        for table, trigger, mode in off:
            self._run("on", table, trigger=sql.Identifier(trigger), mode=sql.SQL(_MODES[mode]))

    @contextmanager
    def _silent(self, table: SyncTable, names: Sequence[str]) -> Iterator[None]:
        off = self._off(table, names) if table.owned else []
        yield
        for trigger, mode in off:
            self._run("on", table, trigger=sql.Identifier(trigger), mode=sql.SQL(_MODES[mode]))

    def _off(self, table: SyncTable, names: Sequence[str]) -> list[tuple[str, str]]:
        if not names:
            return []
        values = {"schema": table.name[0], "table": table.name[1], "names": list(names)}
        found = [(name, mode) for name, mode in self.conn.execute(block(FILE, "triggers"), values).fetchall()]
        for name, _ in found:
            self._run("off", table, trigger=sql.Identifier(name))
        return found

    def _fixed(self, table: SyncTable, tables: Sequence[SyncTable]) -> list[str]:
        """References within a cycle that are checked at once: no order of tables serves them."""
        order = {other.name: n for n, other in enumerate(tables)}
        place = order[table.name]
        cyclic = {r.name for r in table.target.references if order.get(r.parent, -1) > place}
        if not cyclic:
            return []
        values = {"schema": table.name[0], "table": table.name[1]}
        return [name for (name,) in self.conn.execute(block(FILE, "fixed"), values) if name in cyclic]

    def _run(self, name: str, table: SyncTable, **parts: sql.Composable) -> psycopg.Cursor[TupleRow]:
        key = [column.name for column in table.key]
        others = [column for column in table.columns if column not in key and not _fixed_value(table, column)]
        statement = sql.SQL(block(FILE, name)).format(
            **{
                "table": table.identifier,
                "own": table.own,
                "columns": _names("", table.columns),
                "staged": _names("s.", table.columns),
                "stage": _stage(table),
                "match": sql.SQL(" AND ").join(
                    sql.SQL("t.{0} = s.{0}").format(sql.Identifier(column)) for column in key
                ),
                "changed": _names("", others),
                "changed_staged": _names("s.", others),
                "changed_here": _names("t.", others),
                **parts,
            }
        )
        return self.conn.execute(statement)


@contextmanager
def writing(conn: Connection, dsn: str, *, judged: bool, rollback: bool) -> Iterator[Target]:
    """One transaction. ``judged``: the source is right, and guards are not asked. ``rollback``: nothing of it stays."""
    with named(DESTINATION, dsn), conn.transaction(force_rollback=rollback):
        conn.execute(block(FILE, "settings"), {"judged": "on" if judged else "off"})
        yield Target(conn, dsn)


def _changeable(table: SyncTable) -> bool:
    return any(name not in table.target.primary_key and not _fixed_value(table, name) for name in table.columns)


def _fixed_value(table: SyncTable, name: str) -> bool:
    """Whether the column cannot be updated to a value: an identity that is always generated."""
    column = table.target.column(name)
    return column is not None and column.identity_always


def _stage(table: SyncTable) -> sql.Identifier:
    return sql.Identifier("pg_temp", _stage_name(table))


def _stage_name(table: SyncTable) -> str:
    return "accountdb_stage_" + hashlib.sha256(repr(table.name).encode()).hexdigest()[:16]


def _names(prefix: str, names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL(prefix) + sql.Identifier(name) for name in names)
