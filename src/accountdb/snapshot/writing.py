"""Writing what the verdicts say, table by table, and settling who keeps a unique value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from accountdb.catalog.tables import Table, UniqueIndex
from accountdb.contract.claims import same_claim
from accountdb.contract.masking import printable
from accountdb.errors import AccountdbError
from accountdb.pg.names import doubled
from accountdb.snapshot.staging import FILE, Staged, names, written
from accountdb.sql import block
from accountdb.transfer.indexes import indexes_later
from accountdb.transfer.unique import free_value, with_generated

# From this many rows on an empty table gets its indexes afterwards.
_MANY = 10_000
_BUMPED = {
    "created_at": "t.created_at",
    "version": "t.version + 1",
    "updated_at": "greatest(pg_catalog.clock_timestamp(), t.updated_at + interval '1 microsecond')",
    "origin_node": "accountdb.node_name()",
}


@dataclass(frozen=True)
class Writing:
    """Writes one table after the other."""

    staged: Staged

    def write(self, table: Table) -> None:
        """Update and insert what the verdicts say.

        What stands keeps a unique value against what comes, unless the snapshot gives its holder another one.
        """
        conn = self.staged.conn
        try:
            with conn.transaction():
                self._write(table)
        except psycopg.errors.UniqueViolation:
            try:
                with conn.transaction():
                    self._settle(table, [])
                    self._write(table)
            except psycopg.errors.UniqueViolation:
                # An index whose values could not be freed after all: nothing changes places.
                self._settle(table, [index.name for index in table.unique_indexes])
                self._write(table)

    def _write(self, table: Table) -> None:
        # First what gives values up, then what takes them.
        wanted = self._count(table, "update")
        values = self._values(table, "v.bump", _BUMPED)
        updated = self._run("update", table, columns=names("", written(table)), values=values)
        if updated != wanted:
            raise AccountdbError(
                f"a trigger of {printable(table.name)} let {updated} of {wanted} rows be updated",
                hint="nothing was written; switch that trigger off meanwhile, or import with --merge-strategy append",
            )
        self._insert(table)

    def _insert(self, table: Table) -> None:
        # A life that ended here does not go on: what comes back begins a new one.
        reborn = {"created_at": "pg_catalog.clock_timestamp()"}
        wanted = self._count(table, "insert")
        values = self._values(table, "v.dead", reborn)
        with self._indexes_later(table, wanted):
            heading = "insert" if self._others(table) else "insert_all"
            inserted = self._run(heading, table, columns=names("", written(table)), values=values)
        if inserted != wanted:
            self._run("refused", table)

    def _others(self, table: Table) -> bool:
        statement = sql.SQL(block(FILE, "others")).format(verdicts=self.staged.verdicts(table))
        row = self.staged.conn.execute(statement).fetchone()
        return bool(row and row[0])

    @contextmanager
    def _indexes_later(self, table: Table, rows: int) -> Iterator[None]:
        """A table that is empty gets its indexes after many rows, where nobody is at it."""
        if rows < _MANY or not self._locked(table):
            yield
            return
        with indexes_later(self.staged.conn, table):
            yield
        self._run("analyze_table", table)

    def _locked(self, table: Table) -> bool:
        statement = sql.SQL(block(FILE, "fillable")).format(table=doubled(table.identifier))
        row = self.staged.conn.execute(statement, {"schema": table.schema, "name": table.name}).fetchone()
        if row is None or not row[0]:
            return False
        try:
            with self.staged.conn.transaction():
                self._run("lock_empty", table)
        except psycopg.errors.LockNotAvailable:
            return False
        return True

    def _values(self, table: Table, when: str, instead: Mapping[str, str]) -> sql.Composed:
        return sql.SQL(", ").join(
            sql.SQL("CASE WHEN {} THEN {} ELSE s.{} END").format(
                sql.SQL(when), sql.SQL(instead[name]), sql.Identifier(name)
            )
            if name in instead
            else sql.SQL("s.{}").format(sql.Identifier(name))
            for name in written(table)
        )

    def _count(self, table: Table, verdict: str) -> int:
        statement = sql.SQL(block(FILE, "verdicts")).format(verdicts=self.staged.verdicts(table))
        return sum(count for found, count in self.staged.conn.execute(statement) if found == verdict)

    def _settle(self, table: Table, fixed: list[str]) -> None:
        """Leave out what claims a value that another row keeps, and free the values that change places."""
        bringing = with_generated(table, self.staged.stage(table))
        for index in table.unique_indexes:
            self._run("twice", table, {"index": index.name}, bringing=bringing, **_claiming(index))
        self._run("make_rivals", table)
        while True:
            self._rivals(table, bringing)
            while self._run("claimed", table, {"fixed": fixed}):
                pass
            stuck = self._vacate(table, [index for index in table.unique_indexes if index.name not in fixed])
            if not stuck:
                return
            fixed = [*fixed, *stuck]

    def _rivals(self, table: Table, bringing: sql.Composable) -> None:
        self._run("clear_rivals", table)
        for index in table.unique_indexes:
            claim = same_claim(index, "s")
            self._run("find_rivals", table, {"index": index.name}, bringing=bringing, claim=doubled(claim))

    def _vacate(self, table: Table, indexes: Sequence[UniqueIndex]) -> list[str]:
        """Free all values that change places, or none. Returns the indexes whose values nobody can let go."""
        with self.staged.conn.transaction():
            stuck = [index.name for index in indexes if not self._vacated(table, index)]
            if stuck:
                raise psycopg.Rollback
            self._run("vacated", table)
        return stuck

    def _vacated(self, table: Table, index: UniqueIndex) -> bool:
        if not self._changing(index):
            return True
        free = free_value(table, index, ("uuid", *_BUMPED))
        if free is None:
            return False
        change = sql.SQL("{} = {}").format(sql.Identifier(free[0].name), free[1])
        try:
            with self.staged.conn.transaction():
                self._run("vacate", table, {"index": index.name}, changes=doubled(change))
        except (psycopg.IntegrityError, psycopg.DataError):
            return False
        return True

    def _changing(self, index: UniqueIndex) -> bool:
        row = self.staged.conn.execute(block(FILE, "rivalled"), {"index": index.name}).fetchone()
        return bool(row and row[0])

    def _run(
        self, heading: str, table: Table, given: Mapping[str, object] | None = None, **parts: sql.Composable
    ) -> int:
        percent = doubled if given is not None else _as_it_is
        statement = sql.SQL(block(FILE, heading)).format(
            **{
                "table": percent(table.identifier),
                "own": percent(self.staged.structure.own(table)),
                "stage": self.staged.stage(table),
                "verdicts": self.staged.verdicts(table),
                **parts,
            }
        )
        return self.staged.conn.execute(statement, given).rowcount


def _as_it_is(part: sql.Composable) -> sql.Composable:
    return part


def _claiming(index: UniqueIndex) -> dict[str, sql.Composable]:
    """What of a staged row is in the index, and by which keys."""
    keys: Sequence[sql.Composable] = [doubled(sql.SQL("({})").format(sql.SQL(key))) for key in index.keys]
    conditions: list[sql.Composable] = [key + sql.SQL(" IS NOT NULL") for key in keys if not index.nulls_equal]
    if index.predicate is not None:
        conditions.append(doubled(sql.SQL("({})").format(sql.SQL(index.predicate))))
    return {
        "keys": sql.SQL(", ").join(keys),
        "claiming": sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("true"),
    }
