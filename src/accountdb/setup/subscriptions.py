"""What all commands on a region's subscriptions share: which are meant, and waiting until one streams."""

from __future__ import annotations

import time

from accountdb.errors import UsageError
from accountdb.pg.connect import Connection
from accountdb.replication.engine import Engine, engine_for, standing
from accountdb.replication.model import Mode, State
from accountdb.setup.report import Report

_STREAM_WAIT_S = 15.0


def chosen(conn: Connection, subscription: str | None, *, need: bool = False) -> tuple[Engine, tuple[str, ...]]:
    """The engine, and the subscription of that name, or all. Raises UsageError for one that is not there."""
    current = standing(conn)
    if current.mode is Mode.PGSYNC:
        raise UsageError("this region has no streams (mode pgsync)", hint="migratectl status")
    names = tuple(s.name for s in current.subscriptions)
    if subscription is not None and subscription not in names:
        there = ", ".join(names) or "none"
        raise UsageError(f"there is no subscription {subscription} here", hint=f"--subscription is one of: {there}")
    if need and not names:
        raise UsageError("this region has no subscription", hint="migratectl region join makes one")
    return engine_for(current.mode), (subscription,) if subscription else names


def await_stream(conn: Connection, engine: Engine, name: str, report: Report) -> bool:
    """Wait until a subscription streams, for some seconds, and say what came of it."""
    deadline = time.monotonic() + _STREAM_WAIT_S
    state = State.DOWN
    while time.monotonic() < deadline:
        state = state_of(conn, engine, name)
        if state in (State.REPLICATING, State.DISABLED):
            break
        time.sleep(0.1)
    if state is State.REPLICATING:
        report.unchanged("stream", f"{name} is replicating")
        return True
    report.warn("stream", f"{name} is {state}", "migratectl status says why")
    return False


def state_of(conn: Connection, engine: Engine, name: str) -> State:
    """A subscription's state; down where there is none."""
    return next((s.state for s in engine.standing(conn).subscriptions if s.name == name), State.DOWN)
