"""Objects and notes of accountdb's own that nothing uses any more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg import sql

from accountdb.migrations.locks import LOCK_KEY
from accountdb.pg.connect import Connection
from accountdb.setup.cleaning.model import FILE, Action, Care, Leftover, composed, dotted, filled, owner_runs
from accountdb.sql import block, text

_NOTES = ("change_capture", "change_reader")


@dataclass(frozen=True)
class UnusedFunction:
    """A function of a guard or a capture that no trigger calls."""

    oid: int
    name: str
    may: bool
    owner: str


@dataclass(frozen=True)
class Fence:
    """A fence trigger on a table, or, without one, the fence function where no trigger but such calls it."""

    oid: int
    schema: str | None
    table: str | None
    may: bool
    owner: str


@dataclass(frozen=True)
class Note:
    """Rows of one of accountdb's own tables (``table``) about something that is gone."""

    table: str
    about: tuple[str, ...]
    may: bool
    owner: str
    mode: str = ""


@dataclass(frozen=True)
class Facts:
    """What there is in one region. ``migrating`` is the session that migrates;"""

    functions: tuple[UnusedFunction, ...]
    fences: tuple[Fence, ...]
    migrating: int | None
    notes: tuple[Note, ...]
    pending: tuple[Note, ...]


def read(conn: Connection) -> tuple[Facts, tuple[str, ...]]:
    """The facts, and what this role could not look at."""
    readable = {
        name: (may_read, may_delete, owner)
        for name, may_read, may_delete, owner in conn.execute(block(FILE, "readable"))
    }
    hidden = tuple(f"accountdb.{name}" for name, (may_read, _, _) in readable.items() if not may_read)
    there = {name: rights[1:] for name, rights in readable.items() if rights[0]}
    notes = tuple(Note(name, row, *there[name]) for name in _NOTES if name in there for row in _gone(conn, name))
    pending: tuple[Note, ...] = ()
    if {"pending_subscription", "node"} <= there.keys():
        pending = tuple(
            Note("pending_subscription", (name, mode), *there["pending_subscription"], str(now))
            for name, mode, now in conn.execute(block(FILE, "pending"))
        )
    migrating = conn.execute(block(FILE, "migrating"), {"key": LOCK_KEY}).fetchone()
    facts = Facts(
        tuple(UnusedFunction(*row) for row in conn.execute(block(FILE, "functions"))),
        tuple(Fence(*row) for row in conn.execute(block(FILE, "fences"))),
        migrating[0] if migrating else None,
        notes,
        pending,
    )
    return facts, hidden


def _gone(conn: Connection, table: str) -> list[tuple[str, ...]]:
    query = sql.SQL(block(FILE, "gone")).format(table=sql.Identifier(table), gone=sql.SQL(block(FILE, "is_gone")))
    return [(schema, name) for schema, name in conn.execute(query)]


def plan(region: str, facts: Facts) -> tuple[Leftover, ...]:
    """What becomes of each. Pure."""
    return (
        *(_function(region, one) for one in facts.functions),
        *_fences(region, facts),
        *(_note(region, one) for one in facts.notes),
        *(_pending(region, one) for one in facts.pending),
    )


def _function(region: str, one: UnusedFunction) -> Leftover:
    return Leftover(
        region,
        "function",
        dotted("accountdb", one.name) + "()",
        Action.REMOVE if one.may else Action.BY_HAND,
        composed("DROP FUNCTION {}()", sql.Identifier("accountdb", one.name)),
        "no trigger calls it: its table or its triggers are gone",
        "" if one.may else owner_runs(one.owner),
        state=(one.oid,),
    )


def _fences(region: str, facts: Facts) -> Iterable[Leftover]:
    for one in facts.fences:
        if one.schema is None or one.table is None:
            # A function that the schema itself has is in its place.
            if "accountdb.fence()" in text("schema.sql"):
                continue
            kind, name = "function", "accountdb.fence()"
            statement = "DROP FUNCTION accountdb.fence()"
        else:
            kind, name = "fence", f"accountdb_fence on {dotted(one.schema, one.table)}"
            statement = composed("DROP TRIGGER accountdb_fence ON {}", sql.Identifier(one.schema, one.table))
        action, why, note = Action.REMOVE, "a migration that was broken off left it, and none runs now", ""
        if facts.migrating is not None:
            action, statement, why = Action.KEEP, "", f"session {facts.migrating} migrates and may need it"
        elif not one.may:
            action, note = Action.BY_HAND, owner_runs(one.owner)
        yield Leftover(region, kind, name, action, statement, why, note, (one.oid,), Care.MIGRATION)


def _note(region: str, one: Note) -> Leftover:
    schema, name = one.about
    statement = filled(
        "forget",
        table=sql.Identifier(one.table),
        schema_name=sql.Literal(schema),
        table_name=sql.Literal(name),
        gone=sql.SQL(" ".join(block(FILE, "is_gone").split())),
    )
    return Leftover(
        region,
        "note",
        f"accountdb.{one.table} on {dotted(*one.about)}",
        Action.REMOVE if one.may else Action.BY_HAND,
        statement,
        "what pgsync has noted of a table that is gone",
        "" if one.may else owner_runs(one.owner),
    )


def _pending(region: str, one: Note) -> Leftover:
    name, mode = one.about
    return Leftover(
        region,
        "waiting subscription",
        dotted(name),
        Action.REMOVE if one.may else Action.BY_HAND,
        filled("forget_pending", name=sql.Literal(name)),
        f"it waits for a provider of mode {mode}, and this region is in mode {one.mode}",
        "" if one.may else owner_runs(one.owner),
    )
