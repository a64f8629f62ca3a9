"""Running a fix's statements, and reading what a plan may know of its target."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from accountdb.drift.fix.model import Facts, FixStatement
from accountdb.drift.fix.writing import said
from accountdb.drift.normal import settled
from accountdb.drift.structure import SCHEMAS, Identity, Structure
from accountdb.errors import AccountdbError, MissingRightError
from accountdb.pg.connect import Connection, told
from accountdb.pg.session import act_as_owner
from accountdb.sql import block

_SESSION = "drift_fix/session.sql"


def read_facts(conn: Connection, schemas: Sequence[str] = SCHEMAS) -> Facts:
    """The facts of a database. A table that this role may not read counts as filled."""
    row = conn.execute(block(_SESSION, "facts").encode()).fetchone()
    assert row is not None
    filled = set()
    for schema, table in conn.execute(block(_SESSION, "tables").encode(), {"schemas": list(schemas)}).fetchall():
        if _has_rows(conn, schema, table):
            filled.add((schema, table))
    return Facts(frozenset(row[0]), frozenset(filled), frozenset(row[1] or ()))


def read_queries(conn: Connection, structure: Structure) -> dict[Identity, str]:
    """The views of ``structure``, which was read from ``conn``, as the server writes them.

    One that has changed since is left out.
    """
    schemas = sorted({one.schema for one in structure.objects})
    found = {}
    with conn.transaction(force_rollback=True):
        conn.execute(block("drift/session.sql", "pin").encode())
        for kind, schema, name, text in conn.execute(block(_SESSION, "queries").encode(), {"schemas": schemas}):
            one = Identity(kind, schema, name)
            if text is not None and structure.objects.get(one, {}).get("definition") == settled(kind, text):
                found[one] = text
    return found


def _has_rows(conn: Connection, schema: str, table: str) -> bool:
    query = sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(schema, table))
    try:
        with conn.transaction():
            row = conn.execute(query).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return True
    return row is None or bool(row[0])


def run_alone(conn: Connection, statements: Sequence[FixStatement]) -> None:
    """Each statement in a transaction of its own. ``conn`` is in autocommit."""
    for one in statements:
        with conn.transaction():
            run(conn, [one])


def run(conn: Connection, statements: Sequence[FixStatement], *, lock_timeout: str = "5s") -> None:
    """All statements in the transaction of the caller; what an administrator makes belongs to the tables' owner.

    A lock that cannot be had in time is raised as it is (psycopg.errors.LockNotAvailable): whoever holds
    the transaction may try again. Any other failure is an AccountdbError that names the object.
    """
    conn.execute(block(_SESSION, "local").encode(), {"lock_timeout": lock_timeout})
    as_owner = False
    for one in statements:
        try:
            if (one.makes and not one.superuser) != as_owner:
                as_owner = not as_owner
                if as_owner:
                    act_as_owner(conn)
                else:
                    conn.execute("RESET ROLE")
            conn.execute(one.sql.encode())
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            raise
        except psycopg.Error as error:
            raise _of(one, error) from error
    conn.execute("RESET ROLE")


def _of(one: FixStatement, error: psycopg.Error) -> AccountdbError:
    known = told(error)
    message = f"{said(one.objects[0])}: {known.message}; the statement was: {' '.join(one.sql.split())[:200]}"
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return MissingRightError(message, hint="run it as the owner of the tables, or as an administrator")
    if isinstance(error, (psycopg.errors.NotNullViolation, psycopg.errors.CheckViolation, psycopg.errors.DataError)):
        return AccountdbError(message, hint="change the rows that do not fit, then check again")
    if isinstance(error, (psycopg.errors.UniqueViolation, psycopg.errors.ForeignKeyViolation)):
        return AccountdbError(message, hint="change the rows that do not fit, then check again")
    return AccountdbError(message, hint=known.hint or "--fix-sql FILE writes the statements, to be changed by hand")
