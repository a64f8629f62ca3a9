"""Unique values that staged rows bring and other rows hold: who holds them, and how one of those gives them up."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import psycopg
from psycopg import sql

from accountdb.catalog.tables import Column, Table, UniqueIndex
from accountdb.contract.decide import Copy
from accountdb.merge.writer import FILE, judged, stage_of
from accountdb.pg.connect import Connection
from accountdb.pg.names import doubled
from accountdb.sql import block

_TEXT = re.compile(r"^(?:text|character varying|character|bpchar|(?:[^.]+\.)?citext)(?:\((?P<length>\d+)\))?$")
_NUMBERS = {"smallint": 30_000, "integer": 2_000_000_000, "bigint": 9_000_000_000_000_000}
_LONGEST = 33


@dataclass(frozen=True)
class Claim:
    """The staged row ``by`` brings a value of a unique index that row ``holder`` has here."""

    by: UUID
    holder: UUID
    index: str


def claimed(conn: Connection, table: Table) -> set[Claim]:
    """The claims of all staged rows."""
    found: set[Claim] = set()
    for index in table.unique_indexes:
        statement = sql.SQL(block(FILE, "rivals")).format(
            table=doubled(table.identifier), staged=_staged(table), match=doubled(_match(index))
        )
        found |= {Claim(by, holder, index.name) for by, holder in conn.execute(statement, {"unused": None})}
    return found


def vacate(conn: Connection, table: Table, stamps: Mapping[str, Sequence[str]], *, lowest: bool = False) -> set[UUID]:
    """Have rows that are as ``stamps`` say give up their unique values, for as long as it takes to write others.

    ``stamps`` are columns: keys, versions, updated, origins, as text. ``lowest``: they also come last in
    the row order, so that whatever is brought replaces them. Returns those that did; none where a
    constraint is against it.
    """
    changes = _changes(table)
    if lowest:
        changes["version"] = sql.SQL("-1")
    if not stamps["keys"] or not changes:
        return set()
    statement = sql.SQL(block(FILE, "vacate")).format(
        table=doubled(table.identifier),
        changes=sql.SQL(", ").join(
            doubled(sql.SQL("{} = {}").format(sql.Identifier(name), change)) for name, change in changes.items()
        ),
    )
    try:
        with conn.transaction(), judged(conn):
            return {uuid for (uuid,) in conn.execute(statement, stamps)}
    except (psycopg.IntegrityError, psycopg.DataError):
        if len(stamps["keys"]) == 1:
            return set()
    singles = ({name: [values[n]] for name, values in stamps.items()} for n in range(len(stamps["keys"])))
    return {uuid for single in singles for uuid in vacate(conn, table, single, lowest=lowest)}


def stamps_of(copies: Sequence[Copy]) -> dict[str, list[str]]:
    """Copies as ``vacate`` takes them."""
    return {
        "keys": [str(copy.uuid) for copy in copies],
        "versions": [str(copy.stamp.version) for copy in copies],
        "updated": [copy.stamp.updated_at.isoformat() for copy in copies],
        "origins": [copy.stamp.origin_node for copy in copies],
    }


def kept(table: Table) -> frozenset[str]:
    """The unique indexes whose values ``vacate`` cannot free."""
    return frozenset(index.name for index in table.unique_indexes if _free(table, index) is None)


def _changes(table: Table) -> dict[str, sql.Composable]:
    found = [change for index in table.unique_indexes if (change := _free(table, index))]
    return {column.name: value for column, value in found}


def _free(table: Table, index: UniqueIndex) -> tuple[Column, sql.Composable] | None:
    """A column of the index and a value for it that nobody holds."""
    referring = {name for reference in table.references for name in reference.child_columns}
    columns = [c for c in table.columns if c.name in index.columns and not c.generated]
    columns = [c for c in columns if c.name not in ("uuid", "created_at")]
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


def _match(index: UniqueIndex) -> sql.Composed:
    """That row t holds the same key as the staged row s: by the index's own operators, so that it serves."""
    conditions: list[sql.Composable] = []
    for key, (schema, operator) in zip(index.keys, index.operators, strict=True):
        there, here = sql.SQL("({})").format(sql.SQL(key)), _of_staged(index, key)
        equal = sql.SQL("{} OPERATOR({}.{}) {}").format(there, sql.Identifier(schema), sql.SQL(operator), here)
        if index.nulls_equal:
            equal = sql.SQL("({} OR ({} IS NULL AND {} IS NULL))").format(equal, there, here)
        conditions.append(equal)
    if index.predicate is not None:
        conditions += [sql.SQL("({})").format(sql.SQL(index.predicate)), _of_staged(index, index.predicate)]
    return sql.SQL(" AND ").join(conditions)


def _of_staged(index: UniqueIndex, expression: str) -> sql.Composed:
    columns = sql.SQL(", ").join(sql.SQL("s.{0} AS {0}").format(sql.Identifier(name)) for name in index.columns)
    return sql.SQL("(SELECT {} FROM (SELECT {}) AS claimed)").format(sql.SQL(expression), columns)


def _staged(table: Table) -> sql.Composed:
    """The staged rows with their generated columns: an index may be made of those."""
    made = [
        sql.SQL(", ({}) AS {}").format(doubled(sql.SQL(c.default or "NULL")), doubled(sql.Identifier(c.name)))
        for c in table.generated
    ]
    return sql.SQL("(SELECT s.* {} FROM {} AS s)").format(sql.SQL("").join(made), stage_of(table))
