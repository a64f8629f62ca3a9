"""Writing what the verdicts say, table by table, and settling who keeps a unique value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from accountdb.catalog.tables import Table, UniqueIndex
from accountdb.contract.claims import same_claim
from accountdb.pg.names import doubled
from accountdb.snapshot.staging import FILE, Staged, names, written
from accountdb.sql import block
from accountdb.transfer.unique import free_value, with_generated

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
        try:
            with self.staged.conn.transaction():
                self._write(table)
        except psycopg.errors.UniqueViolation:
            self._settle(table)
            self._write(table)

    def _write(self, table: Table) -> None:
        # First what gives values up, then what takes them.
        self._run("update", table, columns=names("", written(table)), values=self._values(table, "v.bump", _BUMPED))
        # A life that ended here does not go on: what comes back begins a new one.
        reborn = {"created_at": "pg_catalog.clock_timestamp()"}
        wanted = self._count(table, "insert")
        values = self._values(table, "v.dead", reborn)
        inserted = self._run("insert", table, columns=names("", written(table)), values=values)
        if inserted != wanted:
            self._run("refused", table)

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

    def _settle(self, table: Table) -> None:
        """Leave out what claims a value that another row keeps, and free the values that change places."""
        bringing = with_generated(table, self.staged.stage(table))
        for index in table.unique_indexes:
            self._run("twice", table, {"index": index.name}, bringing=bringing, **_claiming(index))
        self._run("make_rivals", table)
        fixed: list[str] = []
        while True:
            self._rivals(table, bringing)
            while self._run("claimed", table, {"fixed": fixed}):
                pass
            stuck = self._vacate(table)
            if not stuck:
                return
            fixed += stuck

    def _rivals(self, table: Table, bringing: sql.Composable) -> None:
        self._run("clear_rivals", table)
        for index in table.unique_indexes:
            claim = same_claim(index, "s")
            self._run("find_rivals", table, {"index": index.name}, bringing=bringing, claim=doubled(claim))

    def _vacate(self, table: Table) -> list[str]:
        """Returns the indexes whose values nobody can let go for a while."""
        stuck = []
        for index in table.unique_indexes:
            free = free_value(table, index, ("uuid", *_BUMPED))
            if free is None or not self._vacated(
                table, index, sql.SQL("{} = {}").format(sql.Identifier(free[0].name), free[1])
            ):
                stuck.append(index.name)
        if not stuck:
            self._run("vacated", table)
        return stuck

    def _vacated(self, table: Table, index: UniqueIndex, change: sql.Composable) -> bool:
        try:
            with self.staged.conn.transaction():
                self._run("vacate", table, {"index": index.name}, changes=doubled(change))
        except (psycopg.IntegrityError, psycopg.DataError):
            return False
        return True

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
