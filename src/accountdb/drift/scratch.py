"""A scratch database on the same server: made for one reading, dropped on every way out."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from accountdb.errors import AccountdbError, MissingRightError, UsageError
from accountdb.pg.connect import Connection, connect, session, told
from accountdb.pg.dsn import with_params
from accountdb.pg.session import role
from accountdb.script.statements import Statement
from accountdb.sql import block

PREFIX = "accountdb_scratch_"
_DROP_WORKS_SINCE = (2, 4, 6)
_DROP_WITHIN_MS = 60_000
_NO_OWNERS = "leave owners and grants out: pg_dump --schema-only --no-owner --no-privileges"


@contextmanager
def scratch_database(dsn: str) -> Iterator[str]:
    """The DSN of an empty database on the server of ``dsn``, for as long as the block runs.

    It is made from ``template0``, so nothing that is local to the server is in it. Raises
    MissingRightError for a role that may not create databases, AccountdbError where a database
    could not be dropped again or the server will not make one; one that could not be dropped is
    named, with what to type.
    """
    name = PREFIX + secrets.token_hex(8)
    try:
        _create(dsn, name)
        yield with_params(dsn, dbname=name)
    except BaseException as error:
        # The first failure is what is told; a left-over that it causes is told with it.
        try:
            _drop(dsn, name)
        except AccountdbError as second:
            error.add_note(f"{second.message}; {second.hint}")
        raise
    else:
        _drop(dsn, name)


def _create(dsn: str, name: str) -> None:
    with session(dsn, autocommit=True) as conn:
        refuse_stuck(conn)
        mine = role(conn)
        if not (mine.create_database or mine.superuser):
            raise MissingRightError(
                f"role {mine.name} may not create the scratch database that a schema file is read in",
                hint=f'an administrator may run: ALTER ROLE "{mine.name}" CREATEDB; or leave out --schema',
            )
        encoding = conn.execute(block("drift/scratch.sql", "encoding").encode()).fetchone()
        # Locale C goes with every encoding; no structure depends on it.
        conn.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C'").format(
                sql.Identifier(name), sql.Literal(encoding[0] if encoding else "UTF8")
            )
        )


def refuse_stuck(conn: Connection) -> None:
    """Make nothing where it could not be dropped again.

    PostgreSQL 15 and later wait in DROP DATABASE until every process has answered, and the workers
    of pglogical before 2.4.6 never do: it hangs for any database, even if none has the extension
    (pglogical issues 399, 418 and 500; seen with 2.4.2 on 15.18).
    """
    row = conn.execute(block("drift/scratch.sql", "pglogical").encode()).fetchone()
    if row is None or conn.info.server_version < 150000:
        return
    version = tuple(int(part) for part in re.findall(r"\d+", row[0]))
    if version < _DROP_WORKS_SINCE:
        raise AccountdbError(
            f"pglogical {row[0]} on this server keeps DROP DATABASE waiting for ever, so no scratch database is made",
            hint="leave out --schema, which needs none; or update pglogical to 2.4.6 or later",
        )


def _drop(dsn: str, name: str) -> None:
    statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    try:
        with session(dsn, autocommit=True) as conn:
            conn.execute(f"SET statement_timeout = {_DROP_WITHIN_MS}".encode())
            conn.execute(statement)
    except AccountdbError as error:
        raise AccountdbError(
            f"the scratch database {name} is left behind: {error.message}",
            hint=f"DROP DATABASE IF EXISTS {name} WITH (FORCE)",
        ) from error


def run_statements(dsn: str, script: list[Statement], *, name: str) -> None:
    """Run ``script`` as psql would: each statement by itself, the first error ends it.

    Raises UsageError with the file's line and the server's message; MissingRightError when the
    role lacks a right that the file needs; ConnectError when the server goes away.
    """
    with connect(with_params(dsn, client_encoding="UTF8"), autocommit=True) as conn:
        for statement in script:
            try:
                conn.execute(statement.text.encode())
            except psycopg.Error as error:
                if isinstance(error, psycopg.errors.UndefinedObject) and statement.is_setting:
                    continue  # a newer pg_dump sets what an older server does not know
                raise _of_line(error, statement, name, dsn, lost=conn.broken) from None
        if conn.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            raise UsageError(f"{name}: ends inside a transaction", hint="end it with COMMIT")


def _of_line(error: psycopg.Error, statement: Statement, name: str, dsn: str, *, lost: bool) -> AccountdbError:
    known = told(error, dsn)
    if lost:
        return known
    position = error.diag.statement_position
    where = f"{name}, line {statement.line_at(int(position) if position else None)}"
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return MissingRightError(f"{where}: {known.message}", hint=known.hint or _NO_OWNERS)
    return UsageError(f"{where}: {known.message}", hint=known.hint)
