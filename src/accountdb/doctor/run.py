"""``migratectl doctor``: every check of every region."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from accountdb.compare.session import together
from accountdb.doctor import activity, resolver, rights, servers, streams, structures, tables, trial
from accountdb.doctor.beats import judge_beats
from accountdb.doctor.clock import Clock, judge_clocks, read_clock
from accountdb.doctor.model import Checkup, Look
from accountdb.doctor.region import Here, Subject, read_here
from accountdb.errors import AccountdbError
from accountdb.health.advice import Finding, Remedy
from accountdb.health.status import Status, read_status
from accountdb.pg import dsn as dsns
from accountdb.pg.connect import Connection, connect, told
from accountdb.pg.dsn import with_params
from accountdb.replication.model import Mode, State
from accountdb.setup.checking import ignoring, refuse_same

_STATUS_S = 5.0
# What one subject may take in one region.
_PATIENCE_S = 60.0
_SUBJECTS: tuple[tuple[str, Subject], ...] = (
    *servers.SUBJECTS,
    *tables.SUBJECTS,
    ("version_rises", trial.look),
    *rights.SUBJECTS,
    *activity.SUBJECTS,
    ("conflict_resolution", resolver.look),
)


@dataclass
class _Region:
    """One region while it is examined."""

    name: str
    dsn: str = field(repr=False)
    conn: Connection | None = None
    here: Here | None = None
    clock: Clock | None = None
    slots: tuple[streams.Slot, ...] | None = None
    findings: list[Finding] = field(default_factory=list)


def examine(regions: Mapping[str, str], mode: Mode | None = None, ignore: Path | None = None) -> Checkup:
    """Check the regions, given by name and DSN. Writes nothing that stays.

    ``mode``: judge them as regions of this mode, before they have joined too; None takes the one that init noted. A
    region that does not answer is a failed check. Raises UsageError for a DSN or an ignore file that cannot be
    read, and Refused where two names lead to one database.
    """
    for name, dsn in regions.items():
        dsns.parse(dsn, name=name)
    ignoring(ignore)
    everyone = tuple(regions)
    with ExitStack() as stack:
        found = [_Region(name, dsn) for name, dsn in regions.items()]

        def begin(region: _Region) -> None:
            _begin(region, everyone, mode, stack)

        together(begin, found)
        answering = {region.name: region for region in found if region.conn is not None and region.here is not None}
        refuse_same({name: one.conn for name, one in answering.items() if one.conn is not None}, regions)
        together(_examine, answering.values())
        shared = [*_shared(answering, regions, ignore)]
        _streams(answering, regions)
    findings = [one for region in found for one in region.findings]
    return Checkup(everyone, tuple(findings + shared))


def _begin(region: _Region, everyone: tuple[str, ...], mode: Mode | None, stack: ExitStack) -> None:
    look = Look(region.name)
    try:
        # A database in SQL_ASCII would else answer in bytes.
        dsn = with_params(region.dsn, client_encoding="UTF8")
        conn = stack.enter_context(connect(dsn, name="", autocommit=True))
        with _answered(conn):
            region.here = read_here(conn, region.name, everyone, mode)
            region.clock = read_clock(conn)
        region.conn = conn
    except AccountdbError as error:
        region.findings.append(look.failed("region", error.message, remedy=Remedy(error.hint or "")))
    except psycopg.errors.LockNotAvailable:
        text = "answers, and another session has locked a table: its structure cannot be read"
        remedy = Remedy("wait until a migration or VACUUM FULL has ended, and run doctor again")
        region.findings.append(look.failed("region", text, remedy=remedy))
    except psycopg.Error as error:
        region.findings.append(look.failed("region", told(error, region.dsn).message))


def _examine(region: _Region) -> None:
    assert region.conn is not None
    assert region.here is not None
    for check, subject in _SUBJECTS:
        region.findings += _asked(region, check, subject)

    def slots(conn: Connection, here: Here) -> Iterator[Finding]:
        region.slots = streams.read_slots(conn)
        yield from ()

    region.findings += _asked(region, "slot", slots)


def _asked(region: _Region, check: str, ask: Subject) -> list[Finding]:
    """The findings of one subject; what the server refuses is told, and keeps no other from being looked at."""
    assert region.conn is not None
    assert region.here is not None
    look, found = Look(region.name), list[Finding]()
    if region.conn.closed:
        return []
    try:
        with _answered(region.conn):
            found.extend(ask(region.conn, region.here))
    except AccountdbError as error:
        found.append(look.unseen(check, error.message))
    except psycopg.Error as error:
        message = told(error, region.dsn).message
        lost = region.conn.closed
        found.append(
            look.failed("region", f"the connection was lost: {message}") if lost else look.unseen(check, message)
        )
    return found


@contextmanager
def _answered(conn: Connection) -> Iterator[None]:
    """Within the block a server that says nothing for too long is hung up on: its own time limits freeze with it."""
    timer = threading.Timer(_PATIENCE_S, _hang_up, (conn,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _hang_up(conn: Connection) -> None:
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(conn.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


def _shared(answering: Mapping[str, _Region], regions: Mapping[str, str], ignore: Path | None) -> Iterator[Finding]:
    """What is about all regions together."""
    yield from servers.across([one.here for one in answering.values() if one.here is not None])
    yield from judge_clocks({name: one.clock for name, one in answering.items() if one.clock is not None})
    yield from structures.compare({name: regions[name] for name in answering}, ignore)
    both = {n: (one.conn, one.here) for n, one in answering.items() if one.conn and one.here and not one.conn.closed}
    try:
        yield from judge_beats(both)
    except psycopg.Error:
        yield Look(None).unseen("gap", "the server refused to answer")
    conns = {name: one.conn for name, one in answering.items() if one.conn is not None and not one.conn.closed}
    try:
        yield from structures.leftovers(conns, tuple(regions))
    except (AccountdbError, psycopg.Error) as error:
        reason = error.message if isinstance(error, AccountdbError) else told(error, *regions.values()).message
        yield Look(None).unseen("leftover", reason)
    heres = [one.here for one in answering.values() if one.here is not None]
    if any(here.streams and here.standing is not None and not here.joined for here in heres):
        why = "whether each server reaches the other shows when they join: this machine is another one"
        yield Look(None).unseen("network", why)


def _streams(answering: Mapping[str, _Region], regions: Mapping[str, str]) -> None:
    """Streams and slots: what one region says of them another one knows the cause of."""
    streaming = [one for one in answering.values() if one.here is not None and one.here.streams]
    if not streaming:
        return
    status = read_status(regions, _STATUS_S)
    users = _users(status)
    for one in streaming:
        assert one.here is not None
        if one.here.standing is None:
            who = one.here.facts.role.name
            one.findings.append(one.here.look.unseen("stream", f"role {who} may not see the subscriptions"))
        elif one.here.prepared:
            one.findings += streams.judge_streams(one.here, status)
        if one.slots is not None:
            one.findings += streams.judge_slots(one.here, one.slots, users, tuple(regions))


def _users(status: Status) -> dict[str, tuple[str, str, State]]:
    return {
        stream.slot: (region.name, stream.subscription, stream.state)
        for region in status.regions
        for stream in region.streams
        if stream.slot
    }
