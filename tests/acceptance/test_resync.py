"""``region resync``: a lost slot, a dropped slot, while users write; killed, and run again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from accountdb.lab import Lab
from accountdb.lab.lab import LabRegion
from accountdb.pg.connect import connect
from accountdb.replication.native import Native
from accountdb.replication.pglogical import Pglogical
from accountdb.setup import resync as resyncing
from tests.acceptance.joining import OTHER, exchange, healthy, join
from tests.conftest import eventually, migratectl, rows, run_sql, value

MISSED = "INSERT INTO users (username, password, email) VALUES (%s, 'x', %s)"


@contextmanager
def users_write(lab: Lab) -> Iterator[list[str]]:
    """New users in both regions until the end; yields the names of those that were acknowledged."""
    stop, written = threading.Event(), list[str]()

    def write(region: LabRegion) -> None:
        with connect(region.app_dsn, autocommit=True) as conn:
            number = 0
            while not stop.wait(0.01):
                number += 1
                name = f"{region.name}-{id(stop)}-{number}"
                conn.execute("INSERT INTO users (username, password) VALUES (%s, 'x')", (name,))
                written.append(name)

    writers = [threading.Thread(target=write, args=(region,)) for region in lab.regions]
    for writer in writers:
        writer.start()
    try:
        yield written
    finally:
        stop.set()
        for writer in writers:
            writer.join()


def lose_the_slot(region: LabRegion) -> None:
    """Write so much log, while the follower is away, that its slot is lost."""
    run_sql(region.admin_dsn, "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    run_sql(region.admin_dsn, "SELECT pg_reload_conf()")

    def lost() -> bool:
        run_sql(region.admin_dsn, "SELECT pg_logical_emit_message(true, 'test', 'a log to switch')")
        run_sql(region.admin_dsn, "SELECT pg_switch_wal()")
        run_sql(region.admin_dsn, "CHECKPOINT")
        return bool(value(region.admin_dsn, "SELECT wal_status FROM pg_replication_slots") == "lost")

    try:
        eventually(lost, what="a lost slot")
    finally:
        run_sql(region.admin_dsn, "ALTER SYSTEM RESET max_slot_wal_keep_size")
        run_sql(region.admin_dsn, "SELECT pg_reload_conf()")


def away(lab: Lab) -> None:
    """Wait until both sides know that the link is cut."""
    for region in lab.regions:
        eventually(
            lambda dsn=region.admin_dsn: value(dsn, "SELECT NOT bool_or(active) FROM pg_replication_slots")  # type: ignore[misc]
        )


def everybody_is_everywhere(lab: Lab, names: list[str]) -> None:
    equal = migratectl("diff", env=lab.env())
    assert equal.returncode == 0, equal.stdout + equal.stderr
    for region in lab.regions:
        there = {name for (name,) in rows(region.admin_dsn, "SELECT username FROM users")}
        assert set(names) <= there


def test_a_lost_slot_and_what_was_missed_under_the_hands_of_users(joined: Lab) -> None:
    joined.cut()
    away(joined)
    run_sql(joined.region("global").app_dsn, MISSED, "missed", "missed@example.com")
    run_sql(joined.region("cn").app_dsn, MISSED, "late", "MISSED@example.com")
    lose_the_slot(joined.region("global"))
    joined.heal()
    with users_write(joined) as written:
        done = migratectl("region", "resync", env=joined.env())
    assert done.returncode in (0, 1), done.stderr
    assert "sub_from_global made anew" in done.stderr
    assert "sub_from_cn" not in done.stderr, "the other way had lost nothing"
    assert "sub_from_global is replicating" in done.stderr
    migratectl("region", "resume", "--dsn", joined.region("global").admin_dsn)
    eventually(lambda: healthy(joined))
    healed = migratectl("merge", "--recent", env=joined.env())
    assert healed.returncode == 0, healed.stderr
    everybody_is_everywhere(joined, [*written, "missed", "late"])
    exchange(joined)
    again = migratectl("region", "resync", env=joined.env())
    assert again.returncode == 0
    assert "each subscription has its slot" in again.stderr


def test_a_dropped_slot_by_one_region_alone(joined: Lab) -> None:
    """As an administrator, who reads the connection string back."""
    there = joined.region("global").admin_dsn
    joined.cut()
    away(joined)
    run_sql(there, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    run_sql(joined.region("global").app_dsn, MISSED, "missed", None)
    joined.heal()
    done = migratectl("region", "resync", "--dsn", joined.region("cn").admin_dsn)
    assert done.returncode == 0, done.stderr
    assert "equal after" in done.stderr
    everybody_is_everywhere(joined, ["missed"])
    migratectl("region", "resume", "--dsn", there)
    exchange(joined)


@pytest.mark.parametrize("plain_lab", ["native"], indirect=True)
def test_an_ordinary_role_names_the_provider(apart: Lab) -> None:
    for region in apart.regions:
        role = psycopg.conninfo.conninfo_to_dict(region.app_dsn)["user"]
        run_sql(region.admin_dsn, f"ALTER ROLE {role} REPLICATION")
        run_sql(region.admin_dsn, f"GRANT pg_create_subscription TO {role}")
    for name in ("cn", "global"):
        region, other = apart.region(name), apart.region(OTHER[name])
        done = join(apart, name, **{"dsn": region.app_dsn, "node-dsn": region.app_dsn, "provider-dsn": other.app_dsn})
        assert done.returncode == 0, done.stderr
    eventually(lambda: healthy(apart))
    cn, other = apart.region("cn"), apart.region("global")
    assert migratectl("region", "pause", "--dsn", cn.admin_dsn).returncode == 0
    drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active"
    eventually(lambda: rows(other.admin_dsn, drop))
    run_sql(other.app_dsn, MISSED, "missed", None)
    alone = migratectl("region", "resync", "--dsn", cn.app_dsn)
    assert alone.returncode == 2
    assert "may not read how sub_from_global reaches its provider" in alone.stderr
    done = migratectl("region", "resync", "--dsn", cn.app_dsn, env={"PROVIDER_DSN": other.app_dsn})
    assert done.returncode == 0, done.stderr
    everybody_is_everywhere(apart, ["missed"])
    assert value(cn.admin_dsn, "SELECT pg_get_userbyid(subowner) FROM pg_subscription") == "account"
    # An administrator who does the same takes the subscription from nobody.
    again = migratectl("region", "resync", "--region", "cn", env=apart.env())
    assert again.returncode == 0, again.stderr
    assert value(cn.admin_dsn, "SELECT pg_get_userbyid(subowner) FROM pg_subscription") == "account"
    exchange(apart)


class Killed(BaseException):
    """The process dies here."""


def test_killed_in_the_middle_and_run_again(joined: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    if joined.mode == "native":
        for moment in ("_create", "merge_regions"):
            _killed(joined, monkeypatch, moment, "accountdb.replication.native", Native)
        return
    for moment in ("_settings", "await_stream"):
        _killed(joined, monkeypatch, moment, "accountdb.replication.pglogical", Pglogical)


def _killed(lab: Lab, monkeypatch: pytest.MonkeyPatch, moment: str, module: str, engine: type) -> None:
    regions = {str(region.name): region.admin_dsn for region in lab.regions}

    def die(*args: object, **kwargs: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        if hasattr(resyncing, moment):
            patched.setattr(resyncing, moment, die)
        elif hasattr(engine, moment):
            patched.setattr(engine, moment, die)
        else:
            patched.setattr(f"{module}.{moment}", die)
        with pytest.raises(Killed):
            resyncing.resync_regions(regions, "cn", _Silent())
    run_sql(lab.region("global").app_dsn, MISSED, f"during-{moment}", None)
    done = migratectl("region", "resync", "--region", "cn", env=lab.env())
    assert done.returncode == 0, done.stderr
    everybody_is_everywhere(lab, [f"during-{moment}"])
    exchange(lab)


class _Silent:
    """A watch that nobody looks at."""

    def stage(self, what: str, total: int | None = None) -> None: ...

    def advance(self, rows: int) -> None: ...

    def clear(self) -> None: ...
