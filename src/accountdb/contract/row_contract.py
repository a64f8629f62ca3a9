"""The row contract: what every replicated table must carry, and what is missing where it does not."""

from __future__ import annotations

from collections.abc import Iterable

from accountdb.catalog.tables import Column, Table

# The account tables, parents before children. Compare, copy and delete follow this order.
ACCOUNT_TABLES = ("users", "identities", "sessions", "admin_settings", "subscriptions")

# Tables that other tools keep in public and that no region shares with another.
_NOT_REPLICATED = {
    "schema_migrations": "golang-migrate's own ledger",
}

_COLUMNS = {
    "created_at": "timestamp with time zone",
    "updated_at": "timestamp with time zone",
    "version": "bigint",
    "origin_node": "text",
}
_TRIGGERS = ("set_updated_at", "bump_version")


def candidates(tables: Iterable[Table], exclude: Iterable[str] = ()) -> tuple[Table, ...]:
    """The tables that are meant to be replicated: all but other tools' own and ``exclude``."""
    left_out = {*_NOT_REPLICATED, *exclude}
    return tuple(table for table in tables if table.name not in left_out)


def violations(table: Table) -> tuple[str, ...]:
    """What ``table`` lacks of the row contract, each as one phrase; empty when it holds."""
    found: list[str] = []
    if table.primary_key != ("uuid",):
        key = ", ".join(table.primary_key) or "none"
        found.append(f"its primary key is ({key}), not (uuid)")
    found.extend(_column_faults(table))
    found.extend(_sequence_faults(table))
    active = {trigger.function for trigger in table.row_triggers if trigger.mode == "O"}
    found.extend(
        f"no BEFORE UPDATE trigger calls {function}(), or it is not in origin mode"
        for function in _TRIGGERS
        if function not in active
    )
    return tuple(found)


def _column_faults(table: Table) -> list[str]:
    faults: list[str] = []
    uuid = table.column("uuid")
    if uuid is not None and uuid.type != "uuid":
        faults.append(f"column uuid is {uuid.type}, not uuid")
    elif uuid is not None and "gen_random_uuid" not in (uuid.default or ""):
        faults.append("column uuid has no DEFAULT gen_random_uuid()")
    for name, type_ in _COLUMNS.items():
        column = table.column(name)
        if column is None:
            faults.append(f"column {name} {type_} is missing")
        elif column.type != type_ or not column.not_null:
            null = "NOT NULL" if column.not_null else "NULL"
            faults.append(f"column {name} is {column.type} {null}, not {type_} NOT NULL")
    return faults


def _sequence_faults(table: Table) -> list[str]:
    def counts(column: Column) -> bool:
        return column.identity or column.uses_sequence

    return [
        f"column {column.name} takes its value from a sequence, which collides between regions"
        for column in table.columns
        if counts(column)
    ]
