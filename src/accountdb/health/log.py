"""Why a stream is down, out of the server's log. Pure."""

from __future__ import annotations

import re

from accountdb.pg.dsn import scrub

# The first severity word of a line says what the line is; what follows may quote anything.
_SEVERITY = re.compile(
    r"\b(DEBUG\d?|LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC|DETAIL|HINT|QUERY|CONTEXT|LOCATION|STATEMENT|BACKTRACE):\s+(.*)"
)
# What the workers of both engines and their connections say; other errors are clients' own.
_MARKS = re.compile(
    r"pglogical|logical replication|apply worker|publisher|WAL stream|replication slot|replication origin"
    r"|subscription \"|data stream|could not connect to the postgresql server|replication target relation",
    re.IGNORECASE,
)


def cause_in_log(tail: str) -> str | None:
    """The newest error of a replication worker in ``tail``, without its prefix; None where there is none.

    Only the message itself is taken, never DETAIL, STATEMENT and the like, which can show rows or a
    connection string. An error that does not name its worker is known by its CONTEXT line.
    """
    of_worker = False
    for line in reversed(tail.splitlines()):
        match = _SEVERITY.search(line)
        if match is None:
            continue
        severity, message = match.groups()
        if severity in ("ERROR", "FATAL"):
            if of_worker or _MARKS.search(line):
                return scrub(message.strip())
            of_worker = False
        elif severity == "CONTEXT":
            of_worker = message.startswith("processing remote data") or of_worker
        elif severity not in ("DETAIL", "HINT", "QUERY", "STATEMENT", "LOCATION", "BACKTRACE"):
            of_worker = False
    return None
