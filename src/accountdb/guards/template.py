"""Filling the guard's templates, and the names that most of them share."""

from __future__ import annotations

from psycopg import sql

from accountdb.catalog.tables import Table
from accountdb.pg.names import dollar_quoted
from accountdb.sql import block

_FILE = "guards/guard.sql"


def filled(name: str, **parts: sql.Composable) -> sql.Composed:
    """The template ``name`` of the package's own file, with its braces filled. Parts that it lacks are ignored."""
    return sql.SQL(block(_FILE, name)).format(**parts)


def quoted(name: str, **parts: sql.Composable) -> sql.Composed:
    """The same for a function: its body in dollar quotes with a tag that nothing in it can end."""
    return dollar_quoted(block(_FILE, name), "guard", parts)


def names_of(table: Table) -> dict[str, sql.Composable]:
    """How every template names its table."""
    return {
        "table": table.identifier,
        "schema_name": sql.Literal(table.schema),
        "table_name": sql.Literal(table.name),
        "generated": sql.Literal([column.name for column in table.generated]) + sql.SQL("::text[]"),
    }


def comment_text(name: str) -> sql.SQL:
    """A name for a comment line of generated SQL: no line break gets through."""
    return sql.SQL(" ".join(name.split()))
