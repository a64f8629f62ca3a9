"""The streams, their slots, and the conflict resolver of running workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from accountdb.doctor.hints import on_all, on_one, plain, psql, word
from accountdb.doctor.region import FILE, Here
from accountdb.health import commands
from accountdb.health.advice import Finding, Level, Remedy
from accountdb.health.status import Status
from accountdb.pg.connect import Connection
from accountdb.replication.model import State
from accountdb.setup.cleaning.streams import size
from accountdb.sql import block

# A slot that has less than this part of its quota left will soon be lost.
_LITTLE = 0.2
# What status says of streams stands here as it is.
_OF_STREAMS = {"stream": "stream", "lag": "stream", "slot": "slot"}


@dataclass(frozen=True)
class Slot:
    """One slot of the server. ``ours``: of this database. Bytes are of the write-ahead log."""

    name: str
    database: str
    ours: bool
    active: bool
    wal_status: str | None
    kept: int | None
    safe: int | None


def read_slots(conn: Connection) -> tuple[Slot, ...]:
    """Every slot of the server: the disk that they hold is one. Any role may."""
    return tuple(
        Slot(name, database, bool(ours), active, status, None if kept is None else int(kept), safe)
        for name, database, ours, active, status, kept, safe in conn.execute(block(FILE, "slots"))
    )


def judge_streams(here: Here, status: Status) -> Iterator[Finding]:
    """Both directions, as ``migratectl status`` finds them. Pure."""
    mine = next(region for region in status.regions if region.name == here.name)
    if not mine.streams and mine.error is None:
        says = "when no check fails; a DSN that the servers use for each other may have another host"
        node = here.node or f"node_{plain(here.name)}"
        joins = tuple(commands.join(here.name, node, other) for other in here.everyone if other != here.name)
        remedy = Remedy(says, joins)
        if here.asked:
            yield here.look.info("stream", "not joined yet", remedy=remedy)
        else:
            yield here.look.failed("stream", "no subscription: nothing is received", remedy=remedy)
        return
    for problem in mine.problems:
        if problem.check in _OF_STREAMS:
            make = here.look.failed if problem.level is Level.FAIL else here.look.warn
            check = _OF_STREAMS[problem.check]
            yield make(check, problem.found, problem.subject, problem.cause, problem.remedy)
    for one in mine.streams:
        if one.state is State.REPLICATING:
            lag = "" if one.lag_bytes is None else f", {one.lag_bytes} bytes behind"
            yield here.look.passed("stream", f"{one.subscription} is replicating{lag}", one.subscription)


def judge_slots(
    here: Here, slots: Sequence[Slot], users: Mapping[str, tuple[str, str, State]], regions: Sequence[str]
) -> Iterator[Finding]:
    """The slots of one server. Pure. ``users`` are region, subscription and its state, by the slot that it reads."""
    wrong = False
    for slot in slots:
        user = users.get(slot.name)
        found = _judge_slot(here, slot, None if user and user[0] == here.name else user, regions)
        if found is not None:
            wrong = True
            yield found
    if not wrong:
        kept = sum(slot.kept or 0 for slot in slots)
        yield here.look.passed("slot", f"{len(slots)}, all in use; {size(kept)} of log kept" if slots else "none")


def _judge_slot(here: Here, slot: Slot, user: tuple[str, str, State] | None, regions: Sequence[str]) -> Finding | None:
    whose = (
        f", of {user[1]} in {user[0]}" if user else "" if slot.ours else f", of database {slot.database or '(none)'}"
    )
    held = f"keeps {size(slot.kept)} of log"
    if slot.wal_status == "lost":
        text = f"slot {slot.name}{whose} is lost: log that its follower needs is gone"
        remedy = Remedy("", (commands.resync(regions, user[0]),)) if user else _unknown(here, slot, regions)
        return here.look.failed("slot", text, slot.name, remedy=remedy)
    away = "" if slot.active else ", nobody reads it"
    if slot.wal_status == "unreserved":
        text = f"slot {slot.name}{whose} {held}, more than max_slot_wal_keep_size = {here.keep} allows{away}"
        cause = "it is lost at the next checkpoint"
        return here.look.failed("slot", text, slot.name, cause, _before_it_is_lost(here, slot, user))
    little = here.keep_bytes * _LITTLE
    if slot.safe is not None and here.keep_bytes > 0 and slot.safe < little:
        text = f"slot {slot.name}{whose} {held}, {size(max(slot.safe, 0))} are left until it is lost{away}"
        return here.look.warn("slot", text, slot.name, remedy=_before_it_is_lost(here, slot, user))
    if not slot.active:
        text = f"slot {slot.name}{whose} {held}{away}"
        if user is not None:
            cause = f"{user[1]} is {user[2]}"
            return here.look.warn("slot", text, slot.name, cause, Remedy("see stream of " + user[0]))
        return here.look.warn("slot", text, slot.name, remedy=_unknown(here, slot, regions))
    return None


def _before_it_is_lost(here: Here, slot: Slot, user: tuple[str, str, State] | None) -> Remedy:
    """More room at once; and the follower, where a command brings it back."""
    room = max(2 * (slot.kept or 0), 4 * here.keep_bytes, 64 * 1024**2) // 1024**2
    more = psql(here.name, f"ALTER SYSTEM SET max_slot_wal_keep_size = '{room}MB'", "SELECT pg_reload_conf()")
    says = "where the disk has room; a superuser runs it. Set it back when the slot is level"
    # The follower's return alone does not save it: what it has read is given free a while later.
    if user is not None and user[2] is State.DISABLED:
        return Remedy(says, (*more, commands.resume(user[0], user[1], ("", user[1]))))
    return Remedy(f"{says}; bring the follower back: see stream", more)


def _unknown(here: Here, slot: Slot, regions: Sequence[str]) -> Remedy:
    if not slot.ours:
        return Remedy("look after it in its own database")
    command = on_all(regions, "clean") if set(regions) <= {"cn", "global"} else (on_one(here.name, "clean"),)
    return Remedy(f"clean says whether anybody needs it; --slot {word(slot.name)} --yes removes it", command)
