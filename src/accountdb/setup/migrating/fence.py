"""The fence: local writes of some tables are turned away while the streams run dry and their structure changes."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql

from accountdb.migrations.locks import LOCK_KEY
from accountdb.migrations.steps import Patience
from accountdb.pg import session
from accountdb.pg.connect import Connection
from accountdb.sql import block

_FILE = "setup_migrating.sql"


def up(conn: Connection, tables: Iterable[sql.Identifier], patience: Patience) -> None:
    """Raise the fence around ``tables``, in the caller's transaction: from its commit on nobody writes them here.

    The session holds the migration lock. Raises psycopg.errors.LockNotAvailable while somebody writes.
    """
    session.act_as_owner(conn)
    conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{patience.lock_timeout_ms}ms")))
    conn.execute(_filled("fence", key=sql.Literal(LOCK_KEY)))
    for table in tables:
        conn.execute(_filled("raise_fence", table=table))
    conn.execute("RESET ROLE")


def down(conn: Connection, patience: Patience) -> tuple[str, ...]:
    """Take every fence of this region down, in the caller's transaction. Returns the tables that had one.

    Raises psycopg.errors.LockNotAvailable while somebody reads one of them without end.
    """
    found = conn.execute(block(_FILE, "fenced")).fetchall()
    if found:
        session.act_as_owner(conn)
        conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{patience.lock_timeout_ms}ms")))
        for schema, table in found:
            conn.execute(_filled("drop_fence", table=sql.Identifier(schema, table)))
        conn.execute(_filled("drop_function"))
        conn.execute("RESET ROLE")
    return tuple(f"{schema}.{table}" for schema, table in found)


def _filled(name: str, **parts: sql.Composable) -> sql.Composed:
    return sql.SQL(block(_FILE, name)).format(**parts)
