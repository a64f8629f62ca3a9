"""Foreign keys as conditions over rows, for statements with parameters. Pure."""

from __future__ import annotations

from psycopg import sql

from accountdb.catalog.tables import Reference
from accountdb.pg.names import doubled


def refers(reference: Reference, child: str, parent: str) -> sql.Composed:
    """That the row under the alias ``child`` refers to the one under ``parent``."""
    return sql.SQL(" AND ").join(
        sql.SQL("{}.{} OPERATOR({}.{}) {}.{}").format(
            sql.SQL(parent),
            doubled(sql.Identifier(above)),
            doubled(sql.Identifier(schema)),
            doubled(sql.SQL(operator)),
            sql.SQL(child),
            doubled(sql.Identifier(below)),
        )
        for above, (schema, operator), below in reference.equalities
    )


def empty(reference: Reference, child: str) -> sql.Composed:
    """That the row under the alias ``child`` refers to none."""
    return sql.SQL(" OR ").join(
        sql.SQL("{}.{} IS NULL").format(sql.SQL(child), doubled(sql.Identifier(name)))
        for name in reference.child_columns
    )
