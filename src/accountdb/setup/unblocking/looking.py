"""Why one subscription stands still, and what each way would do. Everything that leaves this module is masked."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg

from accountdb.catalog.secrets import declared_secrets
from accountdb.catalog.tables import read_tables
from accountdb.compare.session import named, prepare
from accountdb.conflicts.words import Names, label
from accountdb.contract.masking import Secrets, printable, union
from accountdb.contract.row_contract import candidates
from accountdb.errors import AccountdbError, ConnectError
from accountdb.guards.install import GuardState, states
from accountdb.pg import dsn as dsns
from accountdb.pg.connect import Connection, connect
from accountdb.replication.engine import Engine
from accountdb.replication.failure import Failure, read_failure
from accountdb.replication.model import Mode, State
from accountdb.setup.subscriptions import state_of
from accountdb.setup.unblocking.model import Transaction, position
from accountdb.setup.unblocking.peeking import FILE, first_after, slot_state
from accountdb.setup.unblocking.writing import OWN_SCHEMA, Fault, Tables, be_worker, trial
from accountdb.sql import block

_STEADY_S = 0.7
_STEP_S = 0.1
_MOST_TRIED = 2000
_MOST_SHOWN = 50


@dataclass(frozen=True)
class Target:
    """One subscription to look at. ``variable`` is how a hint writes the region's DSN, ``options`` all of them."""

    region: str
    dsn: str = field(repr=False)
    subscription: str
    provider_dsn: str | None = field(repr=False)
    variable: str
    options: str


@dataclass(frozen=True)
class ShownChange:
    """One change, masked. ``fails`` is why it does not go in here, None where it does or was not tried."""

    number: int
    operation: str
    table: str
    uuid: str | None
    label: str
    row: Mapping[str, Any]
    fails: str | None


@dataclass(frozen=True)
class ShownTransaction:
    """The transaction that the stream stands at: ``changes`` are the first of ``count``."""

    xid: int
    finished: str
    end: str
    committed_at: str
    count: int
    changes: tuple[ShownChange, ...]


@dataclass(frozen=True)
class Look:
    """One subscription. ``cause`` is None where it is not known, ``notes`` say what could not be looked at."""

    region: str
    subscription: str
    state: str
    blocked: bool
    cause: str | None = None
    transaction: ShownTransaction | None = None
    notes: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    ways: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What acting needs beside what is shown."""

    shown: Look
    engine: Engine
    origin: str | None = None
    slot: str | None = None
    provider_dsn: str | None = field(default=None, repr=False)
    transaction: Transaction | None = None
    fails: bool | None = None
    """Whether this very transaction is what fails; None where nobody can say."""
    idle: bool = False
    """Whether nothing waits on the provider: the worker is not running, and has nothing to fail at."""


def origin_of(conn: Connection, mode: Mode, name: str, slot: str) -> str:
    """The origin by which a subscription knows how far it is."""
    if mode is Mode.PGLOGICAL:
        return slot
    row = conn.execute(block(FILE, "origin_native"), {"name": name}).fetchone()
    return str(row[0]) if row else ""


def tables_of(conn: Connection) -> Tables:
    """All tables that a stream may carry."""
    found = [*read_tables(conn), *read_tables(conn, OWN_SCHEMA)]
    return {(table.schema, table.name): table for table in found}


def steady(conn: Connection, engine: Engine, name: str) -> State:
    """The state of a subscription; replicating only where it stays so: a worker that fails runs for moments."""
    until = time.monotonic() + _STEADY_S
    while True:
        state = state_of(conn, engine, name)
        if state is not State.REPLICATING or time.monotonic() > until:
            return state
        time.sleep(_STEP_S)


def look(target: Target, conn: Connection, engine: Engine) -> Found:
    """Look at one subscription. Writes nothing; what is tried is rolled back. ``conn`` is in autocommit."""
    with named(target.region, target.dsn):
        state = steady(conn, engine, target.subscription)
        slot = next((s.slot for s in engine.standing(conn).subscriptions if s.name == target.subscription), None) or ""
        origin = origin_of(conn, engine.mode, target.subscription, slot)
        if state is State.PENDING or (state is State.REPLICATING and unfinished(conn, origin) is None):
            waits = ("it waits for its provider to join",) if state is State.PENDING else ()
            return Found(Look(target.region, target.subscription, state, blocked=False, notes=waits), engine)
        applied = _applied(conn, origin)
        failure, unread = read_failure(conn, origin)
        reached = target.provider_dsn or engine.provider_dsn(conn, target.subscription)
    return _Looking(target, conn, engine, state, slot, origin, applied, reached, failure, unread).found()


def _applied(conn: Connection, origin: str) -> str | None:
    """Up to where a subscription has applied; None where this role may not know."""
    try:
        with conn.transaction():
            row = conn.execute(block(FILE, "applied"), {"origin": origin}).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return None
    return str(row[0]) if row else None


def unfinished(conn: Connection, origin: str) -> Failure | None:
    """The transaction that a worker has failed at and has not got past, as far as that can be read.

    One that fails late in a long transaction runs for a while at each of its tries.
    """
    failure, _ = read_failure(conn, origin)
    applied = _applied(conn, origin)
    if failure is None or failure.finished is None or applied is None or position(applied) == 0:
        return None
    return failure if position(failure.finished) >= position(applied) else None


@dataclass
class _Looking:
    target: Target
    conn: Connection
    engine: Engine
    state: State
    slot: str
    origin: str
    applied: str | None
    provider_dsn: str | None
    failure: Failure | None
    unread: str | None
    notes: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    def found(self) -> Found:
        if self.unread:
            self.notes.append(self.unread)
        if self.provider_dsn is None:
            self.notes.append("how its provider is reached may not be read by this role: --provider-dsn DSN")
            return self._only(self.failure.message if self.failure else None)
        try:
            with connect(self.provider_dsn, name="provider", autocommit=True) as provider:
                return self._with_provider(provider)
        except ConnectError as error:
            return self._only(error.message)

    def _only(self, cause: str | None, *commands: str) -> Found:
        """What can be said without a transaction."""
        if self.state is State.DISABLED:
            commands = (*commands, f"migratectl region resume --dsn {self.target.variable} {self._named}")
            cause = cause or "it is paused"
        shown = Look(
            self.target.region,
            self.target.subscription,
            self.state,
            blocked=True,
            cause=cause,
            notes=tuple(self.notes),
            commands=commands or (self._command("unblock", self._named, "--retry"),),
        )
        return Found(shown, self.engine, self.origin, self.slot, self.provider_dsn)

    def _command(self, what: str, *rest: str) -> str:
        return " ".join(["migratectl", what, self.target.options, *rest])

    @property
    def _named(self) -> str:
        return f"--subscription {shlex.quote(self.target.subscription)}"

    def _with_provider(self, provider: Connection) -> Found:
        with named("provider", self.provider_dsn or ""):
            slot = slot_state(provider, self.slot)
            if slot is None or slot.lost:
                what = "is not there any more" if slot is None else "is lost: log that is needed is gone"
                of_two = "--cn" in self.target.options or "--node" in self.target.options
                which = f"--region {shlex.quote(self.target.region)}" if of_two else self._named
                resync = self._command("region resync", which)
                return self._only(f"slot {self.slot} on the provider {what}", resync)
            prepare(provider)
            if self.applied is None:
                self.notes.append("how far it has applied may not be read here: what is not confirmed yet is shown")
            transaction = first_after(provider, self.engine.mode, self.slot, self.applied or "0/0")
            secrets = union([declared_secrets(provider), declared_secrets(self.conn)])
        if transaction is None:
            self.notes.append("no transaction waits on the provider; migratectl status says more of the cause")
            return replace(self._only(None), idle=self.state is not State.DISABLED)
        if self.state is State.DISABLED and not self._is_about(transaction):
            return self._only(None)
        with named(self.target.region, self.target.dsn):
            return self._at(transaction, secrets)

    def _at(self, transaction: Transaction, secrets: Secrets) -> Found:
        tables = tables_of(self.conn)
        faults = self._tried(transaction, tables)
        about = self.failure if self._is_about(transaction) else None
        rows = [change.content for change in transaction.changes]
        cause = about.message if about else faults[0].text if faults else None
        if cause:
            for change, row in zip(transaction.changes, rows, strict=True):
                cause = secrets.scrubbed(change.name, cause, [row])
        fails = True if about or faults else None if self.unread or faults is None else False
        if fails is False:
            self.notes.append("none of its changes fails when it is tried: the stream stands still for another reason")
        self._remedies(transaction)
        shown = Look(
            self.target.region,
            self.target.subscription,
            self.state,
            blocked=True,
            cause=printable(cause) if cause else None,
            transaction=_shown(transaction, faults or (), tables, secrets),
            notes=tuple(self.notes),
            commands=tuple(self.commands),
            ways=_ways(transaction, faults),
        )
        return Found(shown, self.engine, self.origin, self.slot, self.provider_dsn, transaction, fails)

    def _is_about(self, transaction: Transaction) -> bool:
        finished = self.failure.finished if self.failure else None
        return finished is not None and position(finished) == position(transaction.finished)

    def _tried(self, transaction: Transaction, tables: Tables) -> tuple[Fault, ...] | None:
        if len(transaction.changes) > _MOST_TRIED:
            self.notes.append(f"{len(transaction.changes)} changes are too many to try here")
            return None
        try:
            with ExitStack() as stack:
                conn = stack.enter_context(connect(self.target.dsn, name="", autocommit=True))
                be_worker(conn)
                return trial(conn, transaction, tables)
        except (psycopg.Error, AccountdbError) as error:
            state = error.sqlstate if isinstance(error, psycopg.Error) else None
            self.notes.append(f"its changes could not be tried here (SQLSTATE {state})")
            return None

    def _remedies(self, transaction: Transaction) -> None:
        """What accountdb can mend by itself."""
        known = read_tables(self.conn)
        touched = {change.name for change in transaction.changes}
        tables = [table for table in candidates(known) if (table.schema, table.name) in touched]
        wrong = [guard for guard in states(self.conn, tables, known) if guard.state is not GuardState.INSTALLED]
        for guard in wrong:
            self.notes.append(f"the guard on {guard.table} is {guard.state}: it would settle this")
        if wrong:
            self.commands.append(f"migratectl init --dsn {self.target.variable} --mode {self.engine.mode}")
        self.commands.append(self._command("unblock", self._named, "--retry"))


def _shown(transaction: Transaction, faults: Sequence[Fault], tables: Tables, secrets: Secrets) -> ShownTransaction:
    why = {fault.number: fault for fault in faults}
    wanted = [*why, *range(len(transaction.changes))][:_MOST_SHOWN]
    shown: list[ShownChange] = []
    for number in sorted({number for number in wanted if number < len(transaction.changes)}):
        change = transaction.changes[number]
        row = secrets.masked(change.name, change.content) or {}
        fault = why.get(number)
        text = printable(secrets.scrubbed(change.name, fault.text, [change.content])) if fault else None
        called = label(tables.get(change.name), change.content, Names(secrets), change.name)
        table = change.table if change.schema == "public" else f"{change.schema}.{change.table}"
        shown.append(ShownChange(number + 1, change.operation, table, change.uuid, called, row, text))
    return ShownTransaction(
        transaction.xid,
        transaction.finished,
        transaction.end,
        transaction.committed_at.isoformat(),
        len(transaction.changes),
        tuple(shown),
    )


def _ways(transaction: Transaction, faults: Sequence[Fault] | None) -> dict[str, str]:
    """What each way would do."""
    count = len(transaction.changes)
    if faults is None:
        parts = "applies what goes in and keeps each row that does not as an open conflict"
    else:
        bad = sum(fault.number < count for fault in faults)
        parts = f"applies {count - bad} of {count} changes and keeps {bad} as open conflicts"
    return {
        "--retry": "tries again at once: when the cause is mended",
        "--park": f"{parts}; nothing is lost",
        "--skip --yes": f"applies none of {count} changes and keeps each row as an open conflict",
    }


def region_variable(region: str) -> str:
    """How a hint writes the DSN of a region; of one that was given with --dsn, the variable that stands for it."""
    return dsns.variable(region) if region else '"$DB_URL"'


def region_options(regions: Sequence[str]) -> str:
    """How a hint names the regions that a command was given: with --dsn, --cn and --global, or --node."""
    if tuple(regions) == ("",):
        return '--dsn "$DB_URL"'
    return dsns.options(regions)
