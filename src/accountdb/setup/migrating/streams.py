"""What live streams need of a migration: what it changes, found by rehearsing it, and what follows from that."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from accountdb.catalog.tables import Table, read_tables
from accountdb.contract.row_contract import candidates, violations
from accountdb.drift.compare import Drift, compare
from accountdb.drift.fingerprint import core
from accountdb.drift.read import read_structure
from accountdb.guards.install import GuardState, install, states
from accountdb.migrations.files import OWN
from accountdb.migrations.ledger import Journal
from accountdb.migrations.planning import Step
from accountdb.migrations.runner import together, unseen
from accountdb.migrations.steps import Patience
from accountdb.pg.connect import Connection
from accountdb.pg.names import function_name, named_in
from accountdb.replication import common
from accountdb.replication.engine import Engine, engine_for, standing
from accountdb.replication.model import OWN_TABLES, Mode
from accountdb.sql import block

_NAME = r'(?:"(?:[^"]|"")+"|[\w$]+)(?:\s*\.\s*(?:"(?:[^"]|"")+"|[\w$]+))?'
_DROP_TABLE = re.compile(rf"drop\s+table\s+(?:if\s+exists\s+)?({_NAME}(?:\s*,\s*{_NAME})*)", re.IGNORECASE)
_LAST_PART = re.compile(r'("(?:[^"]|"")+"|[\w$]+)\s*$')


@dataclass(frozen=True)
class Standings:
    """The replication of all regions. ``engines`` are of those that are joined: what streams."""

    engines: Mapping[str, Engine]
    offered: Mapping[str, frozenset[tuple[str, str]]]

    @property
    def live(self) -> bool:
        """Whether any stream runs between these regions, or to others."""
        return bool(self.engines)

    @property
    def replicated(self) -> frozenset[str]:
        """The tables of public that any region offers."""
        return frozenset(name for tables in self.offered.values() for schema, name in tables if schema == "public")


def read_standings(conns: Mapping[str, Connection]) -> Standings:
    """What every region has of replication now."""
    engines: dict[str, Engine] = {}
    offered: dict[str, frozenset[tuple[str, str]]] = {}
    for name, conn in conns.items():
        current = standing(conn)
        if current.mode is not Mode.PGSYNC and current.joined:
            engines[name] = engine_for(current.mode)
            offered[name] = engines[name].offered(conn)
        conn.commit()
    return Standings(engines, offered)


@dataclass(frozen=True)
class Effects:
    """What steps do to a region. ``written``: tables of public whose rows they write."""

    drifts: tuple[Drift, ...]
    written: tuple[str, ...]

    @property
    def new_tables(self) -> tuple[str, ...]:
        """Tables of public that are made."""
        return tuple(d.name for d in self.drifts if d.kind == "table" and d.change == "extra" and d.schema == "public")


def rehearse(conn: Connection, steps: Sequence[Step], engine: Engine | None, patience: Patience) -> Effects:
    """Run ``steps`` in a transaction that is rolled back, and tell what they would do. Raises as the run itself."""
    try:
        before = core(read_structure(conn))
        if engine is not None:
            let_go(conn, engine, steps)
        together(conn, steps, Journal(), unseen, patience)
        after = core(read_structure(conn))
        written = tuple(name for (name,) in conn.execute(block("migrations.sql", "touched")))
        effects = Effects(tuple(compare(before, after)), written)
        # Also what follows from the steps must be within this role's rights.
        take_in(conn, engine, effects)
    finally:
        if not conn.broken:
            conn.rollback()
    return effects


def to_fence(effects: Effects, replicated: Iterable[str]) -> tuple[str, ...]:
    """The replicated tables of which no change may be under way when ``effects`` come. Pure.

    What only adds (a column, an ordinary index, a table) fits what is under way: rows of the old form get
    the default. All else does not: a row that bears a dropped column, or breaks a new constraint, stops
    its stream for ever.
    """
    wanted = set(replicated)
    return tuple(sorted({name for drift in effects.drifts for name in _narrowed(drift) if name in wanted}))


def _narrowed(drift: Drift) -> tuple[str, ...]:
    if drift.schema != "public":
        return ()
    table = drift.identity.owner or drift.name
    if drift.kind == "table":
        return (table,) if drift.change != "extra" else ()
    if drift.kind == "column":
        return () if drift.change == "extra" or (drift.change == "changed" and _loosened(drift)) else (table,)
    if drift.kind == "constraint":
        return (table,) if drift.change != "missing" else ()
    if drift.kind == "index":
        unique = any("UNIQUE" in str(one.found) for one in drift.differences if one.attribute == "definition")
        return (table,) if unique and drift.change != "missing" else ()
    return ()


def _loosened(drift: Drift) -> bool:
    """Whether a column takes all that it took before: another default, or NULL."""
    return all(
        one.attribute in ("default", "comment", "storage")
        or one.attribute.startswith("grant to ")
        or (one.attribute == "not_null" and one.found is False)
        for one in drift.differences
    )


def let_go(conn: Connection, engine: Engine, steps: Sequence[Step]) -> None:
    """Take the tables that ``steps`` drop out of the stream, in the caller's transaction: pglogical keeps them else."""
    offered = engine.offered(conn)
    for schema, of_it in (("public", steps), (OWN, [step for step in steps if step.migration.series == OWN])):
        dropped = {(schema, name) for step in of_it for name in dropped_tables(step)} & offered
        for table in read_tables(conn, schema) if dropped else ():
            if (table.schema, table.name) in dropped:
                engine.take_back(conn, table)


def dropped_tables(step: Step) -> frozenset[str]:
    """The tables that the statements of a step drop by name. Pure."""
    found: set[str] = set()
    for statement in step.script.statements:
        match = _DROP_TABLE.match(statement.bare.strip())
        for name in match.group(1).split(",") if match else ():
            last = _LAST_PART.search(name)
            if last:
                found.add(named_in(last.group(1)))
    return frozenset(found)


def take_in(conn: Connection, engine: Engine | None, effects: Effects | None) -> tuple[str, ...]:
    """Bring guards and stream up to what the tables are now, in the caller's transaction.

    Returns the new tables that are offered from now on. A new table that is not under the row contract is
    left out of the stream, unless it is one of accountdb's own that belong there.
    """
    tables = read_tables(conn)
    ready = [table for table in candidates(tables) if not violations(table)]
    mode = common.node(conn)[1]
    if mode is Mode.PGSYNC:
        return ()
    new = () if effects is None else effects.new_tables
    guarded = [g for g in states(conn, ready) if g.state is not GuardState.MISSING or g.table in new]
    install(conn, [t for t in ready if t.name in {g.table for g in guarded}], known=ready)
    for drift in effects.drifts if effects else ():
        if drift.kind == "table" and drift.change == "missing" and drift.schema == "public":
            _forget_guard(conn, drift.name)
    added: list[str] = []
    if engine is not None:
        offered = engine.offered(conn)
        own = _new_own(effects)
        for table in (*ready, *(read_tables(conn, OWN) if own else ())):
            name = (table.schema, table.name)
            if (name in own or (table.schema == "public" and table.name in new)) and name not in offered:
                engine.add(conn, table)
                added.append(table.name)
    return tuple(added)


def _new_own(effects: Effects | None) -> frozenset[tuple[str, str]]:
    """Tables of accountdb's own that are made and are replicated."""
    made = (
        {(d.schema, d.name) for d in effects.drifts if d.kind == "table" and d.change == "extra"} if effects else set()
    )
    return frozenset(made & set(OWN_TABLES))


def _forget_guard(conn: Connection, table: str) -> None:
    for kind in ("guard", "bury"):
        name = sql.Identifier("accountdb", function_name(kind, "public", table))
        conn.execute(sql.SQL("DROP FUNCTION IF EXISTS {}()").format(name))


def follow(conns: Mapping[str, Connection], standings: Standings) -> None:
    """Have every subscription take in what its provider has begun to offer. Connections are in autocommit."""
    for name, engine in standings.engines.items():
        for subscription in engine.standing(conns[name]).subscriptions:
            engine.refresh(conns[name], subscription.name)


def identifiers(tables: Iterable[Table], names: Iterable[str]) -> list[sql.Identifier]:
    """The qualified names of those of ``tables`` that are called so."""
    wanted = set(names)
    return [table.identifier for table in tables if table.name in wanted]
