"""``migratectl init``: bring one database to where it can take part in a mode.

Every step can be run again. What the role may not do is said, with what an administrator must
run, and left out: the rest is done all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from accountdb.catalog.tables import Table, read_tables
from accountdb.contract.row_contract import candidates, violations
from accountdb.drift.fingerprint import look
from accountdb.errors import UsageError
from accountdb.guards import install as guards
from accountdb.migrations import runner
from accountdb.pg import session
from accountdb.pg.connect import Connection, connect, told
from accountdb.replication import common
from accountdb.replication.engine import standing
from accountdb.replication.facts import NATIVE_SINCE
from accountdb.replication.model import Mode
from accountdb.setup.migrating.adopting import adopt_own
from accountdb.setup.report import Report
from accountdb.sql import block
from accountdb.sync import capture

_PATCH = "schema_pglogical_patch.sql"
_PGLOGICAL = "schema_pglogical_init.sql"


@dataclass(frozen=True)
class InitRequest:
    """What ``init`` was asked for. ``admin_dsn`` does what an ordinary role may not."""

    dsn: str
    mode: Mode
    node: str | None = None
    admin_dsn: str | None = None
    grant_to: str | None = None


def init(request: InitRequest) -> Report:
    """Run the steps of ``request`` and report each.

    Raises UsageError for a role that does not exist, a node name that contradicts the one that
    the region has joined under, or a server that cannot serve the mode at all.
    """
    report = Report()
    with connect(request.dsn, name="--dsn") as conn:
        admin = connect(request.admin_dsn, name="--admin-dsn", autocommit=True) if request.admin_dsn else None
        try:
            _check(conn, request)
            if admin is not None:
                check_same_database(admin, request.dsn)
            conn.rollback()
            _migrate(conn, report)
            _patch(conn, report)
            with connect(request.dsn, name="--dsn", autocommit=True) as plain:
                privileged = admin or plain
                if request.mode is Mode.PGLOGICAL:
                    prepare_pglogical(privileged, request.grant_to, report)
                _node(conn, privileged, request, report)
            _guards(conn, request, report)
            _capture(conn, request, report)
            if request.grant_to:
                grant(conn, request.grant_to, report)
            conn.commit()
        finally:
            if admin is not None:
                admin.close()
    return report


def check_same_database(admin: Connection, dsn: str) -> None:
    """Raises UsageError where the administrator's connection leads elsewhere than ``dsn``."""
    with connect(dsn, name="--dsn", autocommit=True) as conn:
        if not session.same_database(admin, conn):
            raise UsageError(
                "--admin-dsn leads to another database than --dsn",
                hint="the same host, port and database, with an administrator as the user",
            )


def _check(conn: Connection, request: InitRequest) -> None:
    if request.mode is Mode.NATIVE and conn.info.server_version < NATIVE_SINCE:
        raise UsageError(
            f"mode native needs PostgreSQL 16 or later, this server is {conn.info.server_version // 10000}",
            hint="use --mode pglogical (13 to 16) or --mode pgsync",
        )
    if request.grant_to:
        row = conn.execute(block("setup.sql", "role_exists"), {"role": request.grant_to}).fetchone()
        if not (row and row[0]):
            raise UsageError(
                f"--grant-to: role {request.grant_to} does not exist",
                hint=f'CREATE ROLE "{request.grant_to}" LOGIN',
            )
    name, mode = common.node(conn)
    changes = mode != request.mode or (request.node is not None and name not in (None, request.node))
    if changes and standing(conn).joined:
        raise UsageError(
            f"this region has joined as {name} in mode {mode}; it cannot become {request.node or name} in mode"
            f" {request.mode} while it is joined",
            hint="migratectl region leave first",
        )


def _migrate(conn: Connection, report: Report) -> None:
    adopt_own(conn, lambda line: report.done("schema", line))
    plan = runner.migrate(conn, look=look)
    if plan.steps:
        report.done("schema", f"version {plan.from_version} -> {plan.to_version}")
    else:
        report.unchanged("schema", f"version {plan.to_version}")


def _patch(conn: Connection, report: Report) -> None:
    with conn.transaction():
        session.act_as_owner(conn)
        conn.execute(block(_PATCH, "patch"))
        conn.execute("RESET ROLE")
    faulty = {t.name: violations(t) for t in candidates(read_tables(conn)) if violations(t)}
    if not faulty:
        report.unchanged("row contract", "every table of public is under it")
    for table, faults in faulty.items():
        report.warn("row contract", f"public.{table}: {'; '.join(faults)}", "it cannot be replicated as it is")


def prepare_pglogical(admin: Connection, grant_to: str | None, report: Report) -> None:
    """The extension and its rights. Warnings of the file become lines of the report."""
    notices: list[tuple[str, str | None]] = []

    def collect(diag: psycopg.errors.Diagnostic) -> None:
        if diag.severity_nonlocalized == "WARNING":
            notices.append((diag.message_primary or "", diag.message_hint))

    had = has_pglogical(admin)
    admin.add_notice_handler(collect)
    try:
        admin.execute("SELECT pg_catalog.set_config('accountdb.grant_to', %s, false)", (grant_to or "",))
        admin.execute(block(_PGLOGICAL, "extension"))
        admin.execute(block(_PGLOGICAL, "rights"))
    finally:
        admin.remove_notice_handler(collect)
    for message, hint in notices:
        report.warn("pglogical", message, hint)
    if not notices:
        (report.unchanged if had else report.done)("pglogical", "extension and rights")


def has_pglogical(conn: Connection) -> bool:
    row = conn.execute(block("setup.sql", "pglogical_rights")).fetchone()
    return bool(row and row[0])


def _node(conn: Connection, admin: Connection, request: InitRequest, report: Report) -> None:
    before, mode_before = common.node(conn)
    name = request.node or before
    with conn.transaction():
        session.act_as_owner(conn)
        common.set_node(conn, name, request.mode)
        conn.execute("RESET ROLE")
    if name is None:
        if request.mode is not Mode.PGSYNC:
            report.warn("node name", "none yet, rows written here name the node local", "--node NAME, or region join")
        return
    everywhere = common.set_node_setting(admin, name)
    overruled = None if everywhere else common.node_setting(conn)
    if overruled not in (None, name):
        report.warn(
            "node name",
            f"accountdb.node says {name}, but this database's setting pglogical.node_name = {overruled} comes first",
            "an administrator runs the same with --admin-dsn",
        )
        return
    where = "setting pglogical.node_name and accountdb.node" if everywhere else "accountdb.node"
    changed = (before, mode_before) != (name, request.mode)
    (report.done if changed else report.unchanged)("node name", f"{name} ({where})")


def _guards(conn: Connection, request: InitRequest, report: Report) -> None:
    if request.mode is Mode.PGSYNC:
        return
    touched = install_guards(conn, read_tables(conn))
    if touched:
        report.done("guards", ", ".join(touched))
    else:
        report.unchanged("guards", "current on every table")


def _capture(conn: Connection, request: InitRequest, report: Report) -> None:
    """What pgsync reads at a source. A region that is only a destination loses little by it."""
    if request.mode is not Mode.PGSYNC:
        return
    tables = [table for table in candidates(read_tables(conn)) if table.primary_key]
    with conn.transaction():
        session.act_as_owner(conn)
        new = capture.install(conn, tables)
        conn.execute("RESET ROLE")
    if new:
        report.done("capture", ", ".join(table.name for table in new))
    else:
        report.unchanged("capture", "current on every table")


def install_guards(conn: Connection, tables: Sequence[Table], exclude: Sequence[str] = ()) -> tuple[str, ...]:
    """Bring the guards of all tables under the row contract up to date. Returns the touched ones."""
    ready = [table for table in candidates(tables, exclude) if not violations(table)]
    with conn.transaction():
        return tuple(guard.table for guard in guards.install(conn, ready))


def grant(conn: Connection, role: str, report: Report) -> None:
    """SELECT, INSERT, UPDATE, DELETE on the tables under the row contract: what a business role needs."""
    names = [t.name for t in candidates(read_tables(conn)) if not violations(t)]
    missing = [name for (name,) in conn.execute(block("setup.sql", "missing_grants"), {"role": role, "tables": names})]
    if not names:
        report.unchanged("grants", "no account tables yet; init --grant-to makes them later")
        return
    if not missing:
        report.unchanged("grants", f"{role} has what it needs")
        return
    tables = sql.SQL(", ").join(sql.Identifier("public", name) for name in missing)
    try:
        with conn.transaction():
            session.act_as_owner(conn)
            conn.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(sql.Identifier(role)))
            conn.execute(
                sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {}").format(tables, sql.Identifier(role))
            )
            conn.execute("RESET ROLE")
    except psycopg.errors.InsufficientPrivilege as error:
        report.warn("grants", told(error).message, "the owner of the tables runs this again")
        return
    report.done("grants", f"{role}: SELECT, INSERT, UPDATE, DELETE on {', '.join(missing)}")
