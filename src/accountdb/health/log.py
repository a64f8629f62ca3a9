"""What the server's log says of the workers that apply changes. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

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
_APPLYING = re.compile(r"processing remote data|apply [A-Z]+ (in commit|from remote relation)")
_SENDING = re.compile(r'slot "([^"]+)", output plugin')
# pglogical quotes a whole page of options before the reason.
_OPTIONS = re.compile(r'(START_REPLICATION SLOT "[^"]*") LOGICAL .*\)"')
_TIME = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?) ")
_PID = re.compile(r"\[(\d+)\]")
_ESCAPED = re.compile(rb"\\(\d{3}|\\)")


def unescaped(text: str) -> str:
    """What PostgreSQL wrote as ``encode(..., 'escape')``; bytes that are no UTF-8 become a question mark."""
    raw = _ESCAPED.sub(lambda m: b"\\" if m[1] == b"\\" else bytes([int(m[1], 8) & 255]), text.encode())
    return raw.decode("utf-8", "replace").replace("\ufffd", "?")


def zone(name: str) -> tzinfo:
    """The time zone of a log; UTC where this machine does not know it."""
    with suppress(KeyError, ValueError, OSError):
        return ZoneInfo(name)
    return UTC


def worker_lines(tail: str, clock: tzinfo = UTC) -> tuple[LogLine, ...]:
    """The errors of replication workers in ``tail`` and when they began, oldest first, without prefixes.

    ``clock`` is the time zone of the log.

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
                pending, marked = replace(pending, of_worker=True), True
            elif pending and severity == "CONTEXT" and (sending := _SENDING.match(message)):
                pending, marked = replace(pending, sending=sending[1]), True
            continue
        if pending and marked:
            found.append(pending)
        pending = None
        read = _line(line[: match.start()], severity, message, clock)
        if severity in ("ERROR", "FATAL"):
            pending, marked = read, bool(_MARKS.search(line))
        elif severity in ("LOG", "WARNING") and _EVENTS.search(message):
            found.append(read)
    if pending and marked:
        found.append(pending)
    return tuple(found)


def _line(prefix: str, severity: str, message: str, clock: tzinfo) -> LogLine:
    pid, time = _PID.search(prefix), _TIME.match(prefix)
    at = None
    if time:
        with suppress(ValueError):
            at = datetime.fromisoformat(time[1]).replace(tzinfo=clock)
    return LogLine(severity, scrub(_OPTIONS.sub(r"\1", message.strip())), False, pid[1] if pid else "", at)


def cause_in_log(tail: str) -> str | None:
    """The newest error of a replication worker in ``tail``; None where there is none."""
    errors = (line for line in reversed(worker_lines(tail)) if line.severity in ("ERROR", "FATAL") and not line.sending)
    return next((line.message for line in errors), None)


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
