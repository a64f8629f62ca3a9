"""The definition of one table's guard, generated from its shape. Pure: statements out, no I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from psycopg import sql

from accountdb.catalog.tables import Column, Table
from accountdb.guards import children, claiming, referring
from accountdb.guards.template import filled, names_of, quoted
from accountdb.pg.names import function_name

# The triggers that make up a guard, with the mode that each has to be in.
TRIGGERS = {
    "accountdb_guard": "R",
    "accountdb_apply": "O",
    "accountdb_bury": "O",
    "accountdb_revive": "O",
    "accountdb_truncate": "O",
}


@dataclass(frozen=True)
class Guard:
    """One table's guard: the statements that install it, and the hash that its comments carry."""

    schema: str
    table: str
    hash: str
    statements: tuple[sql.Composed, ...]


def define(table: Table, tables: Mapping[tuple[str, str], Table]) -> Guard:
    """The guard of ``table``, which must be under the row contract. ``tables`` are all by schema and name."""
    names = {
        **names_of(table),
        "function": sql.Identifier("accountdb", function_name("guard", table.schema, table.name)),
        "capture": sql.Identifier("accountdb", function_name("bury", table.schema, table.name)),
        "owner": sql.Identifier(table.owner),
    }
    parts = {
        "known": sql.SQL("{}::name[]").format(sql.Literal([column.name for column in table.columns])),
        "unchanged": _unchanged(table),
        "keep_generated": sql.SQL("\n            ").join(_keep(column) for column in table.generated),
        "references": referring.checks(table),
        "fill_generated": sql.SQL("\n            ").join(_fill(column) for column in table.generated),
        "claims": claiming.settlements(table),
        "delete": filled("delete", children=children.taken_along(table, tables), **names),
        "update": _write("update", table),
        **_inserts(table),
    }
    function = quoted("function", **names, **parts)
    capture = quoted("capture", along=children.buried_along(table, tables), **names)
    triggers = filled("triggers", comment=sql.SQL("''"), **names)
    owner = filled("owner", **names, related=_related(table, tables))
    text = "\n".join(part.as_string() for part in (function, capture, owner, triggers))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    comment = sql.Literal(f"accountdb guard {digest}")
    return Guard(
        table.schema,
        table.name,
        digest,
        (function, capture, owner, filled("triggers", comment=comment, **names)),
    )


def hash_in_comment(comment: str | None) -> str | None:
    """The definition hash that a guard's comment carries, or None."""
    prefix, _, digest = (comment or "").rpartition(" ")
    return digest if prefix == "accountdb guard" else None


def _unchanged(table: Table) -> sql.Composed:
    """That NEW claims, refers to, lives and meets its constraints as OLD does."""
    claimed = {column for index in table.unique_indexes for column in index.columns}
    referring_columns = {column for reference in table.references for column in reference.child_columns}
    watched = sorted({"uuid", "created_at"} | claimed | referring_columns | set(table.checked))
    same = [
        sql.SQL("NEW.{0} IS NOT DISTINCT FROM OLD.{0}").format(sql.Identifier(name))
        for name in watched
        if not _is_generated(table, name)
    ]
    return sql.SQL(" AND ").join(same)


def _is_generated(table: Table, name: str) -> bool:
    column = table.column(name)
    return column is not None and column.generated


def _write(name: str, table: Table) -> sql.Composed:
    columns = [sql.Identifier(column.name) for column in table.columns if not column.generated]
    return filled(
        name,
        table=table.identifier,
        columns=sql.SQL(", ").join(columns),
        incoming_values=sql.SQL(", ").join(sql.SQL("incoming.{}").format(column) for column in columns),
    )


def _inserts(table: Table) -> dict[str, sql.Composable]:
    """The first try and the last. ON CONFLICT takes no deferrable index: there the claims are settled first."""
    if all(index.immediate for index in table.unique_indexes):
        return {"try_insert": _write("try_insert", table), "insert": _write("insert", table)}
    return {"try_insert": sql.SQL(""), "insert": _write("insert_deferrable", table)}


def _related(table: Table, tables: Mapping[tuple[str, str], Table]) -> sql.Composed:
    """What a guard that runs as this table's owner needs on parents and children of other owners."""
    names = {reference.parent for reference in table.references} | {r.child for r in table.referenced_by}
    grants = [
        sql.SQL("GRANT SELECT, UPDATE, DELETE ON {} TO {};").format(sql.Identifier(*name), sql.Identifier(table.owner))
        for name in sorted(names)
        if name in tables and tables[name].owner != table.owner
    ]
    return sql.SQL("\n").join(grants)


def _fill(column: Column) -> sql.Composed:
    """The value of a generated column of the incoming row: a BEFORE trigger gets none."""
    names = [sql.Identifier(base) for base in column.bases]
    return filled(
        "fill_generated",
        column=sql.Identifier(column.name),
        expression=sql.SQL(column.default or "NULL"),
        bases=sql.SQL(", ").join(sql.SQL("incoming.{0} AS {0}").format(name) for name in names),
    )


def _keep(column: Column) -> sql.Composed:
    """Give a generated column of NEW its value: the old one where nothing that it is made of changed."""
    names = [sql.Identifier(base) for base in column.bases]
    changed = [sql.SQL("NEW.{0} IS DISTINCT FROM OLD.{0}").format(name) for name in names]
    return filled(
        "keep_generated",
        column=sql.Identifier(column.name),
        expression=sql.SQL(column.default or "NULL"),
        bases=sql.SQL(", ").join(sql.SQL("NEW.{0} AS {0}").format(name) for name in names),
        changed=sql.SQL(" OR ").join(changed) if changed else sql.SQL("false"),
    )
