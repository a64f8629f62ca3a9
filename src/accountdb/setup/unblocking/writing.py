"""A transaction of the provider, written by hand: through the guards, as the worker would, but row by row.

The position of the stream moves in the same commit, so a crash leaves both or neither.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from accountdb.catalog.tables import Column, Table
from accountdb.compare.session import prepare
from accountdb.errors import AccountdbError, MissingRightError
from accountdb.merge.writer import FILE as MERGE
from accountdb.pg.connect import Connection
from accountdb.pg.names import doubled
from accountdb.setup.unblocking.model import Change, Operation, Row, Transaction
from accountdb.setup.unblocking.peeking import FILE
from accountdb.sql import block

OWN_SCHEMA = "accountdb"
_HOLD_S = 15.0
_TRIES = 5
# Others write too: the whole transaction is done again.
_AGAIN = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure, psycopg.errors.LockNotAvailable)

Tables = Mapping[tuple[str, str], Table]


class UnfitError(Exception):
    """A change that this region has no place for."""


@dataclass(frozen=True)
class Fault:
    """Why one change, by its number, does not go in. ``sqlstate`` is empty where the server was not asked."""

    number: int
    sqlstate: str
    message: str = field(repr=False)

    @property
    def text(self) -> str:
        """As it is kept."""
        return f"{self.sqlstate} {self.message}".strip()


@dataclass(frozen=True)
class Written:
    """What became of the changes: applied, on record as open conflicts, and in the file only (``unrecorded``)."""

    applied: int
    recorded: int
    unrecorded: int


def be_worker(conn: Connection) -> None:
    """Have the guards fire, and the triggers of ordinary changes not. ``conn`` is in autocommit."""
    prepare(conn)
    conn.execute(block(FILE, "timeouts"))
    try:
        conn.execute(block(MERGE, "be_worker"))
    except psycopg.errors.InsufficientPrivilege:
        conn.execute(block(MERGE, "be_ordinary"))


def hold(conn: Connection, origin: str) -> str:
    """Take the subscription's origin, so that its worker cannot start. Returns up to where it has applied.

    Raises MissingRightError, AccountdbError where a worker keeps it.
    """
    deadline = time.monotonic() + _HOLD_S
    while True:
        try:
            conn.execute(block(FILE, "hold_origin"), {"origin": origin})
            row = conn.execute(block(FILE, "held")).fetchone()
            return str(row[0]) if row and row[0] else "0/0"
        except psycopg.errors.ObjectInUse:
            if time.monotonic() > deadline:
                raise AccountdbError(
                    f"a worker holds the position of the stream ({origin}): it runs", hint="migratectl status"
                ) from None
            time.sleep(0.05)
        except psycopg.errors.InsufficientPrivilege as error:
            role = sql.Identifier(conn.info.user)
            rights = " ".join(sql.SQL(block(FILE, "rights")).format(role=role).as_string().split())
            raise MissingRightError(
                f"role {conn.info.user} may not move the position of a stream", hint=f"an administrator runs: {rights}"
            ) from error


def trial(conn: Connection, transaction: Transaction, tables: Tables) -> tuple[Fault, ...]:
    """Which changes do not go in, found by trying them; everything is rolled back."""
    faults: list[Fault] = []
    with conn.transaction(force_rollback=True):
        for number, change in enumerate(transaction.changes):
            fault = _attempt(conn, number, change, tables)
            faults += [fault] if fault else []
        try:
            with conn.transaction():
                conn.execute(block(FILE, "check_constraints"))
        except psycopg.Error as error:
            faults.append(_fault(len(transaction.changes), error))
    return tuple(faults)


def park(conn: Connection, transaction: Transaction, tables: Tables) -> Written:
    """Apply what goes in, keep the rest as open conflicts, move on. ``conn`` holds the origin."""

    def work() -> Written:
        applied = recorded = 0
        for number, change in enumerate(transaction.changes):
            fault = _attempt(conn, number, change, tables)
            if fault is None:
                applied += 1
            elif change.operation is Operation.DELETE:
                recorded += _record(conn, change, tables, transaction, "skipped", f"DELETE failed: {fault.text}")
            else:
                recorded += _record(conn, change, tables, transaction, "unknown", fault.text)
        return Written(applied, recorded, len(transaction.changes) - applied - recorded)

    return _committed(conn, transaction, work)


def skip(conn: Connection, transaction: Transaction, tables: Tables) -> Written:
    """Apply nothing, keep every row as an open conflict, move on. ``conn`` holds the origin."""

    def work() -> Written:
        recorded = 0
        for change in transaction.changes:
            detail = f"{change.operation} in transaction {transaction.xid}, finished at {transaction.finished}"
            recorded += _record(conn, change, tables, transaction, "skipped", detail)
        return Written(0, recorded, len(transaction.changes) - recorded)

    return _committed(conn, transaction, work)


def _committed(conn: Connection, transaction: Transaction, work: Callable[[], Written]) -> Written:
    for attempt in range(1, _TRIES + 1):
        try:
            with _begun(conn):
                written = work()
                conn.execute(block(FILE, "check_constraints"))
                commit_past(conn, transaction)
        except _AGAIN:
            if attempt == _TRIES:
                raise
            time.sleep(random.uniform(0.05, 0.3) * attempt)
        else:
            return written
    raise AssertionError


@contextmanager
def _begun(conn: Connection) -> Iterator[None]:
    """A transaction that the block itself commits; rolled back where it does not."""
    conn.execute("BEGIN")
    try:
        yield
    except psycopg.Error:
        if not conn.broken:
            conn.rollback()
        raise


def commit_past(conn: Connection, transaction: Transaction) -> None:
    """Commit, with the position of the stream after ``transaction``."""
    statement = sql.SQL(block(FILE, "commit_past")).format(
        finished=sql.Literal(transaction.end), committed_at=sql.Literal(transaction.committed_at)
    )
    conn.execute(statement)


def _attempt(conn: Connection, number: int, change: Change, tables: Tables) -> Fault | None:
    try:
        with conn.transaction():
            _apply(conn, change, tables)
    except _AGAIN:
        raise
    except UnfitError as error:
        return Fault(number, "", str(error))
    except (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege):
        raise
    except psycopg.Error as error:
        return _fault(number, error)
    return None


def _fault(number: int, error: psycopg.Error) -> Fault:
    # The message alone: details quote whole rows.
    return Fault(number, error.sqlstate or "", error.diag.message_primary or type(error).__name__)


def _apply(conn: Connection, change: Change, tables: Tables) -> None:
    table = tables.get(change.name)
    if table is None:
        raise UnfitError(f"there is no table {change.schema}.{change.table} here")
    if change.operation is Operation.TRUNCATE:
        raise UnfitError("TRUNCATE is not replicated")
    if change.operation is Operation.DELETE:
        match, keys = _match(table, change)
        conn.execute(_filled("delete", table, match=match), keys)
        return
    row = change.row
    assert row is not None
    strange = [name for name in row.columns if table.column(name) is None]
    if strange:
        raise UnfitError(f"column {', '.join(strange)} is not here")
    if change.operation is Operation.UPDATE:
        match, keys = _match(table, change)
        found = conn.execute(_filled("stands", table, match=match), keys).fetchone()
        if found and found[0]:
            names = _present(table, row, updating=True)
            source, values = _source(table, row)
            statement = _filled("update", table, match=match, source=source, **_lists(names))
            conn.execute(statement, {**values, **keys})
            return
        # It may have been parked before; the newer copy takes its place.
        if set(_present(table, row)) != {column.name for column in table.columns if not column.generated}:
            raise UnfitError("the row that is changed is not here, and not all of it was sent")
    source, values = _source(table, row)
    heading = "insert_own" if table.schema == OWN_SCHEMA else "insert"
    conn.execute(_filled(heading, table, source=source, **_lists(_present(table, row))), values)


def _present(table: Table, row: Row, *, updating: bool = False) -> list[str]:
    """The columns of a row that are written, in the table's order."""
    given = set(row.columns)
    return [
        column.name
        for column in table.columns
        if column.name in given and not column.generated and not (updating and column.identity_always)
    ]


def _lists(names: Sequence[str]) -> dict[str, sql.Composable]:
    columns = [doubled(sql.Identifier(name)) for name in names]
    comma = sql.SQL(", ")
    return {"columns": comma.join(columns), "values": comma.join(sql.SQL("n.") + column for column in columns)}


def _source(table: Table, row: Row) -> tuple[sql.Composed, dict[str, str | None]]:
    """The row as something to select from, called n, of the columns that this table has, and its parameters."""
    if row.text is None:
        populated = sql.SQL("pg_catalog.json_populate_record(NULL::{}, %(row)s::json) AS n")
        return populated.format(doubled(table.identifier)), {"row": row.json}
    parts: list[sql.Composed] = []
    values: dict[str, str | None] = {}
    for number, column in enumerate(table.columns):
        if column.name in row.text:
            parts.append(_cast(f"v{number}", column) + sql.SQL(" AS ") + doubled(sql.Identifier(column.name)))
            values[f"v{number}"] = row.text[column.name]
    return sql.SQL("(SELECT {}) AS n").format(sql.SQL(", ").join(parts)), values


def _cast(parameter: str, column: Column) -> sql.Composed:
    return sql.SQL("CAST({} AS {})").format(sql.Placeholder(parameter), doubled(sql.SQL(column.type)))


def _match(table: Table, change: Change) -> tuple[sql.Composed, dict[str, str]]:
    """The condition by which row t is the one that was changed, and its parameters."""
    known = {**(change.row.content if change.row else {}), **_given(change.key)}
    parts: list[sql.Composed] = []
    values: dict[str, str] = {}
    for number, name in enumerate(table.primary_key):
        column = table.column(name)
        if column is None or known.get(name) is None:
            raise UnfitError(f"the key {name} of the row was not sent")
        values[f"k{number}"] = str(known[name])
        parts.append(sql.SQL("t.{} = {}").format(doubled(sql.Identifier(name)), _cast(f"k{number}", column)))
    if not parts:
        raise UnfitError(f"{table.schema}.{table.name} has no primary key")
    return sql.SQL(" AND ").join(parts), values


def _given(key: Row | None) -> dict[str, object]:
    return {name: value for name, value in key.content.items() if value is not None} if key else {}


def _filled(heading: str, table: Table, **parts: sql.Composable) -> sql.Composed:
    return sql.SQL(block(FILE, heading)).format(table=doubled(table.identifier), **parts)


def _record(conn: Connection, change: Change, tables: Tables, transaction: Transaction, kind: str, detail: str) -> int:
    """Keep a change as an open conflict. Returns 0 for what is no row of a table under the row contract."""
    if change.schema == OWN_SCHEMA or change.uuid is None:
        return 0
    content = _content(conn, change, tables.get(change.name))
    rule = {"unknown": "parked"}.get(kind, f"skipped_{change.operation.lower()}")
    # A guard makes the id out of the row: what it would park is the same event. A person may skip one row twice.
    identity = None if kind == "unknown" else f"[{json.dumps(transaction.finished)}, {content}]"
    conn.execute(
        block(FILE, "record"),
        {
            "kind": kind,
            "schema": change.schema,
            "table": change.table,
            "key": change.uuid,
            "rule": rule,
            "loser": content,
            "detail": detail,
            "identity": identity,
        },
    )
    return 1


def _content(conn: Connection, change: Change, table: Table | None) -> str:
    """The row as a guard would keep it, as JSON; what this region has no column for as it was sent."""
    plain = change.content
    row = change.row
    if table is None or row is None:
        return json.dumps(plain)
    # Without what is computed, as a guard keeps a row: so the same row makes the same event.
    here = [column.name for column in table.columns if column.name in row.columns and not column.generated]
    more = json.dumps({name: plain[name] for name in row.columns if table.column(name) is None})
    try:
        with conn.transaction():
            source, values = _source(table, row)
            statement = sql.SQL(block(FILE, "content")).format(source=source)
            found = conn.execute(statement, {**values, "columns": here, "more": more}).fetchone()
            assert found is not None
            return str(found[0])
    except psycopg.DataError:
        return json.dumps(plain)
