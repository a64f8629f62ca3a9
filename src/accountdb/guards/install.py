"""Installing guards, and saying which are installed, outdated or missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from accountdb.catalog.tables import Table
from accountdb.guards.definition import TRIGGER, Guard, define, hash_in_comment
from accountdb.pg.connect import Connection
from accountdb.sql import block


class GuardState(StrEnum):
    """How a table's guard stands against the definition that this version of accountdb makes."""

    INSTALLED = "installed"
    OUTDATED = "outdated"
    DISABLED = "disabled"
    MISSING = "missing"


@dataclass(frozen=True)
class TableGuard:
    """The state of one table's guard."""

    schema: str
    table: str
    state: GuardState


def states(conn: Connection, tables: Iterable[Table]) -> tuple[TableGuard, ...]:
    """The guard's state of each of ``tables``, in their order."""
    standing = {
        (schema, table): (mode, hash_in_comment(comment))
        for schema, table, mode, comment in conn.execute(block("guards/guard.sql", "installed"), {"trigger": TRIGGER})
    }
    return tuple(TableGuard(t.schema, t.name, _state(standing.get((t.schema, t.name)), define(t))) for t in tables)


def _state(standing: tuple[str, str | None] | None, wanted: Guard) -> GuardState:
    if standing is None:
        return GuardState.MISSING
    mode, digest = standing
    if mode not in ("R", "A"):
        return GuardState.DISABLED
    return GuardState.INSTALLED if digest == wanted.hash else GuardState.OUTDATED


def install(conn: Connection, tables: Iterable[Table]) -> tuple[TableGuard, ...]:
    """Install or replace the guards that are not current. Returns those that it touched.

    Runs in the caller's transaction. The role must own the tables.
    """
    by_name = {(table.schema, table.name): table for table in tables}
    stale = [g for g in states(conn, by_name.values()) if g.state is not GuardState.INSTALLED]
    for guard in stale:
        for statement in define(by_name[guard.schema, guard.table]).statements:
            conn.execute(statement)
    return tuple(stale)
