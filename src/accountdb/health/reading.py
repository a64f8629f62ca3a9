"""Everything that one region says of itself, over one connection."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import psycopg
from psycopg.rows import TupleRow

from accountdb.catalog.tables import Table
from accountdb.catalog.tables import questions as table_questions
from accountdb.catalog.tables import tables as tables_of
from accountdb.contract.row_contract import candidates, violations
from accountdb.errors import AccountdbError
from accountdb.guards.install import QUESTION as GUARDS
from accountdb.guards.install import TableGuard, states_of
from accountdb.health import log
from accountdb.health.model import (
    Backlog,
    Beats,
    Conflicts,
    LogLine,
    Reading,
    Run,
    Silence,
    SlotReading,
    SyncPass,
    Workers,
)
from accountdb.pg import session
from accountdb.pg.connect import Connection
from accountdb.replication import asking
from accountdb.replication.model import OWN_TABLES, Mode
from accountdb.sql import block

__all__ = ["Reading", "Silence", "beat", "prepare", "read"]

_FILE = "health/reading.sql"
# The first version with pg_stat_wal and pg_stat_replication_slots.
_COUNTS_SINCE = 140000


def prepare(conn: Connection, patience_s: float) -> None:
    """Have no statement of this session wait longer than ``patience_s``, and the catalog qualify what it prints."""
    patience = f"{max(int(patience_s * 1000), 100)}ms"
    conn.execute(
        "SELECT pg_catalog.set_config('statement_timeout', %s, false),"
        " pg_catalog.set_config('search_path', 'pg_catalog', false)",
        (patience,),
    )


def beat(conn: Connection, gap_s: float = 5.0) -> datetime | None:
    """Write a beat of this region unless the last one is younger than the gap. When the last one was.

    Raises psycopg.Error where the region has no beats, is read-only, or this role may not.
    """
    row = conn.execute(block(_FILE, "heartbeat"), {"gap": gap_s}).fetchone()
    return row[0] if row else None


def read(name: str, conn: Connection) -> Reading:
    """Read region ``name``. The connection is in autocommit.

    Raises AccountdbError for a database that is not prepared and psycopg.Error for one that does not answer.
    """
    asked = time.time()
    try:
        first = _together(conn, {"region": _question("region"), "may_read": asking.MAY_READ, "node": asking.NODE})
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        raise AccountdbError("not prepared for accountdb", hint="migratectl init") from None
    answered = time.time()
    (region,) = first["region"]
    server, version, clock, started, recovering, read_only, role, superuser, pending, extension, quota, *may = region
    if recovering:
        raise AccountdbError(
            "it is a standby (in recovery), which applies no changes of others",
            hint="name the primary of this region; or promote it: SELECT pg_promote()",
        )
    node, mode = (first["node"][0][0], Mode(first["node"][0][1])) if first["node"] else (None, Mode.PGSYNC)
    known = asking.May(*first["may_read"][0])
    questions = asking.questions(mode, known, role)
    if not pending:
        questions.pop("pending", None)
    questions |= _own_questions(may, version, superuser=superuser)
    if mode is not Mode.PGSYNC:
        questions |= {**table_questions(), "guards": GUARDS}
    if mode is Mode.PGLOGICAL and known.installed and known.states:
        questions["providers"] = _question("providers")
    rows = _together(conn, questions)
    applied_at = time.monotonic()
    tables = _tables(rows) if mode is not Mode.PGSYNC else _Tables()
    lines, denied = _log(conn, role) if may[-1] else (None, f"role {role} may not read the server's log")
    middle = (asked + answered) / 2
    # Last, so that it is not older than what another region has applied meanwhile.
    log_end_at = time.monotonic()
    end = log_end(conn)
    return Reading(
        region=name,
        server=server,
        version_num=version,
        clock=clock,
        skew_s=round(clock.timestamp() - middle, 4),
        skew_error_s=round((answered - asked) / 2, 4),
        started_at=started,
        in_recovery=recovering,
        read_only=read_only,
        role=role,
        superuser=superuser,
        standing=asking.standing(node, mode, rows),
        has_pglogical=extension,
        slot_quota_mb=quota,
        wal_rate=next((rate for (rate,) in rows.get("wal_rate", ())), None),
        slots=_slots(rows),
        workers=Workers(*rows["workers"][0]),
        guards=tables.guards,
        conflicts=next(
            (Conflicts(*row) for part in ("conflicts", "conflicts_before") for row in rows.get(part, ())), None
        ),
        beats={row[0]: _beats(*row[1:]) for row in rows.get("beats", ())},
        runs=tuple(Run(*row) for row in rows.get("runs", ())),
        passes=tuple(SyncPass(*row) for row in rows.get("passes", ())),
        backlog=next((Backlog(min(n, 100_000), n > 100_000, age) for n, age in rows.get("backlog", ())), None),
        not_offered=tables.not_offered,
        columns={f"{t.schema}.{t.name}": tuple(c.name for c in t.columns) for t in tables.all},
        replicated=tuple(f"{t.schema}.{t.name}" for t in tables.replicated),
        unfit=tables.unfit,
        providers=dict(rows.get("providers", ())),
        log=lines,
        log_denied=denied,
        log_end=end,
        log_end_at=log_end_at,
        applied=dict(rows.get("applied", ())),
        applied_at=applied_at,
    )


def log_end(conn: Connection) -> int | None:
    """How far the server's log has come, in bytes; None for a standby."""
    row = _row(conn, "log_end")
    return row[0] if row else None


def _row(conn: Connection, name: str) -> TupleRow | None:
    return conn.execute(block(_FILE, name)).fetchone()


def _question(name: str) -> asking.Question:
    return block(_FILE, name), None


def _own_questions(may: Sequence[bool], version: int, *, superuser: bool) -> dict[str, asking.Question]:
    """What this role may ask of accountdb's own tables, and what everybody may ask a server of this version."""
    beats, runs, passes, backlog, count, conflicts, _ = may
    # First, so that it is older than how far the provider's log has come.
    wanted = ["applied"] if superuser else []
    wanted += ["slots", "workers", *(["sent", "wal_rate"] if version >= _COUNTS_SINCE else [])]
    granted = {"beats": beats, "runs": runs, "passes": passes, "backlog": backlog}
    wanted += [name for name, it_is in granted.items() if it_is]
    wanted += ["conflicts"] if count else ["conflicts_before"] if conflicts else []
    return {name: _question(name) for name in wanted}


def _together(conn: Connection, questions: Mapping[str, asking.Question]) -> dict[str, list[TupleRow]]:
    """The answers to all questions, for which is waited once."""
    with session.pipelined(conn):
        cursors = {name: conn.execute(*question) for name, question in questions.items()}
    return {name: cursor.fetchall() for name, cursor in cursors.items()}


def _slots(rows: Mapping[str, list[TupleRow]]) -> tuple[SlotReading, ...]:
    sent: dict[str, int] = dict(rows.get("sent", ()))
    return tuple(replace(one, sent=sent.get(one.name)) for one in (SlotReading(*row) for row in rows["slots"]))


def _beats(newest: datetime, arrived: datetime | None, samples: list[list[float]] | None) -> Beats:
    return Beats(newest, arrived, tuple((datetime.fromtimestamp(at, UTC), int(since)) for at, since in samples or ()))


@dataclass(frozen=True)
class _Tables:
    """The tables that could be replicated: which are, and what those are like."""

    all: tuple[Table, ...] = ()
    replicated: tuple[Table, ...] = ()
    guards: tuple[TableGuard, ...] = ()
    unfit: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    not_offered: tuple[str, ...] = ()


def _tables(rows: Mapping[str, list[TupleRow]]) -> _Tables:
    tables = candidates(tables_of("public", rows))
    fit = [table for table in tables if not violations(table)]
    offered = asking.offered(rows)
    # Before the region offers any, all that could be.
    chosen = tuple(t for t in tables if (t.schema, t.name) in offered) if offered else tuple(fit)
    return _Tables(
        tables,
        chosen,
        # A guard is made for a table with a uuid; what else is wrong with it is told by itself.
        states_of(rows["guards"], [t for t in chosen if t.primary_key == ("uuid",)], tables),
        {f"{t.schema}.{t.name}": violations(t) for t in chosen if violations(t)},
        tuple(".".join(own) for own in OWN_TABLES if offered and own not in offered),
    )


def _log(conn: Connection, role: str) -> tuple[tuple[LogLine, ...] | None, str]:
    try:
        row = _row(conn, "log_tail")
    except psycopg.errors.InsufficientPrivilege:
        return None, f"role {role} may not read the server's log"
    except (psycopg.errors.UndefinedFile, psycopg.errors.QueryCanceled) as error:
        return None, f"the server's log cannot be read: {error.diag.message_primary}"
    if row is None or row[0] is None:
        return (), "the server keeps no log that it can be asked for (logging_collector is off)" if _no_log(
            conn
        ) else ""
    return log.worker_lines(log.unescaped(row[0]), log.zone(row[1])), ""


def _no_log(conn: Connection) -> bool:
    row = conn.execute("SELECT pg_catalog.pg_current_logfile() IS NULL").fetchone()
    return bool(row and row[0])
