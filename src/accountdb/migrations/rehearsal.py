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
        seen = set(_locks(conn))
        for step in steps:
            if not step.script.together:
                found += [
                    Rehearsed(step.title, s.line, _first_line(s.text), None, (), (), hazards(s))
                    for s in step.script.statements
                ]
                continue
            for statement in step.script.statements:
                before = _files(conn)
                began = time.monotonic()
                try:
                    conn.execute(statement.text.encode())
                except psycopg.Error as error:
                    raise explained(error, step, statement) from error
                seconds = time.monotonic() - began
                locks = [lock for lock in _locks(conn) if lock not in seen]
                after = _files(conn)
                found.append(
                    Rehearsed(
                        step.title,
                        statement.line,
                        _first_line(statement.text),
                        seconds,
                        # A table that the statement makes is locked too, and nobody minds.
                        tuple(lock for lock in locks if lock.table in before),
                        tuple(sorted(t for t, file in before.items() if after.get(t, file) != file)),
                        hazards(statement),
                    )
                )
                seen.update(locks)
    finally:
        if not conn.broken:
            conn.rollback()
    return tuple(found)


def _locks(conn: Connection) -> list[TableLock]:
    rows = conn.execute(block(_FILE, "locks"))
    return [TableLock(f"{schema}.{name}", mode) for schema, name, mode in rows if mode != "AccessShareLock"]


def _files(conn: Connection) -> dict[str, int]:
    return {f"{schema}.{name}": file for schema, name, file in conn.execute(block(_FILE, "files"))}


def _first_line(text: str) -> str:
    return " ".join(text.split())[:100]
