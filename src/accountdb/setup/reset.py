"""``migratectl reset``: drop the account tables and migrate again, in one transaction."""

from __future__ import annotations

import psycopg
from psycopg import sql

from accountdb.catalog.tables import read_tables
from accountdb.drift.fingerprint import look
from accountdb.errors import Refused
from accountdb.migrations import runner
from accountdb.migrations.files import OWN
from accountdb.migrations.ledger import Journal, ledger
from accountdb.migrations.locks import LOCK_KEY
from accountdb.migrations.steps import Patience
from accountdb.pg import session
from accountdb.pg.connect import Connection, connect, told
from accountdb.replication import common
from accountdb.replication.engine import engine_for, standing
from accountdb.replication.model import Mode, Standing
from accountdb.setup.init import install_guards
from accountdb.setup.leave import withdraw
from accountdb.setup.report import Report
from accountdb.sql import block


def reset(dsn: str, *, confirmed: bool) -> Report:
    """Empty the region. Its node name, its mode and the schema pglogical stay.

    Refused while the region is joined, and without confirmation. One transaction: a failure,
    because of a view of yours on an account table say, leaves everything as it was.
    """
    report = Report()
    with connect(dsn, name="--dsn") as conn:
        current = standing(conn)
        _check(current, confirmed=confirmed)
        busy = "a migration runs on this database"
        with session.advisory_lock(conn, LOCK_KEY, busy=busy):
            try:
                _empty(conn, current, report)
                conn.commit()
            except psycopg.Error as error:
                raise told(error, dsn) from error
    return report


def _check(current: Standing, *, confirmed: bool) -> None:
    if current.joined:
        streams = [s.name for s in current.subscriptions] + [s.name for s in current.followers]
        raise Refused(
            f"the region is joined ({', '.join(streams)}); a reset would empty it while streams run",
            hint="migratectl region leave on both sides first",
        )
    if not confirmed:
        raise Refused("reset drops the account tables with every row in them", hint="--yes allows it")


def _empty(conn: Connection, current: Standing, report: Report) -> None:
    two_way = current.mode is not Mode.PGSYNC
    if two_way:
        withdraw(conn, engine_for(current.mode), report)
    granted = conn.execute(block("setup.sql", "grants")).fetchall()
    journal = Journal()
    runner.together(conn, runner.plan_for(conn, 0, allow_down=True).steps, journal, look, Patience())
    up = runner.plan_for(conn)
    runner.together(conn, up.steps, journal, look, Patience())
    common.set_node(conn, current.node, current.mode)
    if two_way:
        install_guards(conn, read_tables(conn))
    for (statement,) in granted:
        conn.execute(sql.SQL(statement))
    theirs = [entry for entry in ledger(conn) if entry.series != OWN]
    if theirs:
        report.warn(
            "your own migrations",
            f"{theirs[-1].title} and those before it stay noted as applied; what they had changed in the account tables"
            " is gone",
            "migratectl check names what is missing; before a reset, migratectl migrate --dir DIR --to 0 --allow-down",
        )
    report.done("account tables", f"dropped and made again at version {up.to_version}, empty")
