"""The capture trigger of a source table: its definition, its installation, its state."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from enum import StrEnum

from psycopg import sql

from accountdb.catalog.tables import Column, Table
from accountdb.pg.connect import Connection
from accountdb.pg.names import dollar_quoted, function_name
from accountdb.sql import block

FILE = "sync/capture.sql"

# Keys whose text depends on what the writer's session has set.
_SETTINGS = {
    "timestamp": ("TimeZone = 'UTC'", "DateStyle = 'ISO, YMD'"),
    "date": ("DateStyle = 'ISO, YMD'",),
    "time": ("TimeZone = 'UTC'",),
    "interval": ("IntervalStyle = 'postgres'",),
    "real": ("extra_float_digits = 1",),
    "double": ("extra_float_digits = 1",),
    "bytea": ("bytea_output = 'hex'",),
}
_TRIGGERS = frozenset({"accountdb_capture", "accountdb_capture_truncate"})


class Capture(StrEnum):
    """How a pass learns what changed in a table."""

    LOG = "log"
    """From the change log that a trigger writes: cost follows the changes."""
    XMIN = "xmin"
    """From the rows' own transaction ids: nothing is installed, and each pass reads the table."""


def definition(table: Table) -> tuple[sql.Composed, sql.Composed]:
    """The function and the triggers that log changes of ``table``, which must have a primary key. Pure."""
    names: dict[str, sql.Composable] = {
        "function": sql.Identifier("accountdb", function_name("capture", table.schema, table.name)),
        "table": table.identifier,
        "schema_name": sql.Literal(table.schema),
        "table_name": sql.Literal(table.name),
    }
    key = [column for name in table.primary_key if (column := table.column(name))]
    function = dollar_quoted(
        block(FILE, "trigger_function"),
        "capture",
        {
            **names,
            "settings": sql.SQL(" ".join(f"SET {setting}" for setting in _settings(key))),
            "old_key": _key("OLD", key),
            "new_key": _key("NEW", key),
            "same_key": sql.SQL(" AND ").join(
                sql.SQL("OLD.{0}::text = NEW.{0}::text").format(sql.Identifier(column.name)) for column in key
            ),
        },
    )
    return function, sql.SQL(block(FILE, "triggers")).format(comment=sql.Literal(_comment(function)), **names)


def _comment(function: sql.Composed) -> str:
    digest = hashlib.sha256(function.as_string().encode()).hexdigest()[:16]
    return f"accountdb capture {digest}"


def _key(row: str, key: Iterable[Column]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL(row + ".{}::text").format(sql.Identifier(column.name)) for column in key)


def _settings(key: Iterable[Column]) -> list[str]:
    found = {
        setting
        for column in key
        for start, settings in _SETTINGS.items()
        if column.base_type.startswith(start)
        for setting in settings
    }
    return sorted(found)


def captured(conn: Connection, tables: Iterable[Table]) -> set[tuple[str, str]]:
    """Those of ``tables`` whose changes are logged, by the definition of this version."""
    row = conn.execute(block(FILE, "there")).fetchone()
    if not (row and row[0]):
        return set()
    standing: defaultdict[tuple[str, str], dict[str, tuple[str, str | None]]] = defaultdict(dict)
    for schema, name, trigger, mode, comment in conn.execute(block(FILE, "installed")):
        standing[schema, name][trigger] = (mode, comment)
    return {(t.schema, t.name) for t in tables if t.primary_key and _current(t, standing[t.schema, t.name])}


def _current(table: Table, standing: dict[str, tuple[str, str | None]]) -> bool:
    function, _ = definition(table)
    return standing.keys() == _TRIGGERS and all(found == ("A", _comment(function)) for found in standing.values())


def install(conn: Connection, tables: Iterable[Table]) -> tuple[Table, ...]:
    """Log the changes of ``tables`` from this transaction on. Returns those for which that is new.

    Runs in the caller's transaction; the role must own the tables. Waits for the writers of each.
    """
    tables = tuple(tables)
    # Before the log is there: triggers that wrote to another one are installed anew.
    known = captured(conn, tables)
    conn.execute(block(FILE, "log"))
    new = tuple(table for table in tables if (table.schema, table.name) not in known)
    for table in new:
        for statement in definition(table):
            conn.execute(statement)
        conn.execute(block(FILE, "complete_from"), {"schema": table.schema, "table": table.name})
    return new


def remove(conn: Connection, table: Table) -> None:
    """Log the changes of ``table`` no more."""
    function = sql.Identifier("accountdb", function_name("capture", table.schema, table.name))
    conn.execute(sql.SQL(block(FILE, "remove")).format(table=table.identifier, function=function))
