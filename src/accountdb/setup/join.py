"""``migratectl region join|pause|resume``: check first, then act, and say what is left to do."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import psycopg

from accountdb.catalog.tables import Table, read_tables
from accountdb.compare.content import differing, read_content
from accountdb.contract.row_contract import candidates, violations
from accountdb.drift.compare import Drift
from accountdb.drift.describe import describe
from accountdb.drift.verify import compare_regions
from accountdb.errors import AccountdbError, Refused, UsageError
from accountdb.pg import dsn as dsns
from accountdb.pg import session
from accountdb.pg.connect import Connection, connect
from accountdb.replication import common
from accountdb.replication.engine import Engine, engine_for, standing
from accountdb.replication.facts import problems, read_facts
from accountdb.replication.model import JoinRequest, Mode, Outcome, Subscription, meant_for
from accountdb.setup.init import install_guards
from accountdb.setup.report import Report
from accountdb.setup.subscriptions import await_stream, chosen

_MAX_NAME_BYTES = 63


def join(dsn: str, request: JoinRequest, mode: Mode | None = None) -> Report:
    """Join the region at ``dsn`` to its provider, in ``mode`` (None: the one that init noted).

    Everything is checked on both sides before anything is written. Joining again changes nothing
    but a connection string that is new. Where the provider has not joined yet, the subscription
    is noted, and the provider's own join makes it.
    """
    dsns.parse(request.node_dsn, name="--node-dsn")
    _check_name("--node", request.node)
    _check_name("--subscription", request.subscription)
    with ExitStack() as stack:
        conn = stack.enter_context(connect(dsn, name="--dsn", autocommit=True))
        provider = stack.enter_context(connect(request.provider_dsn, name="--provider-dsn", autocommit=True))
        engine = engine_for(mode or _noted_mode(conn))
        report = Report()
        tables = _preflight(conn, provider, engine, request)
        touched = install_guards(conn, read_tables(conn), request.exclude)
        if touched:
            report.done("guards", ", ".join(touched))
        engine.offer(conn, request, tables)
        _subscribe(conn, provider, engine, request, report)
        _complete_provider(conn, provider, engine, request, report)
        _tell_content(conn, provider, tables, report)
    return report


def _check_name(option: str, name: str) -> None:
    size = len(name.encode())
    if not 0 < size <= _MAX_NAME_BYTES:
        raise UsageError(
            f"{option} {name!r} has {size} bytes",
            hint=f"a name has 1 to {_MAX_NAME_BYTES} bytes: node_cn, sub_from_global",
        )


def _noted_mode(conn: Connection) -> Mode:
    _, mode = common.node(conn)
    if mode is Mode.PGSYNC:
        raise UsageError(
            "this region was not prepared for streams",
            hint="migratectl init --mode native or --mode pglogical, or --mode here",
        )
    return mode


def _preflight(conn: Connection, provider: Connection, engine: Engine, request: JoinRequest) -> tuple[Table, ...]:
    """Check both sides; the tables that will be offered. Raises with every problem that it found."""
    if session.same_database(conn, provider):
        raise Refused(
            "--dsn and --provider-dsn lead to the same database",
            hint="--provider-dsn names the other region",
        )
    name, _ = common.node(conn)
    current = standing(conn)
    if current.joined and name not in (None, request.node):
        raise UsageError(
            f"this region has joined as {name}, not {request.node}",
            hint=f"--node {name}, or region leave first",
        )
    theirs, _ = common.node(provider)
    if theirs == request.node:
        raise UsageError(
            f"the provider is node {theirs} too; two regions cannot bear one name", hint="--node NAME of this region"
        )
    _check_servers(conn, provider, engine, request, current.subscriptions)
    tables = candidates(read_tables(conn), request.exclude)
    if not tables:
        raise AccountdbError("there are no account tables here", hint="migratectl init first")
    _check_tables(conn, provider, engine, tables)
    return tables


def _check_servers(
    conn: Connection,
    provider: Connection,
    engine: Engine,
    request: JoinRequest,
    standing_here: Sequence[Subscription],
) -> None:
    fresh = not any(s.name == request.subscription and s.slot for s in standing_here)
    found = [f"this region: {p}" for p in problems(read_facts(conn), engine.mode, provides=fresh, receives=fresh)]
    there = problems(read_facts(provider), engine.mode, provides=fresh, receives=False)
    found += [f"provider: {p}" for p in there]
    obstacle = engine.obstacle(conn, provider, request)
    if obstacle:
        found.append(obstacle)
    if found:
        raise AccountdbError(_listed("cannot join", found), hint="mend it, then run the same command again")


def _check_tables(conn: Connection, provider: Connection, engine: Engine, tables: Sequence[Table]) -> None:
    unfit = [f"public.{t.name}: {'; '.join(violations(t))}" for t in tables if violations(t)]
    if unfit:
        raise Refused(
            _listed("tables outside the row contract", unfit),
            hint="mend the table, or leave it out with --exclude TABLE (on both sides)",
        )
    for side, where in ((conn, "this region"), (provider, "the provider")):
        short = engine.short_tables(side) if engine.offers(side) else ()
        if short:
            raise Refused(
                f"{where}: rep_all leaves out columns or rows of {', '.join(short)}, which breaks the stream",
                hint="take the table out of the set and let region join add it whole",
            )
    names = {t.name for t in tables}
    drifts = [d for d in compare_regions(conn, provider, ("public",)) if _concerns(d, names)]
    if drifts:
        lines = [describe(drift) for drift in drifts[:10]]
        more = [f"and {len(drifts) - 10} more"] if len(drifts) > 10 else []
        raise AccountdbError(
            _listed("the two regions differ in structure", lines + more),
            hint="migratectl migrate on both; migratectl check shows every difference",
        )
    own = {table for side in (conn, provider) for table in common.missing_own(side)}
    if own:
        raise AccountdbError(
            f"{', '.join(sorted(own))} is not in both regions: one has an older version of accountdb's own tables",
            hint="migratectl migrate --cn DSN --global DSN, then join again",
        )


def _concerns(drift: Drift, tables: set[str]) -> bool:
    """Whether a difference is about a table that is to be replicated."""
    if drift.kind in ("table", "column", "constraint", "index"):
        return (drift.identity.owner or drift.name) in tables
    return drift.kind in ("enum", "domain", "composite")


def _listed(what: str, lines: Sequence[str]) -> str:
    if len(lines) == 1:
        return f"{what}: {lines[0]}"
    return "\n".join([f"{what}, {len(lines)} problems:", *(f"  - {line}" for line in lines)])


def _subscribe(conn: Connection, provider: Connection, engine: Engine, request: JoinRequest, report: Report) -> None:
    if not engine.offers(provider):
        common.add_pending(conn, provider, request.subscription, engine.mode)
        report.done("node", f"{request.node} offers its changes")
        report.warn(
            "subscription",
            f"{request.subscription} waits: the provider has not joined yet",
            "run region join on the provider; it makes this subscription too",
        )
        return
    outcome = engine.subscribe(conn, provider, request)
    detail = f"{request.subscription} from {dsns.shown(request.provider_dsn)}"
    if outcome is Outcome.UNCHANGED:
        report.unchanged("subscription", detail)
    else:
        report.done("subscription", f"{detail}, {outcome}")
    await_stream(conn, engine, request.subscription, report)


def _complete_provider(
    conn: Connection, provider: Connection, engine: Engine, request: JoinRequest, report: Report
) -> None:
    """Make the subscription that the provider asked of this region before this region had joined."""
    try:
        node, _ = common.node(provider)
        waiting, unknown = _waiting_for(conn, provider, engine, request)
    except psycopg.Error as error:
        report.warn("provider", f"cannot be read there: {error.diag.message_primary}", "run region join there again")
        return
    _refresh_provider(conn, provider, engine, report)
    for name in unknown:
        report.warn(
            "provider",
            f"{node}: {name} waits, and nobody noted for which region",
            f"where it is for this one: migratectl region join --subscription {name} there, with this region's DSN",
        )
    for name in waiting if node else ():
        theirs = JoinRequest(str(node), request.provider_dsn, name, request.node_dsn)
        try:
            obstacle = engine.obstacle(provider, conn, theirs)
            if obstacle:
                report.warn(
                    "provider", f"{name} could not be made on {node}: {obstacle}", "run region join there again"
                )
                continue
            engine.subscribe(provider, conn, theirs)
        except psycopg.Error as error:
            reason = dsns.scrub(error.diag.message_primary or str(error), request.node_dsn, request.provider_dsn)
            report.warn("provider", f"{name} could not be made on {node}: {reason}", "run region join there again")
            continue
        report.done("provider", f"{node}: {name} created")
        await_stream(provider, engine, name, report)


def _waiting_for(
    conn: Connection, provider: Connection, engine: Engine, request: JoinRequest
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What waits on the provider for this very region, and what may wait for it or for another one."""
    alone = len(engine.standing(provider).subscriptions) == 1
    return meant_for(common.waiting(provider), common.identity(conn), request.node, alone=alone)


def _refresh_provider(conn: Connection, provider: Connection, engine: Engine, report: Report) -> None:
    """Have the provider take in tables that this region has just begun to offer."""
    followers = {slot.name for slot in engine.standing(conn).followers}
    try:
        for subscription in engine.standing(provider).subscriptions:
            if subscription.slot in followers:
                engine.refresh(provider, subscription.name)
    except psycopg.Error as error:
        report.warn(
            "provider",
            f"it may not follow new tables yet: {error.diag.message_primary}",
            "run region join there again",
        )


def _tell_content(conn: Connection, provider: Connection, tables: Sequence[Table], report: Report) -> None:
    """Say where both sides hold rows that differ: a join copies none, a merge brings them."""
    try:
        here, there = read_content(conn, tables), read_content(provider, tables)
    except psycopg.errors.InsufficientPrivilege as error:
        report.warn("content", f"not compared: {error.diag.message_primary}")
        return
    for name in differing(here, there):
        report.warn(
            "content",
            f"{name} differs: {here[name].rows} rows here, {there[name].rows} on the provider; nothing was copied",
            "migratectl merge --cn DSN --global DSN brings both to the same rows; --plan shows how",
        )


def pause(dsn: str, subscription: str | None = None) -> Report:
    """Stop applying what the provider sends; it is kept there and applied after ``resume``."""
    report = Report()
    with connect(dsn, name="--dsn", autocommit=True) as conn:
        engine, names = chosen(conn, subscription, need=True)
        for name in names:
            engine.pause(conn, name)
            report.done("subscription", f"{name} paused")
    return report


def resume(dsn: str, subscription: str | None = None) -> Report:
    """Apply again; a worker that waits before its next try tries at once."""
    report = Report()
    with connect(dsn, name="--dsn", autocommit=True) as conn:
        engine, names = chosen(conn, subscription, need=True)
        for name in names:
            engine.resume(conn, name)
            report.done("subscription", f"{name} resumed")
            await_stream(conn, engine, name, report)
    return report
