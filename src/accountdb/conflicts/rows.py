"""Reading and writing single rows of any table under the row contract, in one region."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from accountdb.catalog.tables import Reference, Table, UniqueIndex
from accountdb.conflicts.model import Copy, parsed
from accountdb.conflicts.regions import Region
from accountdb.contract.masking import Content
from accountdb.errors import UsageError
from accountdb.sql import block

_FILE = "conflicts/row.sql"


def _name(*parts: str) -> sql.Identifier:
    """A name in a statement with parameters, where a percent sign is written twice."""
    return sql.Identifier(*(part.replace("%", "%%") for part in parts))


def _expression(text: str) -> sql.SQL:
    """An expression out of the catalog, in a statement with parameters."""
    return sql.SQL(text.replace("%", "%%"))


def _filled(name: str, table: Table, **parts: sql.Composable) -> sql.Composed:
    """The block ``name`` for one table."""
    generated = sql.Literal([column.name.replace("%", "%%") for column in table.generated]) + sql.SQL("::text[]")
    return sql.SQL(block(_FILE, name)).format(table=_name(table.schema, table.name), generated=generated, **parts)


def copies(region: Region, table: Table, keys: Iterable[UUID]) -> dict[UUID, Copy]:
    """The rows that stand, by their keys."""
    found = region.conn.execute(_filled("copies", table), {"keys": list(keys)}).fetchall()
    return {row[0]: Copy(*row) for row in found}


def children(region: Region, table: Table, reference: Reference, parent: UUID) -> tuple[Copy, ...]:
    """The rows of ``table`` that refer to ``parent`` by ``reference``."""
    return tuple(
        Copy(*row) for row in region.conn.execute(_of_parent("children", table, reference), {"key": parent}).fetchall()
    )


def some_children(
    region: Region, table: Table, reference: Reference, parent: UUID, most: int
) -> tuple[int, tuple[Content, ...]]:
    """How many rows refer to ``parent``, and the oldest ``most`` of them."""
    found = region.conn.execute(_of_parent("some_children", table, reference), {"key": parent, "most": most}).fetchall()
    return (found[0][1] if found else 0), tuple(parsed(text) or {} for text, _ in found)


def _of_parent(name: str, table: Table, reference: Reference) -> sql.Composed:
    pairs = zip(reference.child_columns, reference.parent_columns, strict=True)
    match = [sql.SQL("r.{} = p.{}").format(_name(child), _name(parent)) for child, parent in pairs]
    return _filled(name, table, parent=_name(*reference.parent), match=sql.SQL(" AND ").join(match))


def tombstones(region: Region, table: Table, key: UUID) -> list[tuple[Any, ...]]:
    """created_at, node, winner and deleted_at of each, newest first."""
    params = {"key": key, "schema": table.schema, "table": table.name}
    return region.conn.execute(block(_FILE, "tombstones"), params).fetchall()


def heir(region: Region, table: Table, key: UUID) -> UUID | None:
    """``key`` where that row stands, else the row that it was merged into."""
    params = {"key": key, "schema": table.schema, "table": table.name}
    row = region.conn.execute(_filled("heir", table), params).fetchone()
    return UUID(str(row[0])) if row else None


def taken(
    region: Region, table: Table, index: UniqueIndex, key: UUID, text: str, values: Mapping[str, Any]
) -> UUID | None:
    """The other row that holds what row ``key`` would hold with ``values`` over ``text``."""
    conditions: list[sql.Composable] = []
    for expression, (schema, operator) in zip(index.keys, index.operators, strict=True):
        there, here = sql.SQL("({})").format(_expression(expression)), _wanted(expression)
        equal: sql.Composable = sql.SQL("{} OPERATOR({}.{}) {}").format(
            there, _name(schema), _expression(operator), here
        )
        if index.nulls_equal:
            equal = sql.SQL("({} OR ({} IS NULL AND {} IS NULL))").format(equal, there, here)
        conditions.append(equal)
    if index.predicate is not None:
        conditions += [sql.SQL("({})").format(_expression(index.predicate)), _wanted(index.predicate)]
    columns = [_computed(table, name) for name in index.columns]
    query = _filled("taken", table, wanted=sql.SQL(", ").join(columns), match=sql.SQL(" AND ").join(conditions))
    row = region.conn.execute(query, {"key": key, "row": text, "values": json.dumps(dict(values))}).fetchone()
    return UUID(str(row[0])) if row else None


def _wanted(expression: str) -> sql.Composed:
    return sql.SQL("(SELECT {} FROM wanted)").format(_expression(expression))


def _computed(table: Table, name: str) -> sql.Composable:
    column = table.column(name)
    if column is None or not column.generated:
        return _name(name)
    return sql.SQL("({}) AS {}").format(_expression(column.default or "NULL"), _name(name))


def has_parent(region: Region, table: Table, reference: Reference, text: str, values: Mapping[str, Any]) -> bool:
    """Whether the row that ``reference`` would name stands here."""
    pairs = zip(reference.parent_columns, reference.child_columns, strict=True)
    query = _filled(
        "parent",
        table,
        parent=_name(*reference.parent),
        match=sql.SQL(" AND ").join(
            sql.SQL("p.{} = n.{}").format(_name(parent), _name(child)) for parent, child in pairs
        ),
        empty=sql.SQL(" OR ").join(sql.SQL("n.{} IS NULL").format(_name(child)) for child in reference.child_columns),
    )
    row = region.conn.execute(query, {"row": text, "values": json.dumps(dict(values))}).fetchone()
    return bool(row and row[0])


def check_values(region: Region, table: Table, values: Mapping[str, Any], *, hidden: Iterable[str]) -> None:
    """UsageError for a value that its column's type does not take. Values of ``hidden`` columns are not quoted."""
    for name, value in values.items():
        try:
            region.conn.execute(_filled("readable", table), {"values": json.dumps({name: value})})
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            column = table.column(name)
            reason = "" if name in hidden else f": {error.diag.message_primary}"
            raise UsageError(f"--set {name}: no value of type {column.type if column else 'unknown'}{reason}") from None


def lock(region: Region, table: Table, keys: Iterable[UUID]) -> None:
    """Hold rows against writers and against new children, to the end of the transaction."""
    region.conn.execute(_filled("lock", table), {"keys": list(keys)})


def update(region: Region, table: Table, key: UUID, version: int, values: Mapping[str, Any]) -> bool:
    """Set columns of one row. False when it does not stand in ``version``."""
    names = [_name(name) for name in values]
    query = _filled("update", table, columns=sql.SQL(", ").join(names), values=_of_new(names))
    params = {"key": key, "version": version, "values": json.dumps(dict(values))}
    return region.conn.execute(query, params).rowcount == 1


def insert(region: Region, table: Table, text: str, values: Mapping[str, Any], columns: Iterable[str]) -> None:
    """Make a row from its content with ``values`` over it; only ``columns`` are written."""
    names = [_name(name) for name in columns]
    query = _filled("insert", table, columns=sql.SQL(", ").join(names), values=_of_new(names))
    region.conn.execute(query, {"row": text, "values": json.dumps(dict(values))})


def delete(region: Region, table: Table, key: UUID, version: int) -> bool:
    """Delete one row. False when it does not stand in ``version``."""
    return region.conn.execute(_filled("delete", table), {"key": key, "version": version}).rowcount == 1


def _of_new(names: Iterable[sql.Identifier]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL("n.{}").format(name) for name in names)
