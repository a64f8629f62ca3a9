"""``region slot-guard`` on a real server: a follower that is away, one that hangs, one that only catches up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from accountdb.errors import AccountdbError, UsageError
from accountdb.lab import Lab
from accountdb.pg.connect import Connection
from accountdb.pg.dsn import with_params
from accountdb.setup import slotguard
from accountdb.setup.slotguard import Limits, Room, Slot, Verdict
from tests.conftest import as_role, eventually, migratectl, rows, run_sql, value

MB = 1024**2
KEEP = "33MB"


@pytest.fixture
def followed(migrated: str) -> Iterator[str]:
    """A database with a publication and a slot, from which nobody reads, that keeps 40 MB."""
    name = slot_of(migrated)
    run_sql(migrated, "CREATE PUBLICATION rep_all")
    run_sql(migrated, "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", name)
    write_log(migrated, 40)
    yield migrated
    run_sql(migrated, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", name)
    eventually(lambda: not rows(migrated, "SELECT FROM pg_replication_slots WHERE slot_name = %s AND active", name))
    run_sql(migrated, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s", name)


def slot_of(dsn: str) -> str:
    return f"node_away_{psycopg.conninfo.conninfo_to_dict(dsn)['dbname']}"


def write_log(dsn: str, megabytes: int) -> None:
    run_sql(
        dsn, "SELECT pg_logical_emit_message(true, 'x', repeat('x', 1048576)) FROM generate_series(1, %s)", megabytes
    )


def slots(dsn: str) -> list[str]:
    return [
        name for (name,) in rows(dsn, "SELECT slot_name FROM pg_replication_slots WHERE slot_name = %s", slot_of(dsn))
    ]


def test_a_follower_that_is_away(followed: str) -> None:
    roomy = migratectl("region", "slot-guard", "--dsn", followed, "--keep", "1GB")
    assert roomy.returncode == 0
    assert f"slot {slot_of(followed)}: kept: keeps 40" in roomy.stdout
    told = migratectl("region", "slot-guard", "--dsn", followed, "--keep", KEEP)
    assert told.returncode == 1
    assert f"slot {slot_of(followed)}: would be dropped: inactive for" in told.stdout
    assert "--yes does it; the follower then needs migratectl region resync" in told.stderr
    assert slots(followed) == [slot_of(followed)]
    free = migratectl("region", "slot-guard", "--dsn", followed, "--keep", KEEP, "--disk-free", "1kB", "--yes")
    assert free.returncode == 0, free.stderr
    assert "of the disk are free" in free.stdout
    assert slots(followed) == [slot_of(followed)]
    done = migratectl(
        "region", "slot-guard", "--dsn", followed, "--keep", KEEP, "--disk-free", "99.9%", "--yes", "--json"
    )
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert document["acted"]
    assert document["room"]["free_bytes"] < document["room"]["total_bytes"]
    assert [(one["slot"], one["dropped"]) for one in document["slots"]] == [(slot_of(followed), True)]
    assert slots(followed) == []
    again = migratectl("region", "slot-guard", "--dsn", followed, "--keep", KEEP, "--yes")
    assert again.returncode == 0
    assert "nobody follows" in again.stderr


@contextmanager
def reader(dsn: str) -> Iterator[None]:
    """A follower that is connected and never says a word."""
    with psycopg.connect(with_params(dsn, replication="database"), autocommit=True) as conn:
        start = f"START_REPLICATION SLOT {slot_of(dsn)} LOGICAL 0/0 (proto_version '1', publication_names 'rep_all')"
        conn.pgconn.send_query(start.encode())
        active = "SELECT FROM pg_replication_slots WHERE slot_name = %s AND active"
        eventually(lambda: rows(dsn, active, slot_of(dsn)))
        yield
        conn.pgconn.finish()


def test_a_follower_that_hangs_goes_only_when_that_is_asked_for(followed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slotguard, "_HUNG_S", 0.3)
    with reader(followed):
        kept = migratectl("region", "slot-guard", "--dsn", followed, "--keep", KEEP, "--yes")
        assert kept.returncode == 0
        assert "but its follower is connected (--active)" in kept.stdout
        wanted = Limits(33 * MB, active=True)
        (seen,) = slotguard.guard(followed, wanted, confirmed=False).slots
        assert (seen.verdict, seen.dropped) == (Verdict.DROP, False)
        assert "has confirmed nothing" in seen.why
        (gone,) = slotguard.guard(followed, wanted, confirmed=True).slots
        assert gone.dropped
        assert slots(followed) == []


def test_one_that_catches_up_is_left_alone(followed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It moves while it is watched."""
    name = slot_of(followed)

    read, seen_before = slotguard.read_slots, list[tuple[Slot, ...]]()

    def moving(conn: Connection) -> tuple[Slot, ...]:
        if seen_before:
            move()
        seen_before.append(read(conn))
        return seen_before[-1]

    def move() -> None:
        run_sql(
            followed, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", name
        )
        eventually(lambda: value(followed, "SELECT NOT active FROM pg_replication_slots WHERE slot_name = %s", name))
        run_sql(followed, "SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", name)

    monkeypatch.setattr(slotguard, "_HUNG_S", 0)
    monkeypatch.setattr(slotguard, "read_slots", moving)
    with reader(followed):
        (seen,) = slotguard.guard(followed, Limits(33 * MB, active=True), confirmed=True).slots
    assert (seen.verdict, seen.dropped) == (Verdict.KEEP, False)
    assert "its follower catches up" in seen.why
    assert slots(followed) == [name]


def test_what_cannot_be_asked(followed: str, native_lab: Lab) -> None:
    small = migratectl("region", "slot-guard", "--dsn", followed, "--keep", "1MB", "--yes")
    assert small.returncode == 2
    assert "less than a slot keeps that follows well" in small.stderr
    ordinary = as_role(followed, native_lab.region("cn").app_dsn)
    told = migratectl("region", "slot-guard", "--dsn", ordinary, "--keep", KEEP, "--disk-free", "10%")
    assert told.returncode == 3
    assert "may not ask the server for the room" in told.stderr
    assert migratectl("region", "slot-guard", "--dsn", ordinary, "--keep", KEEP).returncode == 1
    refused = migratectl("region", "slot-guard", "--dsn", ordinary, "--keep", KEEP, "--yes")
    assert refused.returncode == 3
    assert slots(followed) == [slot_of(followed)]


@pytest.mark.parametrize(
    ("text", "found"), [("2GB", 2 * 1024 * MB), ("1.5 mb", int(1.5 * MB)), ("10b", 10), ("0kB", 0)]
)
def test_sizes(text: str, found: int) -> None:
    assert slotguard.size(text, "--keep") == found


@pytest.mark.parametrize("text", ["", "2.", "GB", "-1GB", "2 GiB", "1e3MB"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(UsageError):
        slotguard.size(text, "--keep")
    with pytest.raises(UsageError):
        slotguard.limits("1GB", f"{text}%", active=False)


def test_the_verdicts() -> None:
    away = Slot("away", None, lost=False, kept_bytes=100 * MB, restart="0/1", confirmed="0/2", away_s=5.0)
    lost = Slot("lost", None, lost=True, kept_bytes=0, restart=None, confirmed="0/2", away_s=5.0)
    busy = Slot("busy", 7, lost=False, kept_bytes=100 * MB, restart="0/1", confirmed="0/2", away_s=None)

    def verdicts(wanted: Limits, room: Room | None = None) -> list[Verdict]:
        return [one.verdict for one in slotguard.judge([away, lost, busy], wanted, room)]

    keep, drop, look = Verdict.KEEP, Verdict.DROP, Verdict.WATCH
    assert verdicts(Limits(99 * MB)) == [drop, keep, keep]
    assert verdicts(Limits(100 * MB)) == [keep, keep, keep]
    assert verdicts(Limits(99 * MB, active=True)) == [drop, keep, look]
    half = Room(1000, 500)
    assert verdicts(Limits(99 * MB, free_percent=50), half) == [keep, keep, keep]
    assert verdicts(Limits(99 * MB, free_percent=51), half) == [drop, keep, keep]
    assert verdicts(Limits(99 * MB, free_bytes=501), half) == [drop, keep, keep]


def test_what_df_prints() -> None:
    printed = [
        "Filesystem     1024-blocks      Used Available Capacity Mounted on",
        "/dev/mapper/a b 1   264207844 11234 252973610       5% /var/lib/postgresql data",
    ]
    assert slotguard.room_in(printed) == Room(264207844 * 1024, 252973610 * 1024)
    with pytest.raises(AccountdbError):
        slotguard.room_in(["df: pg_wal/: No such file or directory"])
