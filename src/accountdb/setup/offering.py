"""``migratectl region refresh``: accountdb's own tables are offered by every region and followed by every other."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from accountdb.catalog.tables import read_tables
from accountdb.compare.session import named
from accountdb.errors import AccountdbError, UsageError
from accountdb.pg.connect import Connection, connect
from accountdb.replication import common
from accountdb.replication.engine import Engine, engine_for
from accountdb.replication.model import OWN_TABLES, Mode, State
from accountdb.setup.report import Report


def refresh(regions: Mapping[str, str]) -> Report:
    """Have each region offer those of accountdb's own tables that it does not yet, and the others follow them.

    Raises AccountdbError, before anything is written, where a region lacks such a table: a worker would stop at the
    first change of it.
    """
    report = Report()
    with ExitStack() as stack:
        conns = {n: stack.enter_context(connect(dsn, name=f"--{n}", autocommit=True)) for n, dsn in regions.items()}
        engines = {name: _engine(name, conn) for name, conn in conns.items()}
        for name, conn in conns.items():
            missing = common.missing_own(conn)
            if missing:
                raise AccountdbError(f"{name} has no {', '.join(missing)}", hint="migratectl migrate in all regions")
        for name, conn in conns.items():
            with named(name, regions[name]):
                _offer(name, conn, engines[name], report)
        for name, conn in conns.items():
            with named(name, regions[name]):
                for subscription in engines[name].standing(conn).subscriptions:
                    if subscription.state not in (State.PENDING, State.DISABLED):
                        engines[name].refresh(conn, subscription.name)
                        report.unchanged("subscription", f"{name}: {subscription.name} follows all that is offered")
    return report


def _engine(name: str, conn: Connection) -> Engine:
    _, mode = common.node(conn)
    if mode is Mode.PGSYNC:
        raise UsageError(f"{name} has no streams (mode pgsync)", hint="migratectl status")
    return engine_for(mode)


def _offer(name: str, conn: Connection, engine: Engine, report: Report) -> None:
    if not engine.offers(conn):
        raise AccountdbError(f"{name} offers no changes: it has not joined", hint="migratectl region join")
    offered = engine.offered(conn)
    tables = [table for table in read_tables(conn, "accountdb") if (table.schema, table.name) in OWN_TABLES]
    for table in tables:
        if (table.schema, table.name) not in offered:
            with conn.transaction():
                engine.add(conn, table)
            report.done("offer", f"{name}: {table.schema}.{table.name}")
