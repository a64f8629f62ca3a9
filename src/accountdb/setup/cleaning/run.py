"""Finding the left-overs of one region or several, and removing them one by one."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeAlias

import psycopg

from accountdb.errors import AccountdbError, Refused
from accountdb.migrations.locks import LOCK_KEY
from accountdb.pg import session
from accountdb.pg.connect import Connection, connect, told
from accountdb.setup.cleaning import indexes, objects, scratch, streams, triggers
from accountdb.setup.cleaning.model import FILE, SETTLED_S, Action, Care, Leftover
from accountdb.sql import block

_TRIES = 5
_LOCK_WAIT_S = 5.0
_MOVED = "it has changed since it was listed, so nothing was done; run the command again"


@dataclass(frozen=True)
class Plan:
    """What was found, and what this role could not look at."""

    leftovers: tuple[Leftover, ...]
    not_looked_at: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of one left-over that was to go; ``error`` says why it is still there."""

    leftover: Leftover
    error: str = ""


@dataclass(frozen=True)
class Told:
    """One thing as it is told. ``result`` is what became of it: ``done``, ``failed`` or, of all else, ``listed``."""

    region: str
    kind: str
    name: str
    action: Action
    why: str
    note: str
    statement: str
    result: str
    error: str


@dataclass(frozen=True)
class Cleaning:
    """What ``clean`` found and did. ``left`` counts the left-overs that are still there, ``failed`` those of them that
    could not be removed; what is kept is none.
    """

    leftovers: tuple[Told, ...]
    not_looked_at: tuple[str, ...]
    left: int
    failed: int


def _summed_up(plan: Plan, outcomes: Sequence[Outcome]) -> Cleaning:
    """The end of it. Pure."""
    by_thing = {id(outcome.leftover): outcome for outcome in outcomes}
    told_things = tuple(_told(one, by_thing.get(id(one))) for one in plan.leftovers)
    return Cleaning(
        told_things,
        plan.not_looked_at,
        sum(one.action is not Action.KEEP and one.result != "done" for one in told_things),
        sum(one.result == "failed" for one in told_things),
    )


def _told(one: Leftover, outcome: Outcome | None) -> Told:
    result = "listed" if outcome is None else "failed" if outcome.error else "done"
    error = outcome.error if outcome is not None else ""
    return Told(one.region, one.kind, one.name, one.action, one.why, one.note, one.statement, result, error)


def clean(
    dsns: Mapping[str, str],
    *,
    confirmed: bool,
    slots: Sequence[str] = (),
    on_found: Callable[[Plan], None] = lambda plan: None,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
    watch_s: float = SETTLED_S,
) -> Cleaning:
    """Find the left-overs of the regions ``dsns`` (by name), and remove them where that is ``confirmed``.

    ``slots`` are slots that go although nothing proves that they are stale. ``on_found`` comes before the first
    removal, ``on_outcome`` after each, when it is committed; a failure of one keeps no other. Raises UsageError for a
    slot that is not there, Refused for one that is in use and for one database twice, ConnectError, AccountdbError on
    a standby.
    """
    with ExitStack() as stack:
        conns = {
            region: stack.enter_context(connect(dsn, name=f"--{region or 'dsn'}", autocommit=True))
            for region, dsn in dsns.items()
        }
        _check(conns)
        plan = find(conns, slots)
        on_found(plan)
        outcomes: list[Outcome] = []
        for outcome in remove(conns, plan, slots, watch_s=watch_s) if confirmed else ():
            outcomes.append(outcome)
            on_outcome(outcome)
    return _summed_up(plan, outcomes)


def _check(conns: Mapping[str, Connection]) -> None:
    for region, conn in conns.items():
        conn.execute(block(FILE, "session"))
        row = conn.execute(block(FILE, "region")).fetchone()
        if row and row[0]:
            raise AccountdbError(f"--{region or 'dsn'}: this server is a standby", hint="name its primary")
    if len(conns) == 2 and session.same_database(*conns.values()):
        raise Refused("--cn and --global lead to the same database", hint="name both regions, or one with --dsn")


def find(conns: Mapping[str, Connection], slots: Sequence[str] = ()) -> Plan:
    """What there is, region by region. Reads only; raises as ``clean`` does for what ``slots`` names."""
    found: list[Leftover] = []
    hidden: list[str] = []
    for region in conns:
        for look in dict.fromkeys(_LOOKS.values()):
            leftovers, unseen = look(region, conns, slots)
            found += leftovers
            hidden += [f"{region}: {what}" if region else what for what in unseen if what not in hidden]
    return Plan(tuple(found), tuple(dict.fromkeys(hidden)))


_Seen: TypeAlias = tuple[tuple[Leftover, ...], tuple[str, ...]]


def _indexes(region: str, conns: Mapping[str, Connection], slots: Sequence[str]) -> _Seen:
    return indexes.plan(region, indexes.read(conns[region])), ()


def _objects(region: str, conns: Mapping[str, Connection], slots: Sequence[str]) -> _Seen:
    facts, hidden = objects.read(conns[region])
    return objects.plan(region, facts), hidden


def _triggers(region: str, conns: Mapping[str, Connection], slots: Sequence[str]) -> _Seen:
    return triggers.plan(region, triggers.read(conns[region])), ()


def _scratches(region: str, conns: Mapping[str, Connection], slots: Sequence[str]) -> _Seen:
    return scratch.plan(region, *scratch.read(conns[region])), ()


def _streams(region: str, conns: Mapping[str, Connection], slots: Sequence[str]) -> _Seen:
    read = {name: streams.read(conn) for name, conn in conns.items()}
    facts = {name: found for name, (found, _) in read.items()}
    streams.check_named(facts, slots)
    return streams.plan(region, facts, slots), read[region][1]


# Which look finds which kind.
_LOOKS: dict[str, Callable[[str, Mapping[str, Connection], Sequence[str]], _Seen]] = {
    "invalid index": _indexes,
    "function": _objects,
    "fence": _objects,
    "note": _objects,
    "waiting subscription": _objects,
    "trigger": _triggers,
    "constraint": _triggers,
    "scratch database": _scratches,
    "replication slot": _streams,
    "replication origin": _streams,
    "pglogical node": _streams,
    "guards": _streams,
}


def remove(
    conns: Mapping[str, Connection], plan: Plan, slots: Sequence[str] = (), *, watch_s: float = SETTLED_S
) -> Iterator[Outcome]:
    """Remove what ``plan`` says, each by itself, and only where a second look finds it in the same state."""
    since = time.monotonic()
    to_do = [one for one in plan.leftovers if one.to_do]
    for one in sorted(to_do, key=lambda one: one.care is Care.WATCH):
        try:
            if one.care is Care.WATCH and not _unused(conns, one, slots, since + watch_s):
                yield Outcome(one, "it was used while it was watched; run the command again")
            elif one.care is Care.MIGRATION:
                busy = "a migration runs on this database"
                with session.advisory_lock(conns[one.region], LOCK_KEY, busy=busy, wait_s=_LOCK_WAIT_S):
                    outcome = _remove(conns, one, slots)
                yield outcome
            else:
                yield _remove(conns, one, slots)
        except psycopg.Error as error:
            yield Outcome(one, told(error).message)
        except AccountdbError as error:
            yield Outcome(one, error.message)


def _unused(conns: Mapping[str, Connection], one: Leftover, slots: Sequence[str], until: float) -> bool:
    """Whether a thing stays as it is until then."""
    while _as_it_was(conns, one, slots):
        left = until - time.monotonic()
        if left <= 0:
            return True
        time.sleep(min(left, 1.0))
    return False


def _as_it_was(conns: Mapping[str, Connection], one: Leftover, slots: Sequence[str]) -> bool:
    return one in _LOOKS[one.kind](one.region, conns, slots)[0]


def _remove(conns: Mapping[str, Connection], one: Leftover, slots: Sequence[str]) -> Outcome:
    for attempt in range(_TRIES):
        if not _as_it_was(conns, one, slots):
            return Outcome(one, _MOVED)
        try:
            # What a statement selects by its state is none when that has moved.
            gone = conns[one.region].execute(one.statement.encode()).rowcount != 0
            return Outcome(one, "" if gone else _MOVED)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            if attempt + 1 < _TRIES:
                time.sleep(random.uniform(0.2, 1.0))
    return Outcome(one, f"other sessions held a lock on it at each of {_TRIES} tries; run the command again")
