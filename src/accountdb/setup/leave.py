"""``migratectl region leave``: out of the streams, also when the other side is gone for good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from accountdb.catalog.tables import read_tables
from accountdb.contract.row_contract import candidates
from accountdb.errors import AccountdbError, ConnectError, Refused, UsageError
from accountdb.guards.install import GuardState, states
from accountdb.pg.connect import Connection, connect, told
from accountdb.replication import common
from accountdb.replication.engine import Engine
from accountdb.replication.model import Mode, Slot
from accountdb.replication.native import slot_name
from accountdb.setup.report import Report
from accountdb.setup.subscriptions import chosen
from accountdb.setup.table import without_guard

_ASK_S = 2


@dataclass(frozen=True)
class LeaveRequest:
    """What ``region leave`` was asked for. ``subscription`` None: all of the region, and what it offers.

    ``gone``: the other side will never come back, ``node`` names it where there are several.
    """

    subscription: str | None = None
    gone: bool = False
    node: str | None = None
    drop_guards: bool = False


def leave(dsn: str, request: LeaveRequest | None = None) -> Report:
    """Drop one subscription of the region, or all of them and what the region offers.

    While another region still follows this one, what it offers stays, and the report says so; with ``gone`` the
    follower's slots are dropped too. Raises Refused where one that is to be gone is there.
    """
    request = request or LeaveRequest()
    if request.node and not request.gone:
        raise UsageError(f"{request.node}: a node is named with --gone only", hint=f"--gone {request.node}")
    if request.drop_guards and request.subscription:
        raise UsageError("--drop-guards is for a region that leaves altogether", hint="leave out --subscription")
    report = Report()
    with connect(dsn, name="--dsn", autocommit=True) as conn:
        engine, names = chosen(conn, request.subscription)
        if request.gone:
            _leave_gone(conn, engine, names, request, report)
        else:
            _leave(conn, engine, names, request, report)
        if request.subscription is None:
            _guards(conn, engine, report, drop=request.drop_guards)
    return report


def _leave(conn: Connection, engine: Engine, names: Sequence[str], request: LeaveRequest, report: Report) -> None:
    providers = [engine.provider_dsn(conn, name) for name in names]
    for name in names:
        remark = engine.unsubscribe(conn, name)
        if remark:
            report.warn("subscription", f"{name} dropped, but {remark}")
        else:
            report.done("subscription", f"{name} dropped")
    if request.subscription is None:
        withdraw(conn, engine, report)
    for provider in dict.fromkeys(provider for provider in providers if provider):
        _tidy(provider, engine, report)


def _tidy(provider_dsn: str, engine: Engine, report: Report) -> None:
    """Take back what a provider offers that has left itself, where this one was the last to follow it."""
    try:
        with connect(provider_dsn, name="provider", autocommit=True, timeout_s=_ASK_S) as provider:
            if engine.standing(provider).joined or not engine.offers(provider):
                return
            engine.withdraw(provider)
            node, _ = common.node(provider)
    except ConnectError:
        return  # it was told with the slot
    except psycopg.Error as error:
        why = told(error, provider_dsn).message
        report.warn("provider", f"it still offers its changes, to nobody: {why}", "there: migratectl region leave")
        return
    report.done("provider", f"{node}: had left and was followed by nobody else, offers nothing any more")


def withdraw(conn: Connection, engine: Engine, report: Report) -> None:
    """Stop offering changes, unless somebody still follows."""
    followers = engine.standing(conn).followers
    if followers:
        slots = ", ".join(slot.name for slot in followers)
        report.warn(
            "node",
            f"still followed through {slots}; it goes on offering its changes",
            "region leave on the other side, then here again; if that side is gone for good: region leave --gone",
        )
    elif engine.offers(conn):
        engine.withdraw(conn)
        report.done("node", "offers nothing any more")
    else:
        report.unchanged("node", "offers nothing")


def _leave_gone(conn: Connection, engine: Engine, names: Sequence[str], request: LeaveRequest, report: Report) -> None:
    slots: tuple[Slot, ...] = ()
    if request.subscription is None:
        names, slots = _of_node(conn, engine, request.node)
    if request.node and not names and not slots:
        report.unchanged("subscription", f"none here has to do with {request.node}")
    _refuse_living(conn, engine, names, slots)
    for name in names:
        engine.abandon(conn, name)
        report.done("subscription", f"{name} dropped; its provider was not asked")
    for slot in slots:
        common.end_slot(conn, slot.name, wait_s=0)
        report.done("slot", f"{slot.name} dropped; it kept {slot.lag_bytes or 0} bytes for a follower that is gone")
    left = engine.standing(conn)
    if left.joined:
        others = ", ".join([s.name for s in left.subscriptions] + [s.name for s in left.followers])
        report.unchanged("node", f"goes on: {others}")
    else:
        withdraw(conn, engine, report)


def _of_node(conn: Connection, engine: Engine, node: str | None) -> tuple[tuple[str, ...], tuple[Slot, ...]]:
    """The subscriptions from ``node`` and the slots that it follows through; all where it is None.

    Raises UsageError where that cannot be told from what belongs to others.
    """
    current = engine.standing(conn)
    names = tuple(s.name for s in current.subscriptions)
    if node is None:
        return names, current.followers
    if engine.mode is Mode.PGLOGICAL:
        return _of_pglogical_node(conn, engine, node, names, current.followers)
    slots = tuple(slot for slot in current.followers if slot.name.startswith(slot_name(node, "")))
    if current.followers and not slots:
        return (), ()  # what is left belongs to others
    silent = tuple(name for name in names if not _answers(engine.provider_dsn(conn, name)))
    if len(silent) > 1:
        raise UsageError(
            f"which of {', '.join(silent)} comes from {node} cannot be told: no provider of these answers",
            hint=f"--subscription NAME --gone for the one from {node}, then --gone {node} when the others answer",
        )
    return silent, slots


def _of_pglogical_node(
    conn: Connection, engine: Engine, node: str, names: Sequence[str], followers: Sequence[Slot]
) -> tuple[tuple[str, ...], tuple[Slot, ...]]:
    """pglogical notes which node a subscription comes from, and names slots by anything but who follows."""
    mine = tuple(name for name in names if engine.provider_node(conn, name) == node)
    if not mine:
        return (), ()
    slots = tuple(followers) if len(names) == 1 else tuple(slot for slot in followers if not slot.active)
    if len(slots) > 1:
        raise UsageError(
            f"which slot is that of {node} does not show: {', '.join(slot.name for slot in slots)}",
            hint="migratectl clean --dsn DSN --slot NAME --yes removes one, then --gone again",
        )
    return mine, slots


def _answers(dsn: str | None) -> bool:
    """Whether somebody is there; not where that may not be known."""
    if dsn is None:
        return False
    try:
        connect(dsn, name="", autocommit=True, timeout_s=_ASK_S).close()
    except AccountdbError:
        return False
    return True


def _refuse_living(conn: Connection, engine: Engine, names: Sequence[str], slots: Sequence[Slot]) -> None:
    active = [slot.name for slot in slots if slot.active]
    if active:
        raise Refused(
            f"slot {active[0]} is active: its follower is there, not gone",
            hint="migratectl region leave on the other side, then here without --gone",
        )
    for name in names:
        if _answers(engine.provider_dsn(conn, name)):
            raise Refused(
                f"the provider of {name} answers: it is there, not gone",
                hint="migratectl region leave without --gone removes its slot there too",
            )


def _guards(conn: Connection, engine: Engine, report: Report, *, drop: bool) -> None:
    """Guards stay unless a person says otherwise: they note the deletes that the next join has to know."""
    known = read_tables(conn)
    tables = candidates(known)
    there = {g.table for g in states(conn, tables, known) if g.state is not GuardState.MISSING}
    if not there:
        report.unchanged("guards", "none")
        return
    if not drop:
        report.unchanged("guards", f"of {len(there)} tables stay: they note deletes for the next join (--drop-guards)")
        return
    if engine.standing(conn).joined:
        report.warn("guards", "kept: a stream still comes in or goes out")
        return
    with conn.transaction():
        for table in tables:
            if table.name in there:
                conn.execute(without_guard(table))
    report.done("guards", f"of {len(there)} tables dropped; deletes are not noted from now on")
