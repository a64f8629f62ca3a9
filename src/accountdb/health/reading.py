"""Everything that one region says of itself, over one connection."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psycopg
from psycopg.rows import TupleRow

from accountdb.catalog.tables import Table, read_tables
from accountdb.contract.row_contract import candidates, violations
from accountdb.errors import AccountdbError
from accountdb.guards.install import TableGuard, states
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
from accountdb.replication.engine import engine_for, standing
from accountdb.replication.model import OWN_TABLES, Mode
from accountdb.sql import block

__all__ = ["Reading", "Silence", "beat", "prepare", "read"]

_FILE = "health/reading.sql"


def prepare(conn: Connection, patience_s: float) -> None:
    """Have no statement of this session wait longer than ``patience_s``, for a lock or anything."""
    conn.execute(
        "SELECT pg_catalog.set_config('statement_timeout', %s, false)", (str(max(int(patience_s * 1000), 100)),)
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
    region = _row(conn, "region")
    answered = time.time()
    assert region is not None
    server, version, clock, started, recovering, read_only, role, superuser, prepared, extension, quota, *may = region
    if not prepared:
        raise AccountdbError("not prepared for accountdb", hint="migratectl init")
    may_beat, may_runs, may_passes, may_log, may_count, may_conflicts, may_file = may
    current = standing(conn)
    applied = {row[0]: row[1] for row in conn.execute(block(_FILE, "applied"))} if superuser else {}
    applied_at = time.monotonic()
    wanted = ["slots", "workers", "wal_rate"]
    wanted += [part for part, granted in (("beats", may_beat), ("runs", may_runs), ("passes", may_passes)) if granted]
    wanted += ["backlog"] if may_log else []
    wanted += ["conflicts"] if may_count else ["conflicts_before"] if may_conflicts else []
    rows = _together(conn, wanted)
    tables = _Tables()
    if current.mode is not Mode.PGSYNC:
        # pglogical's catalog is for administrators alone.
        may_ask = current.mode is Mode.NATIVE or (superuser and extension)
        tables = _tables(conn, current.mode, may_ask=may_ask)
    lines, denied = _log(conn, role) if may_file else (None, f"role {role} may not read the server's log")
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
        standing=current,
        has_pglogical=extension,
        slot_quota_mb=quota,
        wal_rate=rows["wal_rate"][0][0] if rows["wal_rate"] else None,
        slots=tuple(SlotReading(*row) for row in rows["slots"]),
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
        providers=_providers(conn, current.mode, extension=extension),
        log=lines,
        log_denied=denied,
        log_end=end,
        log_end_at=log_end_at,
        applied=applied,
        applied_at=applied_at,
    )


def log_end(conn: Connection) -> int | None:
    """How far the server's log has come, in bytes; None for a standby."""
    row = _row(conn, "log_end")
    return row[0] if row else None


def _row(conn: Connection, name: str) -> TupleRow | None:
    return conn.execute(block(_FILE, name)).fetchone()


def _together(conn: Connection, names: list[str]) -> dict[str, list[TupleRow]]:
    with session.pipelined(conn):
        cursors = {name: conn.execute(block(_FILE, name)) for name in names}
    return {name: cursor.fetchall() for name, cursor in cursors.items()}


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


def _tables(conn: Connection, mode: Mode, *, may_ask: bool) -> _Tables:
    tables = candidates(read_tables(conn))
    fit = [table for table in tables if not violations(table)]
    offered = engine_for(mode).offered(conn) if may_ask else frozenset()
    # Before the region offers any, all that could be.
    chosen = tuple(t for t in tables if (t.schema, t.name) in offered) if offered else tuple(fit)
    return _Tables(
        tables,
        chosen,
        # A guard is made for a table with a uuid; what else is wrong with it is told by itself.
        states(conn, [t for t in chosen if t.primary_key == ("uuid",)], tables),
        {f"{t.schema}.{t.name}": violations(t) for t in chosen if violations(t)},
        tuple(".".join(own) for own in OWN_TABLES if offered and own not in offered),
    )


def _providers(conn: Connection, mode: Mode, *, extension: bool) -> Mapping[str, str]:
    if mode is not Mode.PGLOGICAL or not extension:
        return {}
    may = conn.execute(block("replication/pglogical.sql", "may_read")).fetchone()
    if not (may and may[1]):
        return {}
    return dict(conn.execute(block(_FILE, "providers")).fetchall())


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
