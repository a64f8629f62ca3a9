"""Running pending files in a transaction that is rolled back, to see what each statement really locks and rewrites."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from accountdb.migrations.hazards import Hazard, hazards
from accountdb.migrations.planning import Step
from accountdb.migrations.steps import Patience, begin, explained
from accountdb.pg.connect import Connection
from accountdb.script.statements import Statement
from accountdb.sql import block

_FILE = "migrations.sql"


@dataclass(frozen=True)
class TableLock:
    """A lock that a statement took: the table, and the mode as PostgreSQL calls it."""

    table: str
    mode: str


@dataclass(frozen=True)
class Rehearsed:
    """One statement that was run. ``rewritten``: tables whose rows were all written again.

    ``seconds`` is None for one that cannot be in a transaction, which was not run.
    """

    title: str
    line: int
    text: str
    seconds: float | None
    locks: tuple[TableLock, ...]
    rewritten: tuple[str, ...]
    hazards: tuple[Hazard, ...]


def rehearse(conn: Connection, steps: Sequence[Step], patience: Patience) -> tuple[Rehearsed, ...]:
    """Run ``steps`` statement by statement and take everything back. Raises as the run itself."""
    found: list[Rehearsed] = []
    if not steps:
        return ()
    try:
        begin(conn, patience.lock_timeout_ms)
        seen = _locks(conn)
        for step in steps:
            if not step.script.together:
                found += [
                    Rehearsed(step.title, s.line, _first_line(s.text), None, (), (), hazards(s))
                    for s in step.script.statements
                ]
                continue
            for statement in step.script.statements:
                done, seen = _run(conn, step, statement, seen)
                found.append(done)
    finally:
        if not conn.broken:
            conn.rollback()
    return tuple(found)


def _run(
    conn: Connection, step: Step, statement: Statement, seen: frozenset[tuple[int, str]]
) -> tuple[Rehearsed, frozenset[tuple[int, str]]]:
    """Run one statement. ``seen``: the locks before it, by relation and mode; also returned as they are after it."""
    before = _relations(conn)
    began = time.monotonic()
    try:
        conn.execute(statement.text.encode())
    except psycopg.Error as error:
        raise explained(error, step, statement) from error
    seconds = time.monotonic() - began
    locks = _locks(conn)
    after = _relations(conn)
    done = Rehearsed(
        step.title,
        statement.line,
        _first_line(statement.text),
        seconds,
        # A table that the statement makes is locked too, and nobody minds.
        tuple(
            sorted(
                (TableLock(before[oid][0], mode) for oid, mode in locks - seen if oid in before),
                key=lambda lock: (lock.table, lock.mode),
            )
        ),
        tuple(sorted(name for oid, (name, file) in before.items() if after.get(oid, (name, file))[1] != file)),
        hazards(statement),
    )
    return done, locks | seen


def _locks(conn: Connection) -> frozenset[tuple[int, str]]:
    """What is locked in another way than any reader does."""
    return frozenset((oid, mode) for oid, mode in conn.execute(block(_FILE, "locks")) if mode != "AccessShareLock")


def _relations(conn: Connection) -> dict[int, tuple[str, int]]:
    return {oid: (f"{schema}.{name}", file) for oid, schema, name, file in conn.execute(block(_FILE, "relations"))}


def _first_line(text: str) -> str:
    return " ".join(text.split())[:100]
