"""The definition of one table's guard, generated from its shape. Pure: text out, no I/O."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from psycopg import sql

from accountdb.catalog.tables import Column, Table
from accountdb.sql import block

TRIGGER = "accountdb_guard"
_FILE = "guards/guard.sql"
_MAX_IDENTIFIER_BYTES = 63


@dataclass(frozen=True)
class Guard:
    """One table's guard: the statements that install it, and the hash that its comment carries."""

    schema: str
    table: str
    hash: str
    statements: tuple[sql.Composed, ...]


def define(table: Table) -> Guard:
    """The guard of ``table``, which must be under the row contract."""
    names = {
        "function": sql.Identifier("accountdb", function_name(table.schema, table.name)),
        "table": table.identifier,
        "trigger": sql.Identifier(TRIGGER),
        "owner": sql.Identifier(table.owner),
        "generated": sql.Literal([column.name for column in table.generated]) + sql.SQL("::text[]"),
        "key": _key(table),
        "keep_generated": sql.SQL("\n").join(_keep(column) for column in table.generated),
    }
    body = _filled("function", **names) + _filled("trigger", comment=sql.SQL("''"), **names)
    digest = hashlib.sha256(body.as_string().encode()).hexdigest()[:16]
    comment = sql.Literal(f"accountdb guard {digest}")
    return Guard(
        table.schema,
        table.name,
        digest,
        (
            _filled("function", **names),
            _filled("owner", **names),
            _filled("trigger", comment=comment, **names),
        ),
    )


def function_name(schema: str, table: str) -> str:
    """The guard function's name in the schema accountdb, unique for each table, 63 bytes at most."""
    name = f"guard_{table}" if schema == "public" else f"guard_{schema}.{table}"
    if len(name.encode()) <= _MAX_IDENTIFIER_BYTES:
        return name
    return f"guard_{hashlib.sha256(f'{schema}.{table}'.encode()).hexdigest()[:40]}"


def hash_in_comment(comment: str | None) -> str | None:
    """The definition hash that a guard's comment carries, or None."""
    prefix, _, digest = (comment or "").rpartition(" ")
    return digest if prefix == "accountdb guard" else None


def _key(table: Table) -> sql.Composed:
    pairs = [sql.SQL("{}, OLD.{}").format(sql.Literal(name), sql.Identifier(name)) for name in table.primary_key]
    return sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(pairs))


def _keep(column: Column) -> sql.Composed:
    """Give a generated column of NEW its value: the old one where nothing that it is made of changed."""
    names = [sql.Identifier(base) for base in column.bases]
    return _filled(
        "keep_generated",
        column=sql.Identifier(column.name),
        expression=sql.SQL(column.default or "NULL"),
        bases=sql.SQL(", ").join(sql.SQL("NEW.{0} AS {0}").format(name) for name in names),
        changed=sql.SQL(" OR ").join(sql.SQL("NEW.{0} IS DISTINCT FROM OLD.{0}").format(name) for name in names)
        if names
        else sql.SQL("false"),
    )


def _filled(name: str, **parts: sql.Composable) -> sql.Composed:
    # psycopg wants a literal to keep injected text out; this is the package's own file.
    return sql.SQL(block(_FILE, name)).format(**parts)
