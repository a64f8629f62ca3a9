"""Columns that are declared secret: by ``accountdb: secret`` in their comment."""

from __future__ import annotations

from accountdb.pg.connect import Connection
from accountdb.sql import block


def declared_secrets(conn: Connection) -> dict[tuple[str, str], frozenset[str]]:
    """The secret columns that comments declare, by schema and table."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    for schema, table, column in conn.execute(block("catalog/tables.sql", "secrets")):
        found[schema, table] = found.get((schema, table), frozenset()) | {column}
    return found
