"""Secondary indexes made after a table is filled: once over all rows, not row by row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from accountdb.catalog.tables import Table
from accountdb.pg.connect import Connection
from accountdb.sql import block

_FILE = "transfer/indexes.sql"


@contextmanager
def indexes_later(conn: Connection, table: Table) -> Iterator[None]:
    """The block fills ``table``, of which the caller's transaction has the lock, and whose owner it acts for.

    Indexes that can be made again from their definition alone are dropped before and made after it.
    """
    indexes = conn.execute(block(_FILE, "deferrable"), {"schema": table.schema, "table": table.name}).fetchall()
    for name, _, _ in indexes:
        conn.execute(sql.SQL(block(_FILE, "drop")).format(index=sql.Identifier(table.schema, name)))
    yield
    conn.execute("SELECT pg_catalog.set_config('maintenance_work_mem', '128MB', true)")
    for name, definition, comment in indexes:
        conn.execute(definition.encode())
        if comment is not None:
            index = sql.Identifier(table.schema, name)
            conn.execute(sql.SQL(block(_FILE, "comment")).format(index=index, comment=sql.Literal(comment)))
