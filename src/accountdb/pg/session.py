"""What a session is and may do: role, rights, waiting for locks."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass

import psycopg
from psycopg import sql

from accountdb.errors import AccountdbError
from accountdb.pg.connect import Connection


@dataclass(frozen=True)
class Role:
    """The role of a session, and what decides over the operations of accountdb."""

    name: str
    superuser: bool
    replication: bool
    create_subscription: bool
    create_database: bool
    database: str
    database_owner: str


def role(conn: Connection) -> Role:
    """The session's current role. On servers before 16 nobody has ``create_subscription``."""
    row = conn.execute(
        """
        SELECT r.rolname, r.rolsuper, r.rolreplication,
               EXISTS (SELECT FROM pg_catalog.pg_roles AS p WHERE p.rolname = 'pg_create_subscription'
                       AND pg_catalog.pg_has_role(current_user, p.oid, 'USAGE')),
               r.rolcreatedb, d.datname, pg_catalog.pg_get_userbyid(d.datdba)
        FROM pg_catalog.pg_roles AS r, pg_catalog.pg_database AS d
        WHERE r.rolname = current_user AND d.datname = pg_catalog.current_database()
        """
    ).fetchone()
    assert row is not None
    return Role(*row)


def owner(conn: Connection) -> str | None:
    """The owner of the account tables where an administrator has to act as it; None for an ordinary role."""
    if not role(conn).superuser:
        return None
    row = conn.execute(
        """
        SELECT pg_catalog.pg_get_userbyid(coalesce(
            (SELECT c.relowner FROM pg_catalog.pg_class AS c WHERE c.oid = pg_catalog.to_regclass('public.users')),
            (SELECT n.nspowner FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'accountdb'),
            (SELECT d.datdba FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())))
        """
    ).fetchone()
    assert row is not None
    return str(row[0])


def act_as_owner(conn: Connection) -> None:
    """For the rest of this transaction, make an administrator act as the owner of the account tables.

    So what a command creates belongs to the same role, whoever runs the command. An ordinary role
    stays what it is.
    """
    name = owner(conn)
    if name is not None:
        conn.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(name)))


def keep_alive(conn: Connection) -> None:
    """Have the server find out in a minute that this client is gone without a word, also in a long statement.

    Else what the session holds would stay taken for hours. A rollback of this transaction takes it back.
    """
    conn.execute(
        """
        SELECT pg_catalog.set_config(s.name, s.value, false)
        FROM (VALUES ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'), ('tcp_keepalives_count', '3'),
                     ('tcp_user_timeout', '60000'), ('client_connection_check_interval', '5000')) AS s (name, value)
        -- A setting that only newer servers know, or that not every system can do.
        WHERE pg_catalog.current_setting(s.name, true) IS NOT NULL
          AND (s.name <> 'client_connection_check_interval' OR pg_catalog.version() LIKE '%linux%')
        """
    )


@contextmanager
def advisory_lock(conn: Connection, key: int, *, busy: str, wait_s: float = 30.0) -> Iterator[None]:
    """Hold the session advisory lock ``key``; ``busy`` is the error's text when it stays taken.

    It polls: a waiter blocked inside pg_advisory_lock holds a snapshot, and CREATE INDEX
    CONCURRENTLY of the holder would wait for that snapshot for ever.
    """
    deadline = time.monotonic() + wait_s
    while not try_lock(conn, key):
        if time.monotonic() > deadline:
            raise AccountdbError(busy, hint="wait for the other run to end, then try again")
        time.sleep(random.uniform(0.05, 0.2))
    try:
        yield
    finally:
        unlock(conn, key)


def unlock(conn: Connection, key: int) -> None:
    """Give back what ``try_lock`` took, and roll back what is open. With a connection that is gone the lock is too."""
    with suppress(psycopg.OperationalError):
        conn.rollback()
        conn.execute("SELECT pg_catalog.pg_advisory_unlock(%s)", (key,))
        conn.commit()


def try_lock(conn: Connection, key: int) -> bool:
    """Take the session advisory lock ``key`` unless somebody holds it; whether it is taken."""
    row = conn.execute("SELECT pg_catalog.pg_try_advisory_lock(%s)", (key,)).fetchone()
    conn.commit()
    return bool(row and row[0])


def same_database(a: Connection, b: Connection) -> bool:
    """Whether two connections lead to one database, whatever the host names say.

    Proved by an advisory lock taken on one side and looked for on the other.
    """
    key = mark(a)
    try:
        return marked(b, key)
    finally:
        unmark(a, key)


def mark(conn: Connection) -> int:
    """Take an advisory lock that nobody else has, and return it: by ``marked`` the database is known again."""
    key = random.SystemRandom().getrandbits(62)
    # Of the session, not of a transaction: the connection may be in autocommit.
    conn.execute("SELECT pg_catalog.pg_advisory_lock(%s)", (key,))
    return key


def marked(conn: Connection, key: int) -> bool:
    """Whether this is the database in which ``mark`` took ``key``."""
    row = conn.execute(
        """
        SELECT EXISTS (SELECT FROM pg_catalog.pg_locks
                       WHERE locktype = 'advisory' AND objsubid = 1
                         AND ((classid::bigint << 32) | objid::bigint) = %s
                         AND database = (SELECT oid FROM pg_catalog.pg_database
                                         WHERE datname = pg_catalog.current_database()))
        """,
        (key,),
    ).fetchone()
    return bool(row and row[0])


def unmark(conn: Connection, key: int) -> None:
    """Give back what ``mark`` took."""
    conn.execute("SELECT pg_catalog.pg_advisory_unlock(%s)", (key,))


@contextmanager
def pipelined(conn: Connection) -> Iterator[None]:
    """Within the block a statement is sent without waiting for the answer to the one before it.

    Over a slow link it is the waiting that takes the time. The end of the block waits for all answers, and raises what
    a statement did wrong: fetch after it.
    """
    # A libpq of the system's may be older than pipelines.
    with conn.pipeline() if psycopg.Pipeline.is_supported() else nullcontext():
        yield


@contextmanager
def pinned_search_path(conn: Connection) -> Iterator[None]:
    """Within the block every catalog function qualifies every name that it prints."""
    row = conn.execute(
        "SELECT pg_catalog.current_setting('search_path'), pg_catalog.set_config('search_path', 'pg_catalog', false)"
    ).fetchone()
    assert row is not None
    yield
    # Not after an error: then the transaction ends, and the setting with it.
    conn.execute("SELECT pg_catalog.set_config('search_path', %s, false)", (row[0],))
