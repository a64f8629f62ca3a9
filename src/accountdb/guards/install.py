"""Installing guards, and saying which are installed, outdated or missing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from psycopg.rows import TupleRow

from accountdb.catalog.tables import Table
from accountdb.guards.definition import TRIGGERS, Guard, define, hash_in_comment
from accountdb.pg.connect import Connection
from accountdb.sql import block

# Which triggers of guards are there: a statement and its parameters.
QUESTION = (block("guards/guard.sql", "installed"), {"triggers": list(TRIGGERS)})


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


def states(conn: Connection, tables: Iterable[Table], known: Iterable[Table] | None = None) -> tuple[TableGuard, ...]:
    """The guard's state of each of ``tables``, in their order.

    ``known`` are all tables that the definitions may look at: parents and children (None: ``tables``).
    """
    return states_of(conn.execute(*QUESTION).fetchall(), tables, known)


def states_of(
    rows: Iterable[TupleRow], tables: Iterable[Table], known: Iterable[Table] | None = None
) -> tuple[TableGuard, ...]:
    """The same out of the answer to ``QUESTION``. Pure."""
    tables = tuple(tables)
    by_name = {(table.schema, table.name): table for table in (tables if known is None else known)}
    standing: defaultdict[tuple[str, str], dict[str, tuple[str, str | None]]] = defaultdict(dict)
    for schema, table, trigger, mode, comment in rows:
        standing[schema, table][trigger] = (mode, hash_in_comment(comment))
    return tuple(TableGuard(t.schema, t.name, _state(standing[t.schema, t.name], define(t, by_name))) for t in tables)


def _state(standing: dict[str, tuple[str, str | None]], wanted: Guard) -> GuardState:
    if TRIGGERS.keys() - standing.keys():
        return GuardState.MISSING
    if any(standing[trigger][0] not in (mode, "A") for trigger, mode in TRIGGERS.items()):
        return GuardState.DISABLED
    if any(digest != wanted.hash for _, digest in standing.values()):
        return GuardState.OUTDATED
    return GuardState.INSTALLED


def install(conn: Connection, tables: Iterable[Table], known: Iterable[Table] | None = None) -> tuple[TableGuard, ...]:
    """Install or replace the guards that are not current. Returns those that it touched.

    ``known`` as in ``states``. Runs in the caller's transaction. The role must own the tables.
    """
    tables = tuple(tables)
    by_name = {(table.schema, table.name): table for table in (tables if known is None else known)}
    stale = [g for g in states(conn, tables, by_name.values()) if g.state is not GuardState.INSTALLED]
    for guard in stale:
        for statement in define(by_name[guard.schema, guard.table], by_name).statements:
            conn.execute(statement)
    return tuple(stale)
