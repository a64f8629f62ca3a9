"""``migratectl region resync``: a stream whose slot is lost or gone, made anew, and both regions made equal again.

The new stream runs before the merge begins: what is written from then on is streamed, what was written before is
merged, so that nothing falls between the two.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import combinations

import psycopg

from accountdb.compare.model import Watch
from accountdb.compare.session import named
from accountdb.errors import AccountdbError, Refused, UsageError
from accountdb.merge.model import Receipt
from accountdb.pg import dsn as dsns
from accountdb.pg import session
from accountdb.pg.connect import Connection, connect
from accountdb.replication import common
from accountdb.replication.engine import Engine, standing
from accountdb.replication.facts import problems, read_facts
from accountdb.replication.model import JoinRequest, State
from accountdb.setup.merging import MergeOptions, check_mergeable, merge_regions, note_run
from accountdb.setup.report import Report
from accountdb.setup.subscriptions import await_stream, chosen

_LOCK = 0x6163_7273
_SLOT_WAIT = "60s"


@dataclass(frozen=True)
class Stream:
    """One direction that is to be made anew.

    ``receiver`` and ``provider`` are names for messages and for the merge. ``stored_dsn`` is how the receiver's server
    reaches the provider; None: as its subscription has it, else ``provider_dsn``.
    """

    receiver: str
    dsn: str = field(repr=False)
    provider: str
    provider_dsn: str = field(repr=False)
    subscription: str | None = None
    stored_dsn: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Resynced:
    """What a resync did. ``receipt`` is None where nothing had to be done."""

    regions: tuple[str, ...]
    report: Report
    receipt: Receipt | None

    @property
    def equal(self) -> bool:
        """Whether the regions are."""
        return self.receipt is None or self.receipt.equal


def resync_from(dsn: str, provider_dsn: str | None, subscription: str | None, watch: Watch) -> Resynced:
    """Resync the region at ``dsn`` from the provider of one subscription.

    ``provider_dsn`` None: the connection string of the subscription, which a superuser may read. Raises UsageError
    where that is not enough.
    """
    with connect(dsn, name="--dsn", autocommit=True) as conn:
        engine, names = chosen(conn, subscription, need=True)
        if len(names) > 1:
            raise UsageError(
                f"this region has {len(names)} subscriptions", hint=f"--subscription is one of: {', '.join(names)}"
            )
        stored = engine.provider_dsn(conn, names[0])
        here = common.node(conn)[0] or "here"
    reached = provider_dsn or stored
    if reached is None:
        raise UsageError(
            f"role {dsns.parse(dsn).get('user', '')} may not read how {names[0]} reaches its provider",
            hint="--provider-dsn DSN, or the variable PROVIDER_DSN; an administrator may read it",
        )
    with connect(reached, name="--provider-dsn", autocommit=True) as provider:
        there = common.node(provider)[0] or "provider"
    if here == there:
        raise Refused(f"--dsn and --provider-dsn both lead to {here}", hint="--provider-dsn names the other region")
    return resync([Stream(here, dsn, there, reached, names[0], provider_dsn)], watch)


def resync_regions(regions: Mapping[str, str], region: str | None, watch: Watch, *, every: bool = False) -> Resynced:
    """Resync regions, given by name and DSN: what ``region`` receives, or None: every stream that cannot go on.

    ``every``: each stream between them, also where it seems to run: after one of them was restored from a backup.
    """
    if region is not None and region not in regions:
        raise UsageError(f"there is no region {region}", hint=f"--region is one of: {', '.join(regions)}")
    wanted = [region] if region else list(regions)
    streams: list[Stream] = []
    with ExitStack() as stack:
        conns = _opened(stack, regions)
        for receiver in wanted:
            streams += _streams(regions, conns, receiver, every=every or region is not None)
    if not streams:
        report = Report()
        report.unchanged("streams", "each subscription has its slot; --region NAME or --all makes them anew")
        return Resynced(tuple(regions), report, None)
    return resync(streams, watch, regions)


def _opened(stack: ExitStack, regions: Mapping[str, str]) -> dict[str, Connection]:
    return {n: stack.enter_context(connect(dsn, name=f"--{n}", autocommit=True)) for n, dsn in regions.items()}


def _streams(
    regions: Mapping[str, str], conns: Mapping[str, Connection], receiver: str, *, every: bool
) -> list[Stream]:
    """The subscriptions of one region: all, or those whose slot is lost or gone."""
    slots = {slot.name: slot for name, conn in conns.items() if name != receiver for slot in standing(conn).followers}
    engine, names = chosen(conns[receiver], None, need=every)
    found: list[Stream] = []
    for one in engine.standing(conns[receiver]).subscriptions:
        if one.name not in names or one.slot is None:
            continue
        if every or one.slot not in slots or slots[one.slot].lost:
            provider = _provider(conns, receiver, engine, one.name)
            found.append(Stream(receiver, regions[receiver], provider, regions[provider], one.name))
    return found


def _provider(conns: Mapping[str, Connection], receiver: str, engine: Engine, subscription: str) -> str:
    """Which region a subscription comes from. With three, by asking whoever answers at its connection string."""
    others = [name for name in conns if name != receiver]
    if len(others) == 1:
        return others[0]
    dsn = engine.provider_dsn(conns[receiver], subscription)
    if dsn is not None:
        with connect(dsn, name=f"the provider of {subscription}", autocommit=True) as provider:
            known = common.identity(provider)
        for name in others:
            if common.identity(conns[name]) == known:
                return name
    raise UsageError(
        f"{receiver}: which of {', '.join(others)} provides {subscription} cannot be told",
        hint=f"migratectl region resync --dsn DSN --subscription {shlex.quote(subscription)} --provider-dsn DSN",
    )


def resync(streams: list[Stream], watch: Watch, regions: Mapping[str, str] | None = None) -> Resynced:
    """Make each of ``streams`` anew, wait until it runs, then merge all ``regions`` (None: the two of one stream).

    Killed anywhere, it is run again. Raises before anything is written where a side cannot stream or be merged;
    AccountdbError where a new stream does not run.
    """
    report = Report()
    first = streams[0]
    regions = regions or {first.receiver: first.dsn, first.provider: first.provider_dsn}
    check_mergeable(regions)
    with ExitStack() as stack:
        conns = _opened(stack, regions)
        for name in sorted(conns):
            stack.enter_context(session.advisory_lock(conns[name], _LOCK, busy=f"another resync is at work in {name}"))
        for one, other in combinations(conns, 2):
            if session.same_database(conns[one], conns[other]):
                raise Refused(f"{one} and {other} are the same database", hint="each DSN names another region")
        ready = [_check(stream, conns) for stream in streams]
        # Should this run die, nobody takes them for equal.
        note_run(regions, "merge", 0.0, equal=False, written=dict.fromkeys(regions, 0))
        for stream, (engine, request) in zip(streams, ready, strict=True):
            _renew(stream, conns, engine, request, report)
    receipt = merge_regions(regions, MergeOptions(), watch)
    return Resynced(tuple(regions), report, receipt)


def _check(one: Stream, conns: Mapping[str, Connection]) -> tuple[Engine, JoinRequest]:
    """What to make anew. Reads only; raises with all that stands in the way."""
    conn, provider = conns[one.receiver], conns[one.provider]
    with named(one.receiver, one.dsn):
        engine, (name,) = chosen(conn, one.subscription, need=True)
        node, _ = common.node(conn)
        stored = one.stored_dsn or engine.provider_dsn(conn, name) or one.provider_dsn
        waiting = next(s for s in engine.standing(conn).subscriptions if s.name == name).state is State.PENDING
        found = [
            f"{one.receiver}: {p}" for p in problems(read_facts(conn), engine.mode, provides=False, receives=False)
        ]
    if waiting:
        raise UsageError(f"{name} waits for its provider to join", hint="migratectl region join there")
    with named(one.provider, one.provider_dsn):
        facts = read_facts(provider)
        found += [f"{one.provider}: {p}" for p in problems(facts, engine.mode, provides=False, receives=False)]
        if not engine.offers(provider):
            found.append(f"{one.provider} offers no changes: it has left")
    if found:
        raise AccountdbError(f"cannot resync: {'; '.join(found)}", hint="mend it, then run the same command again")
    return engine, JoinRequest(node or "", "", name, stored)


def _renew(one: Stream, conns: Mapping[str, Connection], engine: Engine, request: JoinRequest, report: Report) -> None:
    conn, provider = conns[one.receiver], conns[one.provider]
    # A new slot waits for every transaction that is open there.
    common.limit_statements(provider, _SLOT_WAIT)
    try:
        engine.resubscribe(conn, provider, request)
    except psycopg.errors.QueryCanceled as error:
        raise AccountdbError(
            f"{one.provider}: the new slot waited {_SLOT_WAIT} for a transaction that is open there",
            hint="SELECT pid, xact_start FROM pg_stat_activity ORDER BY xact_start shows it; then run it again",
        ) from error
    except psycopg.Error as error:
        raise _scrubbed(error, request, one) from None
    finally:
        if not provider.broken:
            common.limit_statements(provider, "0")
    report.done(
        "subscription", f"{one.receiver}: {request.subscription} made anew from {dsns.shown(request.provider_dsn)}"
    )
    if not await_stream(conn, engine, request.subscription, report):
        raise AccountdbError(
            f"{one.receiver}: {request.subscription} is made anew and does not stream yet; nothing was merged",
            hint="migratectl status says why; then run the same command again",
        )


def _scrubbed(error: psycopg.Error, request: JoinRequest, one: Stream) -> AccountdbError:
    said = dsns.scrub(error.diag.message_primary or str(error), request.provider_dsn, one.provider_dsn, one.dsn)
    return AccountdbError(
        f"{one.receiver}: {request.subscription} could not be made anew: {' '.join(said.split())}",
        hint="its old slot may be gone by now; mend the cause, then run the same command again",
    )
