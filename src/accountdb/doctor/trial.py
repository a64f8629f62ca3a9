"""Whether an UPDATE raises the version: tried on one row of each table, and rolled back.

Nothing stays of it: no row, no notification, nothing that a stream sends, for a transaction that is
rolled back is not decoded. A sequence does not go back, so what could take from one is not tried:
a table with triggers of the application's own, or an empty one with a sequence.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from accountdb.catalog.tables import Column, Table
from accountdb.doctor.model import listed
from accountdb.doctor.region import FILE, Here
from accountdb.health.advice import Finding, Remedy
from accountdb.pg.connect import Connection, told
from accountdb.setup.cleaning.model import dotted
from accountdb.sql import block

_LOCK_TIMEOUT = "500ms"
_STATEMENT_TIMEOUT = "5s"
_ALL_S = 30.0
# A value of each type for a row that is there for a moment. Text is made unique beside it.
_VALUES = {
    "boolean": "false",
    "smallint": "0",
    "integer": "0",
    "bigint": "0",
    "numeric": "0",
    "real": "0",
    "double precision": "0",
    "json": "'{}'",
    "jsonb": "'{}'",
    "bytea": "''",
    "interval": "'0'",
    "inet": "'127.0.0.1'",
    "date": "now()",
    "uuid": "gen_random_uuid()",
}


@dataclass(frozen=True)
class Stamp:
    """What an UPDATE has to move."""

    version: int
    updated_at: datetime
    origin_node: str


@dataclass(frozen=True)
class Trial:
    """What became of one table: why it was not tried, or the stamps before and after and the node's name."""

    table: str
    untried: str = ""
    before: Stamp | None = None
    after: Stamp | None = None
    node: str = ""


@dataclass(frozen=True)
class _Facts:
    triggers: tuple[str, ...]
    may_update: bool
    may_insert: bool
    ruled: bool


def look(conn: Connection, here: Here) -> Iterator[Finding]:
    """Try every replicated table that has the columns. Leaves the connection as it was."""
    if not here.prepared or here.standby or here.read_only:
        why = "the region is not prepared" if not here.prepared else "nothing can be written here"
        yield here.look.unseen("version_rises", why)
        return
    tables = [t for t in here.replicated if all(t.column(c) for c in ("uuid", "version", "updated_at", "origin_node"))]
    names = [table.name for table in tables]
    known = {
        name: _Facts(tuple(fired), update, insert, ruled)
        for name, fired, update, insert, ruled in conn.execute(block(FILE, "trial_tables"), {"tables": names})
    }
    parents = {(table.schema, table.name): table for table in here.known}
    until = time.monotonic() + _ALL_S
    trials = [
        _try(conn, table, known, parents) if time.monotonic() < until else Trial(table.name, "the time was over")
        for table in tables
    ]
    yield from judge(here, trials)


def _try(
    conn: Connection, table: Table, known: Mapping[str, _Facts], parents: Mapping[tuple[str, str], Table]
) -> Trial:
    why = _against(known[table.name])
    if why:
        return Trial(table.name, why)
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(_LOCK_TIMEOUT))
            conn.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(_STATEMENT_TIMEOUT))
            return _tried(conn, table, known, parents)
    except psycopg.OperationalError as error:
        if conn.closed:
            raise
        return Trial(table.name, told(error).message)
    except psycopg.Error as error:
        # The message alone: a detail can show a row.
        return Trial(table.name, error.diag.message_primary or "the server refused it")


def _against(facts: _Facts) -> str:
    if facts.triggers:
        many = "s" if len(facts.triggers) > 1 else ""
        return f"trigger{many} {listed([dotted(t) for t in facts.triggers])} would fire, and what it does may stay"
    if facts.ruled:
        return "a rule rewrites what is written"
    return "" if facts.may_update else "this role may not update it"


def _tried(
    conn: Connection, table: Table, known: Mapping[str, _Facts], parents: Mapping[tuple[str, str], Table]
) -> Trial:
    row = conn.execute(_filled("trial_row", table)).fetchone()
    if row is None:
        empty = conn.execute(_filled("trial_empty", table)).fetchone()
        if not (empty and empty[0]):
            return Trial(table.name, "every row is locked by somebody")
        try:
            row = (_insert(conn, table, known, parents, ()),)
        except _CannotError as error:
            return Trial(table.name, f"it is empty, and {error}")
    key = sql.Literal(row[0])
    stamp = conn.execute(_filled("trial_stamp", table, uuid=key)).fetchone()
    found = conn.execute(_filled("trial_update", table, uuid=key)).fetchone()
    if stamp is None or found is None:
        return Trial(table.name, "the row is not there any more, or hidden by row security")
    return Trial(table.name, "", Stamp(*stamp), Stamp(*found[:3]), found[3])


class _CannotError(Exception):
    """No row could be made."""


def _insert(
    conn: Connection,
    table: Table,
    known: Mapping[str, _Facts],
    tables: Mapping[tuple[str, str], Table],
    above: tuple[str, ...],
) -> uuid.UUID:
    """A row for this transaction, with parents where they are needed; its key."""
    facts = known.get(table.name)
    if facts is None or not facts.may_insert or facts.triggers or facts.ruled:
        raise _CannotError(f"no row of {table.name} can be made")
    if table.name in above or any(c.uses_sequence or c.identity for c in table.columns):
        raise _CannotError(f"a row of {table.name} would take from a sequence or refer to itself")
    values: dict[str, sql.Composable] = {}
    for reference in table.references:
        needed = [c for name in reference.child_columns if (c := table.column(name)) is not None and c.not_null]
        if not needed:
            continue
        parent = tables.get(reference.parent)
        if parent is None or reference.parent_columns != ("uuid",):
            raise _CannotError(f"{table.name} needs a row of {reference.parent[1]}")
        row = conn.execute(_filled("trial_row", parent)).fetchone() if known.get(parent.name) else None
        key = row[0] if row else _insert(conn, parent, known, tables, (*above, table.name))
        values[reference.child_columns[0]] = sql.Literal(key)
    for column in table.columns:
        if column.name not in values and column.not_null and column.default is None and not column.generated:
            values[column.name] = _value(table, column)
    key = uuid.uuid4()
    values["uuid"] = sql.Literal(key)
    conn.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            table.identifier, sql.SQL(", ").join(map(sql.Identifier, values)), sql.SQL(", ").join(values.values())
        )
    )
    return key


def _value(table: Table, column: Column) -> sql.Composable:
    base = column.base_type.partition("(")[0]
    if base in ("text", "character varying", "character") or base.endswith("citext"):
        length = column.base_type.partition("(")[2].rstrip(")")
        text = f"doctor{uuid.uuid4().hex}"
        return sql.Literal(text[-int(length) :] if length.isdigit() else text)
    if base.startswith(("timestamp", "time")):
        return sql.SQL("now()")
    if base in _VALUES:
        return sql.SQL(_VALUES[base])
    raise _CannotError(f"no value of type {column.type} is known for {table.name}.{column.name}")


def _filled(name: str, table: Table, **parts: sql.Composable) -> sql.Composed:
    return sql.SQL(block(FILE, name)).format(table=table.identifier, **parts)


def judge(here: Here, trials: Sequence[Trial]) -> Iterator[Finding]:
    """What the trials show. Pure."""
    good = []
    untried: dict[str, list[str]] = {}
    for trial in trials:
        name = dotted("public", trial.table)
        if trial.before is None or trial.after is None:
            untried.setdefault(trial.untried, []).append(name)
            continue
        faults = list(_faults(trial.before, trial.after, trial.node))
        if not faults:
            good.append(trial.table)
            continue
        remedy = Remedy("see trigger, row_contract and structure; migratectl verify compares the functions too")
        yield here.look.failed("version_rises", f"{name}: {'; '.join(faults)}", trial.table, remedy=remedy)
    for why, names in untried.items():
        yield here.look.unseen("version_rises", f"{listed(names, 5)}: {why}", " ".join(names))
    if good:
        yield here.look.passed("version_rises", f"tried on {listed(good, 5)}, and rolled back")


def _faults(before: Stamp, after: Stamp, node: str) -> Iterator[str]:
    if after.version != before.version + 1:
        yield (
            f"an UPDATE leaves version at {after.version}"
            if after.version == before.version
            else (f"an UPDATE turns version {before.version} into {after.version}")
        )
    if after.updated_at <= before.updated_at:
        yield "an UPDATE does not move updated_at"
    if after.origin_node != node:
        yield f"an UPDATE names node {after.origin_node}, not {node}"
