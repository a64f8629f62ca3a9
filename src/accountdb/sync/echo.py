"""What a pass wrote at the target, and the source holds alike, is marked in the target's log: it need not go back.

Not by the capture trigger, which cannot know: what a guard made of a row that came does have to go back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from psycopg import sql

from accountdb.catalog.tables import Table
from accountdb.compare.model import Key
from accountdb.pg.connect import Connection
from accountdb.sql import block
from accountdb.sync.capture import captured

FILE = "sync/echo.sql"


def mark_equal(conn: Connection, name: tuple[str, str], source: str, keys: Iterable[Key]) -> None:
    """What this transaction logged of a table, for rows that ``source`` holds alike."""
    if not _logged(conn):
        return
    conn.execute(block(FILE, "equal"))
    with conn.cursor() as cursor, cursor.copy(block(FILE, "receive")) as copy:
        for key in keys:
            copy.write_row(key)
    conn.execute(block(FILE, "mark_equal"), _values(name, source))
    conn.execute(block(FILE, "forget"))


def mark_all(conn: Connection, name: tuple[str, str], source: str) -> None:
    """All that this transaction has logged of a table so far."""
    if _logged(conn):
        conn.execute(block(FILE, "mark_all"), _values(name, source))


def mark_deaths(conn: Connection, source: str) -> None:
    """The tombstones of lives of which the source's own tombstone is here."""
    if _logged(conn):
        conn.execute(block(FILE, "mark_deaths"), {"source": source})


def unread(conn: Connection, tables: Iterable[Table], source: str) -> Callable[[Table], sql.Composable | None]:
    """A condition on row t of a table here: that no job has brought its last change to ``source`` yet.

    None where the change log cannot tell.
    """
    known = captured(conn, tables) if _logged(conn) else set()

    def condition(table: Table) -> sql.Composable | None:
        if (table.schema, table.name) not in known:
            return None
        return sql.SQL(block(FILE, "unread")).format(
            source=sql.Literal(source), schema=sql.Literal(table.schema), table=sql.Literal(table.name)
        )

    return condition


def _logged(conn: Connection) -> bool:
    row = conn.execute(block(FILE, "logged")).fetchone()
    return bool(row and row[0])


def _values(name: tuple[str, str], source: str) -> dict[str, str]:
    return {"schema": name[0], "table": name[1], "source": source}
