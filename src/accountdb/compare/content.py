"""The content of whole tables, as row count and hash."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg import sql

from accountdb.catalog.tables import Table
from accountdb.compare.columns import HashKind, row_hash
from accountdb.compare.session import FILE
from accountdb.pg.connect import Connection
from accountdb.pg.names import doubled
from accountdb.sql import block


@dataclass(frozen=True)
class TableContent:
    """A table's rows as a count and an order-free hash of 64 bits.

    Two regions of one major version with the same columns hold the same rows when both agree.
    """

    table: str
    rows: int
    hash: int

    @property
    def digest(self) -> str:
        """The hash as 16 hexadecimal digits."""
        return f"{self.hash & 0xFFFF_FFFF_FFFF_FFFF:016x}"


def read_content(conn: Connection, tables: Iterable[Table]) -> dict[str, TableContent]:
    """The content of ``tables``, by name. Columns are taken by name order, not by position."""
    found: dict[str, TableContent] = {}
    with conn.transaction():
        conn.execute(block(FILE, "session"), {"local": True})
        for table in tables:
            columns = sorted(table.columns, key=lambda column: column.name)
            key = [column for column in columns if column.name in table.primary_key]
            hash_ = row_hash(columns, key or columns, HashKind.RECORD)
            statement = sql.SQL(block(FILE, "count")).format(hash=hash_, table=doubled(table.identifier))
            row = conn.execute(statement, {"unused": None}).fetchone()
            assert row is not None
            found[table.name] = TableContent(table.name, *row)
    return found


def differing(a: dict[str, TableContent], b: dict[str, TableContent]) -> tuple[str, ...]:
    """Names of the tables that both sides have and that differ, in name order."""
    return tuple(sorted(name for name in a.keys() & b.keys() if a[name] != b[name]))
