"""Running one file: in the caller's transaction, or statement by statement where it cannot be in one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.pq import ExecStatus

from accountdb.errors import AccountdbError
from accountdb.migrations import ledger
from accountdb.migrations.ledger import Journal
from accountdb.migrations.planning import Step
from accountdb.pg import session
from accountdb.pg.connect import Connection, told
from accountdb.pg.names import named_in
from accountdb.script.statements import Statement
from accountdb.sql import block

_FILE = "migrations.sql"
_LOCKED = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
_DONE = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK, ExecStatus.EMPTY_QUERY)

Look = Callable[[Connection], str | None]
"""How the structure of a region is told in one word, inside its transaction: its fingerprint."""


@dataclass(frozen=True)
class Patience:
    """How long a statement may keep others waiting behind it for a lock, and how long all tries may take."""

    lock_timeout_ms: int = 2_000
    wait_s: float = 30.0


class LockedError(AccountdbError):
    """Another session holds what a statement needs; the same may go through in a moment."""


def run_step(conn: Connection, step: Step, *, lock_timeout_ms: int) -> float:
    """Run all statements of ``step`` in the caller's transaction; the seconds that they took.

    Raises AccountdbError, with the file's line, and LockedError where a lock was not to be had. Then
    the transaction is rolled back.
    """
    began = time.monotonic()
    begin(conn, lock_timeout_ms)
    run_statements(conn, step, step.script.statements)
    return time.monotonic() - began


def begin(conn: Connection, lock_timeout_ms: int) -> None:
    """Set up a transaction that runs migrations: as the owner of what it makes, and never waiting for long."""
    session.act_as_owner(conn)
    conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{lock_timeout_ms}ms")))
    ledger.prepare(conn)


def run_statements(conn: Connection, step: Step, statements: Sequence[Statement]) -> None:
    """Send ``statements``, and wait for them all. Errors as ``run_step``."""
    sent: list[psycopg.Cursor[tuple[object, ...]]] = []
    try:
        with session.pipelined(conn):
            for statement in statements:
                sent.append(conn.execute(statement.text.encode()))
    except psycopg.Error as error:
        failed = next((n for n, cursor in enumerate(sent) if not _done(cursor)), min(len(sent), len(statements) - 1))
        conn.rollback()
        raise explained(error, step, statements[failed]) from error


def _done(cursor: psycopg.Cursor[tuple[object, ...]]) -> bool:
    return cursor.pgresult is not None and cursor.pgresult.status in _DONE


def explained(error: psycopg.Error, step: Step, statement: Statement) -> AccountdbError:
    """A server's error as one line that names the file and the line in it."""
    reason = told(error)
    hint = reason.hint
    if hint is None and isinstance(error, psycopg.errors.InsufficientPrivilege):
        hint = "run it as the owner of the database, or as an administrator"
    position = error.diag.statement_position
    line = statement.line_at(int(position) if position else None)
    kind = LockedError if isinstance(error, _LOCKED) else AccountdbError
    return kind(f"migration {step.title}, line {line}: {reason.message}", hint=hint)


# --- statement by statement ---------------------------------------------------------------------------------

# What PostgreSQL runs in no transaction. All else goes with its note in one: it is done, or it is not.
_ALONE = re.compile(
    r"(create (unique )?index concurrently|drop index concurrently|reindex\b.*\bconcurrently|vacuum\b"
    r"|alter table .* detach partition .* concurrently|create database|drop database|alter system|cluster$"
    r"|refresh materialized view concurrently)\b",
)
_NAME = r'((?:"(?:[^"]|"")+"|[^\s"(.]+)(?:\s*\.\s*(?:"(?:[^"]|"")+"|[^\s"(.]+))?)'
_BUILD = re.compile(
    rf"create\s+(?:unique\s+)?index\s+concurrently\s+(?:if\s+not\s+exists\s+)?{_NAME}\s+on\s+(?:only\s+)?{_NAME}",
    re.IGNORECASE,
)
_UNNAMED = re.compile(r"create (unique )?index concurrently on\b")


def run_apart(conn: Connection, step: Step, journal: Journal, look: Look, patience: Patience) -> None:
    """Run ``step`` statement by statement, from where an earlier run has come, and note it as done.

    The connection is not inside a transaction. Raises as ``run_step``; what is done stays done and is
    noted, so that the same command goes on behind it. An index that is left invalid, by a
    statement that failed or was killed, is dropped first.
    """
    began = time.monotonic()
    with conn.transaction():
        session.act_as_owner(conn)
        ledger.prepare(conn)
        before = look(conn)
    begun, done = ledger.progress(conn, step)
    conn.commit()
    for number, statement in enumerate(step.script.statements, 1):
        if number <= done:
            continue
        if _ALONE.match(statement.head):
            # It keeps nobody from working while it waits.
            _run_alone(conn, step, number, again=begun >= number, lock_timeout_ms=int(patience.wait_s * 1000))
        else:
            with conn.transaction():
                begin(conn, patience.lock_timeout_ms)
                run_statements(conn, step, [statement])
                ledger.note_progress(conn, step, number, number)
    with conn.transaction():
        session.act_as_owner(conn)
        journal.note(conn, step, time.monotonic() - began, before, look(conn))


def _run_alone(conn: Connection, step: Step, number: int, *, again: bool, lock_timeout_ms: int) -> None:
    """Run a statement outside of a transaction. ``again``: an earlier run began it, and nobody knows how it ended."""
    statement = step.script.statements[number - 1]
    with conn.transaction():
        session.act_as_owner(conn)
        ledger.note_progress(conn, step, number, number - 1)
    conn.autocommit = True
    try:
        with _as_owner(conn, lock_timeout_ms):
            if not (_cleaned(conn, step, statement) and again):
                _send_alone(conn, step, statement, again=again)
    finally:
        if not conn.broken:
            conn.autocommit = False
    with conn.transaction():
        session.act_as_owner(conn)
        ledger.note_progress(conn, step, number, number)


def _send_alone(conn: Connection, step: Step, statement: Statement, *, again: bool) -> None:
    try:
        conn.execute(statement.text.encode())
    except psycopg.errors.UndefinedObject as error:
        if not (again and statement.head.startswith("drop index concurrently")):
            raise explained(error, step, statement) from error
    except psycopg.Error as error:
        if not conn.broken:
            with suppress(psycopg.Error, LockedError):
                _cleaned(conn, step, statement)
        raise explained(error, step, statement) from error


class _as_owner:  # noqa: N801 - used as a with statement's verb
    """The session's role and time limit for statements that are in no transaction."""

    def __init__(self, conn: Connection, lock_timeout_ms: int) -> None:
        self._conn = conn
        self._timeout = lock_timeout_ms

    def __enter__(self) -> None:
        owner = session.owner(self._conn)
        if owner is not None:
            self._conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(owner)))
        self._conn.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(f"{self._timeout}ms")))

    def __exit__(self, *_: object) -> None:
        if not self._conn.broken:
            self._conn.execute("RESET lock_timeout")
            self._conn.execute("RESET ROLE")


def _cleaned(conn: Connection, step: Step, statement: Statement) -> bool:
    """Drop the invalid index that this statement left behind. True where its index stands, and is valid."""
    if _UNNAMED.match(statement.head):
        raise AccountdbError(
            f"migration {step.title}, line {statement.line}: an index without a name cannot be found again if it fails",
            hint="give the index a name: CREATE INDEX CONCURRENTLY name ON ...",
        )
    match = _BUILD.match(statement.bare)
    if match is None:
        return False
    name, table = match.groups()
    found = conn.execute(block(_FILE, "index"), {"name": named_in(name), "table": table}).fetchone()
    if found is None:
        return False
    valid, being_built, schema, index = found
    if being_built:
        raise LockedError(f"migration {step.title}, line {statement.line}: another session builds index {name} now")
    if not valid:
        conn.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(schema, index)))
    return bool(valid)
