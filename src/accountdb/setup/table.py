"""``migratectl table add|remove|list``: which tables of public are replicated."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from psycopg import sql

from accountdb.catalog.tables import Table, read_tables
from accountdb.contract.row_contract import candidates, violations
from accountdb.errors import AccountdbError, Refused, UsageError
from accountdb.guards.install import install, states
from accountdb.migrations import runner
from accountdb.migrations.locks import all_locked, patiently
from accountdb.migrations.steps import Patience, begin
from accountdb.pg.connect import Connection, connect
from accountdb.pg.names import function_name
from accountdb.replication import common
from accountdb.replication.engine import engine_for
from accountdb.replication.model import Mode
from accountdb.setup.migrating import fence
from accountdb.setup.migrating.regions import Regions, rolled_back
from accountdb.setup.report import Report
from accountdb.sql import block

_FILE = "table.sql"
_COLUMNS = ("created_at", "updated_at", "version", "origin_node")
_FUNCTIONS = ("set_updated_at", "bump_version")


@dataclass(frozen=True)
class TableStatus:
    """One table in one region. ``lacks`` is what it lacks of the row contract; ``guard`` is its guard's state."""

    region: str
    table: str
    replicated: bool
    guard: str
    lacks: tuple[str, ...]


def contract_statements(table: Table) -> tuple[sql.Composed, ...]:
    """What brings ``table`` under the row contract. Pure.

    Raises Refused for what no statement can add without touching what the application relies on:
    another primary key, or a value that comes from a sequence.
    """
    found: list[sql.Composed] = []
    for name in _COLUMNS:
        if table.column(name) is None:
            found.append(_filled(f"add_{name}", table=table.identifier))
    active = {trigger.function for trigger in table.row_triggers}
    for function in _FUNCTIONS:
        if function not in active:
            trigger = sql.Identifier(f"trg_{table.name}_{function}"[:63])
            names = {"table": table.identifier, "trigger": trigger, "function": sql.Identifier(function)}
            found.append(_filled("add_trigger", **names))
    unmendable = [fault for fault in violations(table) if not _mendable(fault)]
    if unmendable:
        raise Refused(
            f"public.{table.name} cannot be brought under the row contract: {'; '.join(unmendable)}",
            hint="the primary key has to be uuid uuid DEFAULT gen_random_uuid(), and no column takes a sequence",
        )
    return tuple(found)


def _mendable(fault: str) -> bool:
    missing_column = fault.endswith("is missing") and not fault.startswith("column uuid")
    return missing_column or fault.startswith("no BEFORE UPDATE")


def add_table(dsns: Mapping[str, str], name: str) -> Report:
    """Bring the table under the row contract, guard it and replicate it, in all regions or in none.

    Local writes of it are turned away until every stream takes it in. Rows that stand are not copied.
    """
    report = Report()
    with ExitStack() as stack:
        conns = {region: stack.enter_context(connect(dsn, name=f"--{region}")) for region, dsn in dsns.items()}
        watched = {region: runner.held(dsn, conns[region]) for region, dsn in dsns.items()}
        stack.enter_context(all_locked(conns))
        regions = Regions(conns, watched, Patience(), lambda line: None)
        with regions.fenced(()):
            patiently(lambda: _add(regions, name), regions.patience, watched)
            for region in conns:
                report.done(region, f"{name} is under the row contract and guarded")
            regions.follow()
            _tell_streams(regions, report)
    return report


def _add(regions: Regions, name: str) -> None:
    """Everything in an open transaction of each region; then all are committed."""
    with rolled_back(list(regions.conns.values())):
        for region, conn in regions.conns.items():
            with regions.named(region):
                _add_here(conn, _find(conn, region, name), regions.patience)
        for conn in regions.conns.values():
            conn.commit()


def _add_here(conn: Connection, found: Table, patience: Patience) -> None:
    begin(conn, patience.lock_timeout_ms)
    for statement in contract_statements(found):
        conn.execute(statement)
    conn.execute("RESET ROLE")
    ready = [t for t in candidates(read_tables(conn)) if not violations(t)]
    # The guards of its parents and children know of it.
    install(conn, ready)
    node, mode = common.node(conn)
    if node is None or mode is Mode.PGSYNC:
        return
    engine = engine_for(mode)
    if engine.offers(conn) and (found.schema, found.name) not in engine.offered(conn):
        engine.add(conn, found)
        if engine.standing(conn).joined:
            fence.up(conn, [found.identifier], patience)


def _tell_streams(regions: Regions, report: Report) -> None:
    for region, conn in regions.conns.items():
        engine = regions.standings.engines.get(region)
        if engine is None:
            report.warn(region, "not joined yet: region join adds the table to the stream")
            continue
        for subscription in engine.standing(conn).subscriptions:
            report.done(region, f"{subscription.name} takes it in")


def remove_table(regions: Mapping[str, str], name: str) -> Report:
    """Stop replicating the table and take its guard away; its rows, columns and triggers stay."""
    report = Report()
    with ExitStack() as stack:
        conns = {
            region: stack.enter_context(connect(dsn, name=f"--{region}", autocommit=True))
            for region, dsn in regions.items()
        }
        found = {region: _find(conn, region, name) for region, conn in conns.items()}
        for region, conn in conns.items():
            _, mode = common.node(conn)
            with conn.transaction():
                engine_for(mode).take_back(conn, found[region])
                conn.execute(without_guard(found[region]))
            report.done(region, f"{name} is not replicated any more")
        for conn in conns.values():
            engine = engine_for(common.node(conn)[1])
            for subscription in engine.standing(conn).subscriptions:
                engine.refresh(conn, subscription.name)
    return report


def without_guard(table: Table) -> sql.Composed:
    names = {
        "guard": sql.Identifier("accountdb", function_name("guard", table.schema, table.name)),
        "capture": sql.Identifier("accountdb", function_name("bury", table.schema, table.name)),
    }
    return _filled("drop_guard", table=table.identifier, **names)


def list_tables(regions: Mapping[str, str]) -> tuple[TableStatus, ...]:
    """Every table of public that could be replicated, in every region."""
    found: list[TableStatus] = []
    for region, dsn in regions.items():
        with connect(dsn, name=f"--{region}", autocommit=True) as conn:
            tables = candidates(read_tables(conn))
            _, mode = common.node(conn)
            try:
                offered = engine_for(mode).offered(conn)
            except UsageError:
                offered = frozenset()
            guards = {guard.table: guard.state for guard in states(conn, tables)}
            found += [
                TableStatus(region, t.name, (t.schema, t.name) in offered, guards[t.name], violations(t))
                for t in tables
            ]
    return tuple(found)


def _find(conn: Connection, region: str, name: str) -> Table:
    tables = {table.name: table for table in candidates(read_tables(conn))}
    if name not in tables:
        raise AccountdbError(f"{region}: there is no table public.{name}", hint=f"one of {', '.join(tables) or 'none'}")
    return tables[name]


def _filled(name: str, **parts: sql.Composable) -> sql.Composed:
    return sql.SQL(block(_FILE, name)).format(**parts)
