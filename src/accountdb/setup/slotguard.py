"""``migratectl region slot-guard``: let go of a follower that is away before what is kept for it fills the disk.

What it takes from the follower is its place in the stream: it needs ``region resync`` afterwards. So it says what it
would do unless that is confirmed, never touches a slot that is read from unless that is asked for, and then only one
that does not move.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import psycopg

from accountdb.errors import AccountdbError, MissingRightError, UsageError
from accountdb.pg.connect import Connection, connect, told
from accountdb.replication import common
from accountdb.sql import block

_FILE = "replication/slotguard.sql"
_UNITS = {"b": 1, "kb": 1024, "mb": 1024**2, "gb": 1024**3, "tb": 1024**4}
_HUNG_S = 10.0
_PAUSE_S = 10.0
_LEAST_SEGMENTS = 2


@dataclass(frozen=True)
class Slot:
    """A follower's slot. ``kept_bytes`` is the log that is kept for it; ``pid`` reads from it."""

    name: str
    pid: int | None
    lost: bool
    kept_bytes: int
    restart: str | None
    confirmed: str | None
    away_s: float | None


@dataclass(frozen=True)
class Room:
    """The disk of the log."""

    total_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class Limits:
    """When a slot has to go: it keeps more than ``keep_bytes`` and, where one of the two is given, less than
    ``free_bytes`` or ``free_percent`` of the disk are free. ``active``: also one that is read from and does not move.
    """

    keep_bytes: int
    free_bytes: int | None = None
    free_percent: float | None = None
    active: bool = False

    @property
    def ask_disk(self) -> bool:
        """Whether the disk counts."""
        return self.free_bytes is not None or self.free_percent is not None


class Verdict(StrEnum):
    """What becomes of a slot."""

    KEEP = "keep"
    DROP = "drop"
    WATCH = "watch"
    """Read from, and over the limit: to be dropped where it does not move."""


@dataclass(frozen=True)
class Judged:
    """One slot and why; ``dropped`` says that it is gone by now."""

    slot: str
    verdict: Verdict
    kept_bytes: int
    why: str
    dropped: bool = False


@dataclass(frozen=True)
class Guarded:
    """One pass. ``room`` is None where the disk was not asked."""

    slots: tuple[Judged, ...]
    room: Room | None

    @property
    def acted(self) -> bool:
        """Whether a slot was dropped, or would have been."""
        return any(one.verdict is Verdict.DROP for one in self.slots)


def size(text: str, option: str) -> int:
    """``2GB`` in bytes, by PostgreSQL's units. Raises UsageError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kKmMgGtT]?[bB])\s*", text)
    if not match:
        raise UsageError(f"{option} {text!r} is no size", hint=f"{option} 500MB, {option} 2GB")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def limits(keep: str, disk_free: str | None, *, active: bool) -> Limits:
    """The limits out of their options. Raises UsageError."""
    if disk_free is None:
        return Limits(size(keep, "--keep"), active=active)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", disk_free)
    if not match:
        return Limits(size(keep, "--keep"), free_bytes=size(disk_free, "--disk-free"), active=active)
    percent = float(match[1])
    if not 0 < percent < 100:
        raise UsageError(f"--disk-free {disk_free} is no share of a disk", hint="--disk-free 10%, --disk-free 5GB")
    return Limits(size(keep, "--keep"), free_percent=percent, active=active)


def judge(slots: Sequence[Slot], wanted: Limits, room: Room | None) -> tuple[Judged, ...]:
    """What becomes of each slot. Pure."""
    roomy = _roomy(wanted, room)
    return tuple(_judged(slot, wanted, roomy) for slot in slots)


def _roomy(wanted: Limits, room: Room | None) -> str | None:
    """Why the disk gives no reason to act; None where it does, or does not count."""
    if room is None or not wanted.ask_disk:
        return None
    floor = wanted.free_bytes
    if floor is None:
        floor = int(room.total_bytes * (wanted.free_percent or 0) / 100)
    if room.free_bytes < floor:
        return None
    return f"{shown(room.free_bytes)} of the disk are free, not less than {shown(floor)}"


def _judged(slot: Slot, wanted: Limits, roomy: str | None) -> Judged:
    keeps = f"keeps {shown(slot.kept_bytes)}"
    if slot.lost:
        return Judged(slot.name, Verdict.KEEP, slot.kept_bytes, "lost already: it keeps nothing")
    if slot.kept_bytes <= wanted.keep_bytes:
        return Judged(slot.name, Verdict.KEEP, slot.kept_bytes, f"{keeps}, not over {shown(wanted.keep_bytes)}")
    over = f"{keeps}, over {shown(wanted.keep_bytes)}"
    if roomy:
        return Judged(slot.name, Verdict.KEEP, slot.kept_bytes, f"{over}, but {roomy}")
    if slot.pid is None:
        away = "inactive" if slot.away_s is None else f"inactive for {slot.away_s:.0f} s"
        return Judged(slot.name, Verdict.DROP, slot.kept_bytes, f"{away}, {over}")
    if wanted.active:
        return Judged(slot.name, Verdict.WATCH, slot.kept_bytes, f"active, {over}")
    return Judged(slot.name, Verdict.KEEP, slot.kept_bytes, f"{over}, but its follower is connected (--active)")


def shown(count: int) -> str:
    """Bytes for people."""
    for unit, step in (("TB", 1024**4), ("GB", 1024**3), ("MB", 1024**2), ("kB", 1024)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count} bytes"


def guard(dsn: str, wanted: Limits, *, confirmed: bool) -> Guarded:
    """Look at the slots of the followers once, and drop those that have to go where that is ``confirmed``.

    Raises UsageError for a limit that every follower would pass at its next pause, MissingRightError, AccountdbError.
    """
    with connect(dsn, name="--dsn", autocommit=True) as conn:
        _check(conn, wanted)
        room = read_room(conn) if wanted.ask_disk else None
        slots = read_slots(conn)
        judged = [_watched(conn, one, slots) for one in judge(slots, wanted, room)]
        return Guarded(tuple(_dropped(conn, one) if confirmed else one for one in judged), room)


def watch(dsn: str, wanted: Limits, *, confirmed: bool) -> Iterator[Guarded]:
    """One pass after the other, for ever; what a pass finds as the one before it did is not told again."""
    before: tuple[tuple[str, Verdict, bool], ...] | None = None
    while True:
        found = guard(dsn, wanted, confirmed=confirmed)
        now = tuple((one.slot, one.verdict, one.dropped) for one in found.slots)
        if now != before:
            yield found
        before = now
        time.sleep(_PAUSE_S)  # the interval between two passes, not a wait for a state


def _check(conn: Connection, wanted: Limits) -> None:
    row = conn.execute(block(_FILE, "segment")).fetchone()
    least = _LEAST_SEGMENTS * int(row[0] if row else 0)
    if wanted.keep_bytes < least:
        raise UsageError(
            f"--keep {shown(wanted.keep_bytes)} is less than a slot keeps that follows well",
            hint=f"at least {shown(least)}; as much as the longest cut of the link that is to be survived",
        )


def read_slots(conn: Connection) -> tuple[Slot, ...]:
    """The slots by which this database is followed."""
    return tuple(Slot(*row) for row in conn.execute(block(_FILE, "slots")))


def read_room(conn: Connection) -> Room:
    """The disk that the server writes its log to. Raises MissingRightError: the server has to run a program for it."""
    try:
        with conn.transaction():
            conn.execute(block(_FILE, "room"))
            conn.execute(block(_FILE, "room_asked"))
            lines = [line for (line,) in conn.execute(block(_FILE, "room_told"))]
    except psycopg.errors.InsufficientPrivilege as error:
        raise MissingRightError(
            f"role {conn.info.user} may not ask the server for the room on its disk",
            hint="run it as an administrator, or leave out --disk-free",
        ) from error
    except psycopg.Error as error:
        raise AccountdbError(
            f"the server could not tell the room on its disk: {told(error).message}", hint="leave out --disk-free"
        ) from error
    return room_in(lines)


def room_in(lines: Sequence[str]) -> Room:
    """Out of what df -Pk prints. Pure."""
    for line in lines[1:]:
        match = re.search(r"\s(\d+)\s+(\d+)\s+(\d+)\s+\d+%\s", line)
        if match:
            return Room(int(match[1]) * 1024, int(match[3]) * 1024)
    raise AccountdbError("what df printed on the server cannot be read", hint="leave out --disk-free")


def _watched(conn: Connection, one: Judged, before: Sequence[Slot]) -> Judged:
    """Of a slot that is read from: whether it moves."""
    if one.verdict is not Verdict.WATCH:
        return one
    time.sleep(_HUNG_S)  # the time that it is watched for
    was = next(slot for slot in before if slot.name == one.slot)
    now = next((slot for slot in read_slots(conn) if slot.name == one.slot), None)
    if now is None or (now.restart, now.confirmed) != (was.restart, was.confirmed):
        return Judged(one.slot, Verdict.KEEP, one.kept_bytes, f"{one.why}, but it moves: its follower catches up")
    return Judged(one.slot, Verdict.DROP, one.kept_bytes, f"{one.why}, and has confirmed nothing for {_HUNG_S:.0f} s")


def _dropped(conn: Connection, one: Judged) -> Judged:
    if one.verdict is not Verdict.DROP:
        return one
    if one.why.startswith("active"):
        conn.execute(block("replication/common.sql", "end_sender"), {"slot": one.slot})
    try:
        common.end_slot(conn, one.slot, wait_s=5.0 if one.why.startswith("active") else 0.0)
    except AccountdbError:
        return Judged(one.slot, Verdict.KEEP, one.kept_bytes, "its follower has come back: nothing was done")
    return Judged(one.slot, Verdict.DROP, one.kept_bytes, one.why, dropped=True)
