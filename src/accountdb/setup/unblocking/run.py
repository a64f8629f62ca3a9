"""Looking at the subscriptions of one region or two, and taking one of the ways past what blocks them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from accountdb.compare.session import named, prepare
from accountdb.errors import AccountdbError, Refused
from accountdb.pg import session
from accountdb.pg.connect import Connection, connect
from accountdb.replication.engine import Engine
from accountdb.replication.failure import Failure, read_failure
from accountdb.replication.model import State
from accountdb.setup.subscriptions import chosen, state_of
from accountdb.setup.unblocking import saving
from accountdb.setup.unblocking.looking import (
    Found,
    Look,
    Target,
    look,
    region_options,
    region_variable,
    tables_of,
    unfinished,
)
from accountdb.setup.unblocking.model import Transaction
from accountdb.setup.unblocking.peeking import first_after
from accountdb.setup.unblocking.writing import Written, be_worker, hold, park, skip

_LOCK = 0x6163_7562
_WAIT_S = 15.0
_STEP_S = 0.1
_STEADY_S = 0.7


class Way(StrEnum):
    """A way past the transaction that a stream stands at."""

    RETRY = "retry"
    PARK = "park"
    SKIP = "skip"


@dataclass(frozen=True)
class Request:
    """What was asked for. ``way`` None: only look. ``save`` None: a name in the working directory."""

    subscription: str | None = None
    way: Way | None = None
    save: Path | None = None
    confirmed: bool = False


@dataclass(frozen=True)
class Done:
    """One subscription: what was found, what was done about it, how it is now."""

    before: Look
    way: str | None = None
    saved: str | None = None
    applied: int = 0
    recorded: int = 0
    unrecorded: int = 0
    after: Look | None = None

    @property
    def blocked(self) -> bool:
        """Whether it still stands still."""
        return (self.after or self.before).blocked


@dataclass(frozen=True)
class Unblocking:
    """All subscriptions that were looked at."""

    subscriptions: tuple[Done, ...]
    blocked: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocked", sum(done.blocked for done in self.subscriptions))


def unblock(regions: Mapping[str, str], request: Request, provider_dsn: str | None = None) -> Unblocking:
    """Look at the subscriptions of the regions, by name (one without a name is that of --dsn), and act where asked.

    Of two regions the provider of each is the other one. Raises Refused for a skip that nobody confirmed,
    MissingRightError, AccountdbError; nothing is written then. Killed anywhere, it is run again.
    """
    done: list[Done] = []
    for region, dsn in regions.items():
        other = next((there for name, there in regions.items() if name != region), None) if len(regions) == 2 else None
        with connect(dsn, name=f"--{region or 'dsn'}", autocommit=True) as conn:
            with named(region or "this region", dsn):
                engine, names = chosen(conn, request.subscription if len(regions) == 1 else None, need=True)
            wanted = [name for name in names if request.subscription in (None, name)]
            for name in wanted:
                reached = other or provider_dsn
                target = Target(
                    region or "this region", dsn, name, reached, region_variable(region), region_options(list(regions))
                )
                done.append(_one(target, conn, engine, request))
    return Unblocking(tuple(done))


def _one(target: Target, conn: Connection, engine: Engine, request: Request) -> Done:
    found = look(target, conn, engine)
    if request.way is None or not found.shown.blocked:
        return Done(found.shown)
    busy = f"another unblock is at work on {target.region}"
    with session.advisory_lock(conn, _LOCK, busy=busy):
        if request.way is Way.RETRY:
            return _resumed(target, conn, found, Done(found.shown, Way.RETRY))
        return _past(target, conn, found, request, request.way)


def _past(target: Target, conn: Connection, found: Found, request: Request, way: Way) -> Done:
    """Park or skip, then go on."""
    transaction = found.transaction
    if found.idle:
        return _resumed(target, conn, found, Done(found.shown, Way.RETRY))
    if transaction is None or found.provider_dsn is None or found.origin is None or found.slot is None:
        raise AccountdbError(
            f"{target.subscription}: there is no transaction to {way}: {found.shown.cause or found.shown.state}",
            hint="; ".join(found.shown.commands) or "migratectl status says why it stands still",
        )
    if found.fails is False:
        # A worker that waits before its next try, say: a run of this command that died has done the rest already.
        return _resumed(target, conn, found, Done(found.shown, Way.RETRY))
    if way is Way.SKIP and not request.confirmed:
        raise Refused(
            f"{target.subscription}: none of the {len(transaction.changes)} changes of transaction {transaction.xid}"
            " would be applied; each would be an open conflict",
            hint="--yes allows it; --park applies what goes in",
        )
    path = request.save or saving.default_name(target.subscription, transaction)
    with ExitStack() as stack:
        provider = stack.enter_context(connect(found.provider_dsn, name="provider", autocommit=True))
        writer = stack.enter_context(connect(target.dsn, name="", autocommit=True))
        with named(target.region, target.dsn):
            be_worker(writer)
            applied = hold(writer, found.origin)
        with named("provider", found.provider_dsn):
            prepare(provider)
            current = first_after(provider, found.engine.mode, found.slot, applied)
        _check_same(target, transaction, current)
        saving.save(path, target.subscription, transaction)
        with named(target.region, target.dsn):
            tables = tables_of(conn)
            written = (park if way is Way.PARK else skip)(writer, transaction, tables)
    done = _done(found, way, path, written)
    return _resumed(target, conn, found, done)


def _check_same(target: Target, seen: Transaction, current: Transaction | None) -> None:
    if current is None or current.end != seen.end:
        raise AccountdbError(
            f"{target.subscription} has moved since it was looked at; nothing was done",
            hint="run the same command again",
        )


def _done(found: Found, way: Way, path: Path, written: Written) -> Done:
    return Done(found.shown, way, str(path), written.applied, written.recorded, written.unrecorded)


def _resumed(target: Target, conn: Connection, found: Found, done: Done) -> Done:
    """Have the worker try at once, and wait until it runs or fails at something."""
    engine, name = found.engine, target.subscription
    with named(target.region, target.dsn):
        before, _ = read_failure(conn, found.origin or "")
        engine.resume(conn, name)
        if _runs(conn, engine, name, found.origin or "", before):
            return replace(done, after=Look(target.region, name, State.REPLICATING, blocked=False))
    return replace(done, after=look(target, conn, engine).shown)


def _runs(conn: Connection, engine: Engine, name: str, origin: str, before: Failure | None) -> bool:
    """Whether a worker runs, and fails at nothing for a while. One that is at work on a long transaction runs.

    ``before`` is what it had failed at last when it was told to try.
    """
    deadline = time.monotonic() + _WAIT_S
    since: float | None = None
    while time.monotonic() < deadline:
        replicating = state_of(conn, engine, name) is State.REPLICATING
        since = (since or time.monotonic()) if replicating else None
        stands_at = unfinished(conn, origin)
        if stands_at is not None and _newer(stands_at, before):
            return False
        if since is not None and stands_at is None and time.monotonic() - since > _STEADY_S:
            return True
        time.sleep(_STEP_S)
    return since is not None


def _newer(failure: Failure, before: Failure | None) -> bool:
    """Whether a worker has failed since: at another transaction, or once more at the same."""
    return before is None or failure.finished != before.finished or failure.times > before.times
