"""Why a stream is down, out of the server's log. Pure."""

from __future__ import annotations

import re

from accountdb.pg.dsn import scrub

_ERROR = re.compile(r"\b(?:ERROR|FATAL):\s+(.*)")
# What the workers of both engines and their connections say; other errors are clients' own.
_MARKS = re.compile(
    r"pglogical|logical replication|apply worker|publisher|WAL stream|replication slot|replication origin"
    r"|subscription \"|data stream|could not connect to the postgresql server|replication target relation",
    re.IGNORECASE,
)


def cause_in_log(tail: str) -> str | None:
    """The newest error of a replication worker in ``tail``, without its prefix; None where there is none.

    Continuation lines (DETAIL, which can show a connection string) are never taken.
    """
    for line in reversed(tail.splitlines()):
        match = _ERROR.search(line)
        if match and _MARKS.search(line):
            return scrub(match.group(1).strip())
    return None
