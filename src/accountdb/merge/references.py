"""Foreign keys as conditions over a child and its parent p, for statements with parameters."""

from __future__ import annotations

from psycopg import sql

from accountdb.catalog.tables import Reference, Table
from accountdb.merge.writer import FILE, stage_of
from accountdb.pg.names import doubled
from accountdb.sql import block


def conditions(reference: Reference, alias: str) -> dict[str, sql.Composable]:
    """What the child under ``alias`` has to meet: ``parent``, ``empty`` and ``match``."""
    child = [sql.SQL(alias + ".") + doubled(sql.Identifier(name)) for name in reference.child_columns]
    match = [
        sql.SQL("p.{} OPERATOR({}.{}) {}").format(
            doubled(sql.Identifier(parent)), doubled(sql.Identifier(schema)), doubled(sql.SQL(operator)), column
        )
        for (parent, (schema, operator), _), column in zip(reference.equalities, child, strict=True)
    ]
    return {
        "parent": doubled(sql.Identifier(*reference.parent)),
        "empty": sql.SQL(" OR ").join(column + sql.SQL(" IS NULL") for column in child),
        "match": sql.SQL(" AND ").join(match),
    }


def missing(table: Table, reference: Reference) -> sql.Composed:
    """Staged rows whose parent is not here, each with the parent's uuid."""
    return sql.SQL(block(FILE, "missing")).format(
        stage=stage_of(table),
        value=sql.SQL("s.") + doubled(sql.Identifier(reference.child_columns[0])),
        **conditions(reference, "s"),
    )


def child_matches(reference: Reference, child: str, parent: str) -> sql.Composed:
    """That the row under alias ``child`` refers to the one under alias ``parent``."""
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
