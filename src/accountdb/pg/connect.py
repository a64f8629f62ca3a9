"""Opening connections: one place that knows time limits, names and how a failure is told."""

from __future__ import annotations

import logging
import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import TypeAlias

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import PollingStatus
from psycopg.rows import TupleRow

from accountdb.errors import AccountdbError, ConnectError
from accountdb.pg import dsn as dsns

Connection: TypeAlias = psycopg.Connection[TupleRow]

CONNECT_TIMEOUT_S = 5
# A server that is gone without a word is found out in a minute, not after hours; in seconds and milliseconds.
_FOUND_DEAD = {
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}

# Of a rollback on a connection that is gone psycopg says that it failed. Nobody needs to hear it: whoever
# uses the connection raises an error that says more.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


def connect(
    dsn: str,
    *,
    name: str = "DSN",
    autocommit: bool = False,
    timeout_s: int = CONNECT_TIMEOUT_S,
    application: str = "migratectl",
) -> Connection:
    """Open a connection. ``name`` is how messages call the DSN; empty where the reader knows it.

    Raises UsageError for a DSN that cannot be read and ConnectError for a server that cannot be
    reached or refuses; neither shows a secret. A ``connect_timeout`` in the DSN wins.
    """
    params = dsns.parse(dsn, name=name)
    params.setdefault("connect_timeout", os.environ.get("PGCONNECT_TIMEOUT", str(timeout_s)))
    params.setdefault("application_name", application)
    params = _FOUND_DEAD | params
    try:
        return psycopg.connect("", autocommit=autocommit, **params)
    except psycopg.Error as error:
        raise _explained(error, dsn, name) from None


def connect_heard(dsn: str, heard: Event, *, application: str, timeout_s: float) -> Connection:
    """Open a connection in autocommit, and set ``heard`` when the server has said its first word.

    So whoever waits can tell a server that is far away from one that is not there. Raises as ``connect`` does, after
    ``timeout_s`` at the latest (the look-up of the host's name aside).
    """
    params = _FOUND_DEAD | {"application_name": application} | dsns.parse(dsn, name="")
    deadline = time.monotonic() + timeout_s
    pgconn = psycopg.pq.PGconn.connect_start(make_conninfo("", **params).encode())
    try:
        while (status := pgconn.connect_poll()) != PollingStatus.OK:
            if status == PollingStatus.FAILED:
                raise _explained(psycopg.OperationalError(pgconn.get_error_message()), dsn, "")  # noqa: TRY301 - freed
            reading = status == PollingStatus.READING
            if not _ready(pgconn.socket, deadline, reading=reading):
                raise ConnectError(  # noqa: TRY301 - the connection is freed below
                    f"cannot connect to {dsns.shown(dsn)}: connection timeout expired",
                    hint="check host and port, and that the server runs and listens there",
                )
            if reading:
                heard.set()
    except BaseException:
        pgconn.finish()
        raise
    pgconn.nonblocking = 1
    conn: Connection = psycopg.Connection(pgconn)
    conn.autocommit = True
    return conn


def _ready(socket: int, deadline: float, *, reading: bool) -> bool:
    poll = select.poll()
    poll.register(socket, select.POLLIN if reading else select.POLLOUT)
    return bool(poll.poll(max(deadline - time.monotonic(), 0) * 1000))


def _explained(error: psycopg.Error, dsn: str, name: str) -> ConnectError:
    """``error`` as one line with a hint that fits its cause."""
    text = one_line(str(error), dsn)
    hint = "check host and port, and that the server runs and listens there"
    lowered = text.lower()
    if "password authentication failed" in lowered or "no password supplied" in lowered:
        hint = "check user and password (PGPASSWORD, a passfile or the DSN)"
    elif "does not exist" in lowered and "database" in lowered:
        hint = "check the database name, or create it: createdb NAME"
    elif "does not exist" in lowered and "role" in lowered:
        hint = "check the user name"
    elif "pg_hba.conf" in lowered:
        hint = "the server's pg_hba.conf must allow this user, database and address"
    elif "too many" in lowered or "remaining connection slots" in lowered:
        hint = "the server has no free connection; raise max_connections or close some"
    prefix = f"{name}: " if name else ""
    return ConnectError(f"{prefix}cannot connect to {dsns.shown(dsn)}: {text}", hint=hint)


def one_line(text: str, *secrets_of: str) -> str:
    """A server's message on one line, without libpq's preamble and without secrets."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    # libpq tries every address and asks "Is the server running ...?" after the line with the fact.
    facts = [line for line in lines if "failed:" in line] or lines
    last = facts[-1] if facts else "no reason given"
    for marker in ("FATAL:", "failed:", "error:"):
        if marker in last:
            last = last.split(marker, 1)[1].strip()
    return dsns.scrub(last, *secrets_of)


@contextmanager
def session(dsn: str, *, name: str = "DSN", autocommit: bool = False) -> Iterator[Connection]:
    """A connection for one piece of work: committed at the end, rolled back on error, closed."""
    with connect(dsn, name=name, autocommit=autocommit) as conn:
        try:
            yield conn
        except psycopg.Error as error:
            raise told(error, dsn) from error


def told(error: psycopg.Error, *secrets_of: str) -> AccountdbError:
    """A server's error as one line. The server's own hint is kept, scrubbed."""
    diag = error.diag
    # What libpq itself says of a lost connection ends with a guess at the reason.
    said = str(error).partition("This probably means")[0].removeprefix("consuming input failed: ")
    message = diag.message_primary or said or type(error).__name__
    detail = f" ({diag.message_detail})" if diag.message_detail else ""
    hint = one_line(diag.message_hint, *secrets_of) if diag.message_hint else None
    return AccountdbError(dsns.scrub(" ".join(f"{message}{detail}".split()), *secrets_of), hint=hint)
