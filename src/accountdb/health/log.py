"""What the server's log says of the workers that apply changes. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from accountdb.health.model import LogLine
from accountdb.pg.dsn import scrub

# The first severity word of a line says what the line is; what follows may quote anything.
_SEVERITY = re.compile(
    r"\b(DEBUG\d?|LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC|DETAIL|HINT|QUERY|CONTEXT|LOCATION|STATEMENT|BACKTRACE):\s+(.*)"
)
_CONTINUES = ("DETAIL", "HINT", "QUERY", "STATEMENT", "LOCATION", "BACKTRACE", "CONTEXT")
# What the workers of both engines and their connections say; other errors are clients' own.
_MARKS = re.compile(
    r"pglogical|logical replication|apply worker|publisher|WAL stream|replication slot|replication origin"
    r"|subscription \"|data stream|could not connect to the postgresql server|replication target relation",
    re.IGNORECASE,
)
# Of what is no error, that a worker began, or that none could.
_EVENTS = re.compile(r"has started|starting apply|worker slots|worker registration", re.IGNORECASE)
# A worker's CONTEXT may have lines before this one.
_APPLYING = re.compile(r"processing remote data|apply (INSERT|UPDATE|DELETE|TRUNCATE) in commit")
_PID = re.compile(r"\[(\d+)\]")
_ESCAPED = re.compile(rb"\\(\d{3}|\\)")


def unescaped(text: str) -> str:
    """What PostgreSQL wrote as ``encode(..., 'escape')``; bytes that are no UTF-8 become a question mark."""
    raw = _ESCAPED.sub(lambda m: b"\\" if m[1] == b"\\" else bytes([int(m[1], 8) & 255]), text.encode())
    return raw.decode("utf-8", "replace").replace("\ufffd", "?")


def worker_lines(tail: str) -> tuple[LogLine, ...]:
    """The errors of replication workers in ``tail`` and when they began, oldest first, without prefixes.

    Only messages are taken, never DETAIL, STATEMENT and the like, which can show rows or a connection string. An error
    that does not name its worker is known by its CONTEXT line.
    """
    found: list[LogLine] = []
    pending: LogLine | None = None
    marked = False
    for line in tail.splitlines():
        match = _SEVERITY.search(line)
        severity, message = match.groups() if match else ("", line.strip())
        if not match or severity in _CONTINUES:
            if pending and (severity == "CONTEXT" or line.startswith("\t")) and _APPLYING.match(message):
                pending, marked = LogLine(pending.severity, pending.message, True, pending.pid), True
            continue
        if pending and marked:
            found.append(pending)
        pending = None
        pid = _PID.search(line[: match.start()])
        if severity in ("ERROR", "FATAL"):
            pending = LogLine(severity, scrub(message.strip()), False, pid[1] if pid else "")
            marked = bool(_MARKS.search(line))
        elif severity in ("LOG", "WARNING") and _EVENTS.search(message):
            found.append(LogLine(severity, scrub(message.strip()), False, pid[1] if pid else ""))
    if pending and marked:
        found.append(pending)
    return tuple(found)


def cause_in_log(tail: str) -> str | None:
    """The newest error of a replication worker in ``tail``; None where there is none."""
    return next((line.message for line in reversed(worker_lines(tail)) if line.severity in ("ERROR", "FATAL")), None)


def lines_of(lines: Sequence[LogLine], names: Collection[str], others: Collection[str]) -> tuple[LogLine, ...]:
    """The lines that are about one subscription: those that name it, or its process, and those that name none.

    ``names`` are its own (subscription, slot), ``others`` those of the region's other subscriptions.
    """
    whose: dict[str, bool] = {}
    kept: list[LogLine] = []
    for line in lines:
        own = any(name in line.message for name in names)
        alien = not own and any(name in line.message for name in others)
        if line.pid and (own or alien):
            whose[line.pid] = own
        if own or (not alien and whose.get(line.pid, True)):
            kept.append(line)
    return tuple(kept)
