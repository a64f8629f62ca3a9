"""Connections to a region that compare: pinned settings, several of them at one snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import TypeVar

import psycopg
from psycopg import sql
from psycopg.abc import Buffer
from psycopg.types.datetime import TimestamptzLoader

from accountdb.errors import AccountdbError, Refused
from accountdb.pg import session as sessions
from accountdb.pg.connect import Connection, connect, told
from accountdb.sql import block

FILE = "compare/compare.sql"

_AGAIN = "check that the server runs and can be reached, then run it again"

Given = TypeVar("Given")
Found = TypeVar("Found")


class _NearestMoment(TimestamptzLoader):
    """Of a moment that Python has no date for, infinity say, the nearest that it has."""

    def load(self, data: Buffer) -> datetime:
        try:
            return super().load(data)
        except psycopg.DataError:
            text = bytes(data)
            return (datetime.min if text.startswith(b"-") or text.endswith(b"BC") else datetime.max).replace(tzinfo=UTC)


@dataclass(frozen=True)
class Region:
    """One region by name, with the connections that ``use`` hands out, one to each thread."""

    name: str
    dsn: str = field(repr=False)
    first: Connection = field(repr=False)
    idle: SimpleQueue[Connection] = field(repr=False)

    @contextmanager
    def use(self) -> Iterator[Connection]:
        """A connection for one piece of work; waits for a free one. Errors name the region."""
        with self.lend() as conn, named(self.name, self.dsn):
            yield conn

    @contextmanager
    def lend(self) -> Iterator[Connection]:
        """The same for work on two regions, which has to say itself whose errors are whose."""
        conn = self.idle.get()
        try:
            yield conn
        finally:
            self.idle.put(conn)


def together(work: Callable[[Given], Found], given: Iterable[Given]) -> list[Found]:
    """``work`` on each of a few things at once: over a slow link it is the waiting that takes the time.

    Raises what the first of them raises, once all are done.
    """
    several = list(given)
    if len(several) < 2:
        return [work(one) for one in several]
    with ThreadPoolExecutor(len(several)) as pool:
        return [done.result() for done in [pool.submit(work, one) for one in several]]


@contextmanager
def named(name: str, dsn: str) -> Iterator[None]:
    """Errors of the server, with the region's name. Nothing in the block may talk to another region."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        found = told(error, dsn)
        hint = "GRANT SELECT to this role, or use the tables' owner; rows hidden by row security need BYPASSRLS"
        raise Refused(f"{name}: {found.message}", hint=hint) from error
    except psycopg.Error as error:
        found = told(error, dsn)
        # Without a state it is libpq that has found out; else the server told that it ends, or is not there yet.
        lost = isinstance(error, psycopg.OperationalError) and (error.sqlstate or "57P").startswith(("57P", "08"))
        raise AccountdbError(f"{name}: {found.message}", hint=_AGAIN if lost else found.hint) from error


def prepare(conn: Connection) -> None:
    """Pin the settings that turn values into text, and have the server notice when nobody is there any more."""
    with sessions.pipelined(conn):
        conn.execute(block(FILE, "session"), {"local": False})
        sessions.keep_alive(conn)
    conn.adapters.register_loader("timestamptz", _NearestMoment)
    if not conn.autocommit:
        conn.commit()


@contextmanager
def open_region(name: str, dsn: str, connections: int = 1) -> Iterator[Region]:
    """A region with connections in autocommit: each statement sees what is committed by then."""
    with ExitStack() as stack:

        def opened(_: int) -> Connection:
            return stack.enter_context(_prepared(name, dsn, None, autocommit=True))

        yield region_of(name, dsn, together(opened, range(connections)))


@contextmanager
def at_one_snapshot(name: str, dsn: str, tables: Sequence[sql.Identifier], jobs: int) -> Iterator[Region]:
    """A region with ``jobs`` connections that see one and the same moment, reading only.

    ``tables`` are locked against being rewritten, by the lock that every query takes.
    """
    with ExitStack() as stack:

        def opened(_: int) -> Connection:
            return stack.enter_context(_prepared(name, dsn, None, autocommit=False))

        first, *others = together(opened, range(jobs))
        with named(name, dsn):
            for table in tables:
                # Before the snapshot, so that no table is newer than it.
                first.execute(sql.SQL(block(FILE, "lock")).format(table=table))
            row = first.execute("SELECT pg_catalog.pg_export_snapshot()").fetchone()
            assert row is not None
            for conn in others:
                conn.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(str(row[0]))))
            for conn in (first, *others):
                # Hashing the groups needs no more memory than there are parts, whatever the planner thinks.
                conn.execute("SET LOCAL enable_sort = off")
        yield region_of(name, dsn, [first, *others])


@contextmanager
def open_reader(name: str, dsn: str, option: str | None = None) -> Iterator[Region]:
    """A region with one connection, to look at one ``moment`` after another.

    ``option`` is how messages call the DSN; None: --NAME.
    """
    with _prepared(name, dsn, option, autocommit=False) as conn:
        yield region_of(name, dsn, [conn])


@contextmanager
def moment(region: Region, tables: Sequence[sql.Identifier], snapshot: str | None = None) -> Iterator[None]:
    """A region that ``open_reader`` has opened sees one moment as long as the block runs; as in ``at_one_snapshot``.

    ``snapshot`` is one that another session has exported; None: of now.
    """
    conn = region.first
    try:
        with named(region.name, region.dsn):
            _look(conn, region.name, tables, snapshot)
        yield
    finally:
        # It only read: a connection that is gone by now has nothing to say about that.
        with suppress(psycopg.Error):
            conn.rollback()


def _look(conn: Connection, name: str, tables: Sequence[sql.Identifier], snapshot: str | None) -> None:
    try:
        with sessions.pipelined(conn):
            if snapshot is not None:
                conn.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
            for table in tables:
                conn.execute(sql.SQL(block(FILE, "lock")).format(table=table))
            conn.execute("SET LOCAL enable_sort = off")
    except (psycopg.errors.UndefinedObject, psycopg.errors.InvalidParameterValue):
        if snapshot is None:
            raise
        # By the version: before 16 the other one.
        raise AccountdbError(f"{name}: the session whose snapshot is read has been lost", hint=_AGAIN) from None


@contextmanager
def _prepared(name: str, dsn: str, option: str | None, *, autocommit: bool) -> Iterator[Connection]:
    # Closed and no more: what only reads has nothing to commit.
    with closing(connect(dsn, name=option or f"--{name}", autocommit=autocommit)) as conn:
        with named(name, dsn):
            prepare(conn)
        if not autocommit:
            conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            conn.read_only = True
        yield conn


def region_of(name: str, dsn: str, conns: Sequence[Connection]) -> Region:
    """A region that hands out sessions which are open."""
    idle: SimpleQueue[Connection] = SimpleQueue()
    for conn in conns:
        idle.put(conn)
    return Region(name, dsn, conns[0], idle)


def check_distinct(a: Region, b: Region) -> None:
    """Raises Refused where both lead to one database."""
    with named(a.name, a.dsn):
        key = sessions.mark(a.first)
    with named(b.name, b.dsn):
        same = sessions.marked(b.first, key)
    with named(a.name, a.dsn):
        sessions.unmark(a.first, key)
    if same:
        raise Refused(
            f"{a.name} and {b.name} are the same database", hint=f"--{a.name} and --{b.name} name two regions"
        )
