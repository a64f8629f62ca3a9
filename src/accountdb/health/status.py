"""``migratectl status``: how the regions stand, read from all of them at the same time."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import psycopg

from accountdb.catalog.tables import read_tables
from accountdb.contract.row_contract import candidates, violations
from accountdb.errors import AccountdbError, ConnectError
from accountdb.guards.install import GuardState, TableGuard, states
from accountdb.health.log import cause_in_log
from accountdb.pg import dsn as dsn_of
from accountdb.pg import session
from accountdb.pg.connect import Connection, connect, told
from accountdb.replication.engine import engine_for, standing
from accountdb.replication.model import Mode, Slot, Standing, State
from accountdb.sql import block

_FILE = "health/status.sql"
_CONNECT_S = 2
_ANSWER_S = 3.5


@dataclass(frozen=True)
class StreamStatus:
    """One direction: what the receiver says, and how far behind the provider says it is.

    ``lag_bytes`` and ``lag_seconds`` are None where the provider does not answer or cannot say.
    """

    subscription: str
    state: State
    slot: str | None
    lag_bytes: int | None
    lag_seconds: float | None
    reason: str | None


@dataclass(frozen=True)
class RegionStatus:
    """One region. ``error`` is set, and the rest empty, where it did not answer."""

    name: str
    error: str | None = None
    server: str | None = None
    node: str | None = None
    mode: str | None = None
    streams: tuple[StreamStatus, ...] = ()
    followers: tuple[Slot, ...] = ()
    guards: tuple[TableGuard, ...] = ()
    conflicts_open: int | None = None
    conflicts: int | None = None
    findings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Status:
    """All regions, in the order in which they were named."""

    regions: tuple[RegionStatus, ...]
    healthy: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "healthy", not any(region.findings for region in self.regions))


@dataclass(frozen=True)
class _Reading:
    """What one region answered."""

    server: str
    standing: Standing
    guards: tuple[TableGuard, ...]
    conflicts_open: int | None
    conflicts: int | None
    cause: str | None


def read_status(dsns: Mapping[str, str]) -> Status:
    """The status of the regions, by name. Answers within 5 seconds whatever the regions do.

    A DSN that cannot be read raises UsageError; a region that cannot be reached is a finding.
    """
    for name, dsn in dsns.items():
        dsn_of.parse(dsn, name=name)
    readings: dict[str, _Reading | AccountdbError] = {}
    workers = [
        threading.Thread(target=_read_into, args=(readings, name, dsn), daemon=True) for name, dsn in dsns.items()
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(_ANSWER_S)
    for name in dsns:
        readings.setdefault(name, ConnectError(f"no answer within {_ANSWER_S:g} s"))
    return Status(tuple(_judge(name, readings) for name in dsns))


def _read_into(readings: dict[str, _Reading | AccountdbError], name: str, dsn: str) -> None:
    try:
        readings.setdefault(name, _read(dsn))
    except AccountdbError as error:
        readings.setdefault(name, error)
    except psycopg.Error as error:
        readings.setdefault(name, told(error, dsn))


def _read(dsn: str) -> _Reading:
    with connect(dsn, name="", autocommit=True, timeout_s=_CONNECT_S) as conn:
        conn.execute("SELECT pg_catalog.set_config('statement_timeout', '2500', false)")
        row = conn.execute(block(_FILE, "region")).fetchone()
        assert row is not None
        server, _, prepared = row
        if not prepared:
            raise AccountdbError("not prepared for accountdb", hint="migratectl init")
        current = standing(conn)
        guards: tuple[TableGuard, ...] = ()
        if current.mode is not Mode.PGSYNC:
            guards = _guards(conn, current.mode)
        opened, recorded = conn.execute(block(_FILE, "open_conflicts")).fetchone() or (None, None)
        return _Reading(server, current, guards, opened, recorded, _cause(conn, current))


def _guards(conn: Connection, mode: Mode) -> tuple[TableGuard, ...]:
    """Of the tables that the region offers; before it offers any, of all that could be."""
    tables = [table for table in candidates(read_tables(conn)) if not violations(table)]
    offered = engine_for(mode).offered(conn) if _may_ask(conn, mode) else frozenset()
    return states(conn, [t for t in tables if not offered or (t.schema, t.name) in offered], tables)


def _may_ask(conn: Connection, mode: Mode) -> bool:
    """pglogical's catalog is for administrators alone."""
    return mode is Mode.NATIVE or session.role(conn).superuser


def _cause(conn: Connection, current: Standing) -> str | None:
    if all(s.state in (State.REPLICATING, State.PENDING, State.DISABLED) for s in current.subscriptions):
        return None
    try:
        row = conn.execute(block(_FILE, "log_tail")).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return f"role {conn.info.user} may not read the server's log, where the cause stands"
    except psycopg.Error:
        return None
    return cause_in_log(row[0]) if row else None


def _judge(name: str, readings: Mapping[str, _Reading | AccountdbError]) -> RegionStatus:
    """One region's status out of what all regions answered. Pure."""
    reading = readings[name]
    if isinstance(reading, AccountdbError):
        return RegionStatus(name, error=reading.message, findings=(f"{name}: {reading.message}",))
    slots = {
        slot.name: slot
        for other, answer in readings.items()
        if other != name and isinstance(answer, _Reading)
        for slot in answer.standing.followers
    }
    unreachable = [other for other, answer in readings.items() if not isinstance(answer, _Reading)]
    streams = tuple(
        _stream(s.name, s.state, s.slot, slots.get(s.slot or ""), reading.cause, unreachable)
        for s in reading.standing.subscriptions
    )
    status = RegionStatus(
        name,
        server=reading.server,
        node=reading.standing.node,
        mode=reading.standing.mode,
        streams=streams,
        followers=reading.standing.followers,
        guards=reading.guards,
        conflicts_open=reading.conflicts_open,
        conflicts=reading.conflicts,
    )
    return replace(status, findings=_findings(status))


def _stream(
    name: str,
    state: State,
    slot_name: str | None,
    slot: Slot | None,
    cause: str | None,
    unreachable: Sequence[str],
) -> StreamStatus:
    # A worker can believe that it streams while its provider knows that nobody listens.
    lost = slot is not None and slot.lost
    if lost or (state is State.REPLICATING and slot is not None and not slot.active):
        state = State.DOWN
    reason = None
    if lost:
        # Each version of PostgreSQL says it in other words, and a worker only at its next try.
        reason = f'can no longer get changes from replication slot "{slot_name}"; region leave and join, then merge'
    elif state is State.DOWN:
        reason = cause or (f"{', '.join(unreachable)} cannot be reached" if unreachable else None)
    elif state is State.DISABLED:
        reason = "paused; migratectl region resume starts it"
    elif state is State.PENDING:
        reason = "the provider has not joined yet"
    return StreamStatus(
        name,
        state,
        slot_name,
        slot.lag_bytes if slot else None,
        slot.lag_seconds if slot else None,
        reason,
    )


def _findings(region: RegionStatus) -> tuple[str, ...]:
    found = [
        f"{region.name}: {stream.subscription} is {stream.state}" + (f": {stream.reason}" if stream.reason else "")
        for stream in region.streams
        if stream.state is not State.REPLICATING
    ]
    if region.mode != Mode.PGSYNC and not region.streams:
        found.append(f"{region.name}: no subscription; migratectl region join makes one")
    wrong = [g for g in region.guards if g.state is not GuardState.INSTALLED]
    found += [f"{region.name}: guard on {g.table} is {g.state}; migratectl init installs it" for g in wrong]
    return tuple(found)
