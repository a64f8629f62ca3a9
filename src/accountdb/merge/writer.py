"""A session that writes what another region has, as a replication worker would where its rights allow it."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

import psycopg
from psycopg import sql

from accountdb.catalog.tables import Table
from accountdb.compare.session import named, prepare
from accountdb.contract.decide import Copy
from accountdb.pg.connect import Connection, connect
from accountdb.pg.names import doubled
from accountdb.pg.session import keep_alive
from accountdb.sql import block

FILE = "merge/merge.sql"
_LOCK_TIMEOUT = "10s"
# The source may sort a large table before its first row comes.
_IDLE_TIMEOUT = "15min"
_TRIES = 6
_LEAVING_S = 3.0

T = TypeVar("T")

# Others write too: what loses a race is tried again, from the start of its transaction.
_AGAIN = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.UniqueViolation,
    psycopg.errors.ForeignKeyViolation,
)


@dataclass(frozen=True)
class Writer:
    """One session in one region. ``worker``: it has the right to be like a replication worker.

    ``origin``: what it writes is not streamed to the other region. Where it has none, the other
    region's guard finds an equal row and does nothing.
    """

    name: str
    dsn: str = field(repr=False)
    conn: Connection = field(repr=False)
    worker: bool
    origin: str | None

    def run(self, work: Callable[[Connection], T]) -> T:
        """``work`` in one transaction; again where a race was lost. Errors name the region."""
        with named(self.name, self.dsn):
            for attempt in range(1, _TRIES + 1):
                try:
                    with self.conn.transaction():
                        return work(self.conn)
                except _AGAIN:
                    if attempt == _TRIES:
                        raise
                    time.sleep(random.uniform(0.05, 0.3) * attempt)
        raise AssertionError


@contextmanager
def open_writers(name: str, dsn: str, count: int) -> Iterator[list[Writer]]:
    """``count`` writers of one region. Their origins are gone afterwards."""
    with ExitStack() as stack:
        admin = stack.enter_context(connect(dsn, name=f"--{name}", autocommit=True))
        with named(name, dsn):
            keep_alive(admin)
            row = admin.execute(block(FILE, "origin_prefix")).fetchone()
            assert row is not None
            prefix = str(row[0])
            # Those of a run that was killed would hold their slots for ever.
            _drop_origins(admin, prefix, 0)
        stack.callback(_drop_origins, admin, prefix, _LEAVING_S)
        with ExitStack() as sessions:
            writers = [_open(sessions, name, dsn, f"{prefix}{number}") for number in range(count)]
            # Where there is room for some origins only, those sessions write.
            yield [writer for writer in writers if writer.origin] or writers
            for writer in writers:
                # Else the server would log that its origin cannot be dropped yet.
                with suppress(psycopg.Error):
                    writer.conn.execute(block(FILE, "leave_origin"))


def _open(stack: ExitStack, name: str, dsn: str, origin: str) -> Writer:
    conn = stack.enter_context(connect(dsn, name=f"--{name}", autocommit=True))
    with named(name, dsn):
        prepare(conn)
        conn.execute(block(FILE, "timeouts"), {"lock": _LOCK_TIMEOUT, "idle": _IDLE_TIMEOUT})
        worker = True
        try:
            conn.execute(block(FILE, "be_worker"))
        except psycopg.errors.InsufficientPrivilege:
            worker = False
            conn.execute(block(FILE, "be_ordinary"))
        return Writer(name, dsn, conn, worker, _origin(conn, origin))


def _origin(conn: Connection, wanted: str) -> str | None:
    """Mark what the session writes as replicated. A session of a run that was killed may hold the first name."""
    for name in (wanted, f"{wanted}_{random.getrandbits(32):08x}"):
        try:
            conn.execute(block(FILE, "make_origin"), {"origin": name})
            conn.execute(block(FILE, "use_origin"), {"origin": name})
        except psycopg.errors.ObjectInUse:
            continue
        except psycopg.Error:
            # No right, or no room for one: what is written echoes, which does no harm.
            with suppress(psycopg.Error):
                conn.execute(block(FILE, "drop_origin"), {"origin": name})
            return None
        return name
    return None


def _drop_origins(admin: Connection, prefix: str, patience_s: float) -> None:
    """Drop this database's origins. A session may still be on its way out; what it holds the next run drops."""
    deadline = time.monotonic() + patience_s
    with suppress(psycopg.OperationalError):
        for (name,) in admin.execute(block(FILE, "origins"), {"prefix": prefix}).fetchall():
            while True:
                try:
                    admin.execute(block(FILE, "drop_origin"), {"origin": name})
                except psycopg.errors.ObjectInUse:
                    if time.monotonic() < deadline:
                        time.sleep(0.02)
                        continue
                except psycopg.errors.InsufficientPrivilege:
                    pass
                break


def writable(table: Table) -> list[str]:
    """The columns that are written, by name: both regions take them in this order, whatever their own is."""
    return sorted(column.name for column in table.columns if not column.generated)


def names(prefix: str, columns: Sequence[str]) -> sql.Composed:
    """Columns for a statement with parameters."""
    return sql.SQL(", ").join(sql.SQL(prefix) + doubled(sql.Identifier(name)) for name in columns)


def filled(heading: str, table: Table, **parts: sql.Composable) -> sql.Composed:
    """The block ``heading`` for one table. Parts that it lacks are ignored."""
    return filled_of(FILE, heading, table, parts)


def filled_of(file: str, heading: str, table: Table, parts: Mapping[str, sql.Composable]) -> sql.Composed:
    """The same for a block of another file."""
    columns = writable(table)
    return sql.SQL(block(file, heading)).format(
        table=doubled(table.identifier),
        columns=names("", columns),
        staged=names("s.", columns),
        stage=stage_of(table),
        schema_name=doubled(sql.Literal(table.schema)),
        table_name=doubled(sql.Literal(table.name)),
        **parts,
    )


def stage_of(table: Table) -> sql.SQL:
    """The staging table of ``table``, for a statement with parameters. Each session has its own."""
    return doubled(stage_name(table))


def stage_name(table: Table) -> sql.Identifier:
    """The staging table's name."""
    return sql.Identifier("pg_temp", _stage_name(table))


def _stage_name(table: Table) -> str:
    return "accountdb_stage_" + hashlib.sha256(repr((table.schema, table.name)).encode()).hexdigest()[:16]


def title(table: Table) -> dict[str, str]:
    """The parameters that name a table."""
    return {"schema": table.schema, "table": table.name}


def make_stage(conn: Connection, table: Table) -> None:
    """The staging table, empty, in this transaction or before."""
    conn.execute(filled("stage", table, new=sql.Identifier(_stage_name(table))), {"unused": None})


def stage_copies(conn: Connection, table: Table, copies: Iterable[Copy], first: int = 0) -> None:
    """Put copies into the staging table, numbered from ``first`` on."""
    columns = [sql.Identifier(name) for name in ("accountdb_n", *writable(table))]
    statement = sql.SQL(block(FILE, "receive")).format(
        into=stage_name(table), columns=sql.SQL(", ").join(columns), format=sql.SQL("text")
    )
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        for number, one in enumerate(copies, first):
            copy.write_row((number, *one.values))


@contextmanager
def judged(conn: Connection) -> Iterator[None]:
    """Within the block the guards leave alone what this transaction writes."""
    row = conn.execute(block(FILE, "was_judged")).fetchone()
    conn.execute(block(FILE, "judged"), {"judged": "on"})
    yield
    # Not after an error: then the transaction ends, and the setting with it.
    conn.execute(block(FILE, "judged"), {"judged": (row and row[0]) or "off"})
