"""The healing pass of the guards: ``migratectl merge --recent``.

What a guard writes is not forwarded, so a release that only one region had cause for leaves the
two different. This pass looks only at the rows that a conflict or a tombstone names, and has each
region apply the other's copy through its own guard: the same judge, so the same verdict, whatever
happens in between. Run again, it changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from uuid import UUID

import psycopg
from psycopg import sql

from accountdb.catalog.tables import Table, read_tables
from accountdb.contract.decide import Action, Copy, Decision, Part, decide
from accountdb.contract.row_contract import candidates, violations
from accountdb.contract.row_order import RowStamp
from accountdb.errors import MissingRightError
from accountdb.pg.connect import Connection
from accountdb.sql import block

_FILE = "merge/heal.sql"
_MAX_ROUNDS = 8


@dataclass(frozen=True)
class HealReport:
    """What a pass did. ``written`` counts rows inserted, updated and deleted, by region.

    ``different`` are the rows that still differ after the last round, as table and uuid: none,
    unless writes or a stream were under way.
    """

    looked_at: int
    rounds: int
    written: Mapping[str, int]
    different: tuple[tuple[str, str], ...]


def heal(regions: Mapping[str, Connection], run_dry: Callable[[], None], *, within_s: float = 86_400.0) -> HealReport:
    """Heal what conflicts and tombstones of the last ``within_s`` seconds name, and what is open.

    ``regions`` are two connections by name, outside a transaction; the roles may set
    session_replication_role (a superuser). ``run_dry`` returns when each region has applied all
    that the other had committed when it was called, and raises otherwise: a tombstone that was
    read before it is then never ahead of the changes that it followed, of a child moved away
    before its parent was deleted, say. Raises MissingRightError where a role may not heal.
    """
    (name_a, a), (name_b, b) = regions.items()
    for name, conn in regions.items():
        _prepare(name, conn)
    tables = _ordered([t for t in candidates(read_tables(a)) if not violations(t)])
    written = {name_a: 0, name_b: 0}
    looked_at: set[tuple[str, str, UUID]] = set()
    different: tuple[tuple[str, str], ...] = ()
    before: list[tuple[Table, UUID, Decision]] = []
    rounds = 0
    while rounds < _MAX_ROUNDS:
        rounds += 1
        named = _named(regions.values(), within_s)
        looked_at |= named
        run_dry()
        decisions = [(t, *d) for t in tables for d in _decisions(t, a, b, _keys(named, t))]
        different = tuple((t.name, str(key)) for t, key, _ in decisions)
        if not decisions or decisions == before:
            # What comes out the same again waits for something else: an orphan for its parent, say.
            break
        before = decisions
        written[name_a] += _apply(a, [(t, d.a) for t, _, d in decisions])
        written[name_b] += _apply(b, [(t, d.b) for t, _, d in decisions])
    for table in tables:
        for conn in regions.values():
            _close(conn, table, _keys(looked_at, table))
    return HealReport(len(looked_at), rounds, written, different)


def _close(conn: Connection, table: Table, keys: list[UUID]) -> None:
    """Close the conflicts of rows that could not be stored and are there now."""
    if keys:
        statement = sql.SQL(block(_FILE, "close")).format(table=_doubled(table.identifier))
        conn.execute(statement, {"schema": table.schema, "table": table.name, "keys": keys})
        conn.commit()


def _prepare(name: str, conn: Connection) -> None:
    try:
        conn.execute(block(_FILE, "session"))
        conn.commit()
    except psycopg.errors.InsufficientPrivilege as error:
        raise MissingRightError(
            f"{name}: role {conn.info.user} may not set session_replication_role",
            hint="use an administrator, or on PostgreSQL 15 and later:"
            f" GRANT SET ON PARAMETER session_replication_role TO {conn.info.user}",
        ) from error


def _ordered(tables: Sequence[Table]) -> list[Table]:
    """Parents before children; tables in a cycle of references as they come."""
    by_name = {(t.schema, t.name): t for t in tables}
    graph = {
        name: {r.parent for r in t.references if r.parent in by_name and r.parent != name}
        for name, t in by_name.items()
    }
    try:
        return [by_name[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError:
        return list(tables)


def _named(conns: Iterable[Connection], within_s: float) -> set[tuple[str, str, UUID]]:
    found: set[tuple[str, str, UUID]] = set()
    for conn in conns:
        found.update(conn.execute(block(_FILE, "named"), {"seconds": within_s}).fetchall())
        conn.commit()
    return found


def _keys(named: Iterable[tuple[str, str, UUID]], table: Table) -> list[UUID]:
    return [key for schema, name, key in named if (schema, name) == (table.schema, table.name)]


def _decisions(table: Table, a: Connection, b: Connection, keys: list[UUID]) -> list[tuple[UUID, Decision]]:
    """What is to be done for the named rows of one table: nothing for those that are equal."""
    if not keys:
        return []
    copies_a, copies_b = _copies(a, table, keys), _copies(b, table, keys)
    dead: defaultdict[UUID, dict[datetime, UUID | None]] = defaultdict(dict)
    for conn in (a, b):
        values = {"schema": table.schema, "table": table.name, "keys": keys}
        for key, created_at, winner in conn.execute(block(_FILE, "dead"), values):
            dead[key][created_at] = winner or dead[key].get(created_at)
        conn.commit()
    found = ((key, decide(copies_a.get(key), copies_b.get(key), dead[key])) for key in keys)
    return [(key, decision) for key, decision in found if not decision.settled]


def _copies(conn: Connection, table: Table, keys: list[UUID]) -> dict[UUID, Copy]:
    query = sql.SQL(block(_FILE, "copies")).format(
        table=_doubled(table.identifier),
        generated=sql.Literal([c.name for c in table.generated]) + sql.SQL("::text[]"),
        values=sql.SQL(", ").join(
            sql.SQL("t.{}::text").format(_doubled(sql.Identifier(name))) for name in _columns(table)
        ),
    )
    return {
        uuid: Copy(uuid, created_at, RowStamp(version, updated_at, origin_node, content), tuple(values))
        for uuid, created_at, version, updated_at, origin_node, content, values in conn.execute(query, {"keys": keys})
    }


def _columns(table: Table) -> list[str]:
    """The writable columns by name: both regions take them in this order, whatever their own is."""
    return sorted(column.name for column in table.columns if not column.generated)


def _apply(conn: Connection, work: Sequence[tuple[Table, Part]]) -> int:
    """One region's part, in one transaction: writes parents first, then deletes children first.

    In this order a child that has moved to another parent is there before its old one goes.
    Everything goes through the region's guard, which judges by what stands there by then: a plan
    that a newer change has overtaken does no harm.
    """
    count = 0
    with conn.transaction():
        for table, part in work:
            if part.action in (Action.INSERT, Action.UPDATE) and part.result is not None:
                _write(conn, table, part.action, part.result)
                count += 1
        for table, part in reversed(work):
            if part.action is Action.DELETE and part.own is not None:
                _delete(conn, table, part.own, part.heir)
                count += 1
    return count


def _delete(conn: Connection, table: Table, own: Copy, heir: UUID | None) -> None:
    names = {
        "table": _doubled(table.identifier),
        "schema_name": _doubled(sql.Literal(table.schema)),
        "table_name": _doubled(sql.Literal(table.name)),
    }
    conn.execute(block(_FILE, "merged_into"), (heir,))
    for step in ("bury", "delete"):
        conn.execute(sql.SQL(block(_FILE, step)).format(**names), (own.uuid, own.created_at))
    conn.execute(block(_FILE, "merged_into"), (None,))


def _write(conn: Connection, table: Table, action: Action, copy: Copy) -> None:
    types = {column.name: column.type for column in table.columns}
    names = _columns(table)
    statement = sql.SQL(block(_FILE, action.value)).format(
        table=_doubled(table.identifier),
        columns=sql.SQL(", ").join(_doubled(sql.Identifier(name)) for name in names),
        values=sql.SQL(", ").join(sql.SQL("%s::text::{}").format(sql.SQL(types[name])) for name in names),
    )
    key = (copy.uuid,) if action is Action.UPDATE else ()
    conn.execute(statement, (*copy.values, *key))


def _doubled(name: sql.Composable) -> sql.SQL:
    """A name for a statement with parameters, in which a % stands twice."""
    return sql.SQL(name.as_string().replace("%", "%%"))
