"""What an apply worker says of the transaction that it cannot apply, out of the server's log. The parsing is pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

import psycopg

from accountdb.pg.connect import Connection
from accountdb.pg.dsn import scrub
from accountdb.sql import block

_FILE = "replication/unblock.sql"
_LINE = re.compile(
    r"\b(DEBUG\d?|LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC|DETAIL|HINT|QUERY|CONTEXT|LOCATION|STATEMENT|BACKTRACE):\s+(.*)"
)
_ABOUT = ("DETAIL", "HINT", "QUERY", "CONTEXT", "LOCATION", "STATEMENT", "BACKTRACE")
# PostgreSQL 15 and later.
_NATIVE = re.compile(
    r'processing remote data for replication origin "(?P<origin>[^"]*)"'
    r'(?:.*? for replication target relation "(?P<table>.*?)"(?= column "| in transaction ))?'
    r"(?:.* in transaction (?P<xid>\d+)(?:, finished at (?P<finished>[0-9A-F]+/[0-9A-F]+))?$)?"
)
# pglogical 2.4.
_PGLOGICAL = re.compile(
    r"apply .*?(?: from remote relation (?P<table>.*?))? in commit before (?P<finished>[0-9A-F]+/[0-9A-F]+)"
    r", xid (?P<xid>\d+) .* from node replorigin (?P<origin>\d+)"
)


@dataclass(frozen=True)
class Failure:
    """The newest word of a worker about a transaction. ``finished`` is where its commit is written.

    ``times``: how often it has said so of this transaction, as far back as was read.
    ``message`` is the error alone, never its details, which can show rows and connection strings.
    """

    message: str
    table: str | None
    xid: int | None
    finished: str | None
    times: int = 1


def failure_in(tail: str, origin: str, origin_number: int) -> Failure | None:
    """The newest failure of the worker that applies as ``origin``; pglogical knows it by its number."""
    error: str | None = None
    found: Failure | None = None
    for line in tail.splitlines():
        match = _LINE.search(line)
        if match is None:
            continue
        severity, text = match.groups()
        if severity in ("ERROR", "FATAL"):
            error = text
        elif severity == "CONTEXT" and error is not None:
            about = _NATIVE.search(text) or _PGLOGICAL.search(text)
            if about and about["origin"] in (origin, str(origin_number)):
                xid = int(about["xid"]) if about["xid"] else None
                times = found.times + 1 if found and found.finished == about["finished"] else 1
                found = Failure(scrub(error.strip()), about["table"], xid, about["finished"], times)
        elif severity not in _ABOUT:
            error = None
    return found


def read_failure(conn: Connection, origin: str) -> tuple[Failure | None, str | None]:
    """The newest failure of a worker, and why it could not be read where it could not."""
    try:
        with conn.transaction():
            number = conn.execute(block(_FILE, "origin_number"), {"origin": origin}).fetchone()
            row = conn.execute(block(_FILE, "log_tail")).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return None, f"role {conn.info.user} may not read the server's log"
    except psycopg.Error as error:
        return None, f"the server's log could not be read (SQLSTATE {error.sqlstate})"
    if row is None:
        return None, "the server collects no log"
    return failure_in(row[0], origin, int(number[0]) if number else 0), None
