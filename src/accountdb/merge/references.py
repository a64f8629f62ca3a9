"""Foreign keys as conditions over a child and its parent p, for statements with parameters."""

from __future__ import annotations

from psycopg import sql

from accountdb.catalog.references import empty, refers
from accountdb.catalog.tables import Reference, Table
from accountdb.merge.writer import FILE, stage_of
from accountdb.pg.names import doubled
from accountdb.sql import block


def conditions(reference: Reference, alias: str) -> dict[str, sql.Composable]:
    """What the child under ``alias`` has to meet: ``parent``, ``empty`` and ``match``."""
    return {
        "parent": doubled(sql.Identifier(*reference.parent)),
        "empty": empty(reference, alias),
        "match": refers(reference, alias, "p"),
    }


def missing(table: Table, reference: Reference) -> sql.Composed:
    """Staged rows whose parent is not here, each with the parent's uuid."""
    return sql.SQL(block(FILE, "missing")).format(
        stage=stage_of(table),
        value=sql.SQL("s.") + doubled(sql.Identifier(reference.child_columns[0])),
        **conditions(reference, "s"),
    )
