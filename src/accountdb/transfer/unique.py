"""Values of unique indexes: who holds what staged rows bring, and values that nobody holds. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection

from psycopg import sql

from accountdb.catalog.tables import Column, Table, UniqueIndex
from accountdb.contract import claims
from accountdb.pg.names import doubled

_TEXT = re.compile(r"^(?:text|character varying|character|bpchar|(?:[^.]+\.)?citext)(?:\((?P<length>\d+)\))?$")
_NUMBERS = {"smallint": 30_000, "integer": 2_000_000_000, "bigint": 9_000_000_000_000_000}
_LONGEST = 33


def free_values(table: Table, keep: Collection[str]) -> dict[str, sql.Composable]:
    """For each unique index that can be freed, a column, never one of ``keep``, and a value that nobody holds."""
    found = [change for index in table.unique_indexes if (change := free_value(table, index, keep))]
    return {column.name: value for column, value in found}


def free_value(table: Table, index: UniqueIndex, keep: Collection[str]) -> tuple[Column, sql.Composable] | None:
    """A column of the index and a value for it that nobody holds."""
    referring = {name for reference in table.references for name in reference.child_columns}
    columns = [c for c in table.columns if c.name in index.columns and not c.generated]
    columns = [c for c in columns if c.name not in keep]
    for column in columns:
        if not column.not_null and not index.nulls_equal:
            return column, sql.SQL("NULL")
    for column in columns:
        value = _unheld(column) if column.name not in referring else None
        if value is not None:
            return column, value
    return None


def _unheld(column: Column) -> sql.Composable | None:
    if column.base_type in _NUMBERS:
        most = sql.Literal(_NUMBERS[column.base_type])
        return sql.SQL("-(1 + pg_catalog.floor(pg_catalog.random() * {}))::bigint").format(most)
    if column.base_type == "uuid":
        return sql.SQL("pg_catalog.gen_random_uuid()")
    text = _TEXT.match(column.base_type)
    if text is None:
        return None
    length = sql.Literal(int(text["length"] or _LONGEST))
    return sql.SQL(
        "pg_catalog.left('~' || pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', ''), {})"
    ).format(length)


def same_claim(index: UniqueIndex) -> sql.Composed:
    """That the row of the table holds the same key as the staged row s."""
    return claims.same_claim(index, "s")


def with_generated(table: Table, stage: sql.Composable) -> sql.Composed:
    """The staged rows with their generated columns: an index may be made of those."""
    made = [
        sql.SQL(", ({}) AS {}").format(doubled(sql.SQL(c.default or "NULL")), doubled(sql.Identifier(c.name)))
        for c in table.generated
    ]
    return sql.SQL("(SELECT s.* {} FROM {} AS s)").format(sql.SQL("").join(made), stage)
