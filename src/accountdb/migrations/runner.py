"""Applying migrations to one region, or to several: all of them or none."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import psycopg
from psycopg import sql

from accountdb.errors import AccountdbError
from accountdb.migrations.files import shipped
from accountdb.migrations.planning import Applied, Plan, Step, plan
from accountdb.pg import session
from accountdb.pg.connect import Connection, told

# Arbitrary and fixed: every accountdb that migrates this database takes the same lock.
LOCK_KEY = 0x6163_6374_0001
_LOCK_TIMEOUT = "5s"


def ledger(conn: Connection) -> tuple[Applied, ...]:
    """What was applied here, in order; empty for a database that never was migrated."""
    row = conn.execute("SELECT pg_catalog.to_regclass('accountdb.migration') IS NOT NULL").fetchone()
    if not (row and row[0]):
        return ()
    rows = conn.execute("SELECT version, name, checksum FROM accountdb.migration ORDER BY version")
    return tuple(Applied(*entry) for entry in rows)


def version(conn: Connection) -> int:
    """The applied version; 0 for none."""
    return max((entry.version for entry in ledger(conn)), default=0)


def plan_for(conn: Connection, to: int | None = None, *, allow_down: bool = False) -> Plan:
    """The plan for this region as it stands."""
    return plan(ledger(conn), shipped(), to, allow_down=allow_down)


def migrate(
    conns: Sequence[Connection],
    to: int | None = None,
    *,
    allow_down: bool = False,
    on_step: Callable[[int, Step], None] = lambda region, step: None,
) -> list[Plan]:
    """Bring every region to version ``to`` (None: the newest). Returns the plans that were applied.

    One region: a transaction for each file. Several: one open transaction on each, committed
    when all files ran on all of them. ``on_step`` gets the region's position and the step, once
    it is committed. Raises AccountdbError, and then no region has half a file.
    """
    with ExitStack() as locks:
        for conn in conns:
            conn.commit()
            locks.enter_context(session.advisory_lock(conn, LOCK_KEY, busy="another migration runs on this database"))
        plans = [plan_for(conn, to, allow_down=allow_down) for conn in conns]
        together = len(conns) > 1
        for region, (conn, region_plan) in enumerate(zip(conns, plans, strict=True)):
            for step in region_plan.steps:
                run_step(conn, step)
                if not together:
                    conn.commit()
                    on_step(region, step)
        for conn in conns:
            conn.commit()
        if together:
            for region, region_plan in enumerate(plans):
                for step in region_plan.steps:
                    on_step(region, step)
        return plans


def run_step(conn: Connection, step: Step) -> None:
    """Run one file and note it in the ledger, inside the caller's transaction."""
    began = time.monotonic()
    try:
        conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(_LOCK_TIMEOUT)))
        session.act_as_owner(conn)
        conn.execute(step.sql.encode())
        _note(conn, step, time.monotonic() - began)
        conn.execute("RESET ROLE")
    except psycopg.Error as error:
        conn.rollback()
        reason = told(error)
        hint = reason.hint
        if hint is None and isinstance(error, psycopg.errors.InsufficientPrivilege):
            hint = "run it as the owner of the database, or as an administrator"
        raise AccountdbError(f"migration {step.title}: {reason.message}", hint=hint) from error


def _note(conn: Connection, step: Step, seconds: float) -> None:
    migration = step.migration
    if step.up:
        conn.execute(
            "INSERT INTO accountdb.migration (version, name, checksum, applied_by, seconds)"
            " VALUES (%s, %s, %s, session_user, %s)",
            (migration.version, migration.name, migration.checksum, seconds),
        )
    else:
        conn.execute("DELETE FROM accountdb.migration WHERE version = %s", (migration.version,))
