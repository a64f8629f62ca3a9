"""Faults of streams, made for real: status names each by its cause, and its hint works when it is typed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from accountdb.lab import Lab
from accountdb.pg.dsn import with_params
from accountdb.setup import join
from tests.acceptance import joining
from tests.acceptance.faults import Problem, cause, fine, follow, problem, status, streams
from tests.conftest import Labs, eventually, migratectl, rows, run_sql, value

# What a fault may leave of its own.
SUBSCRIPTIONS = {"sub_from_global": ("cn", "global"), "sub_from_cn": ("global", "cn")}


def register(lab: Lab, region: str) -> str:
    """A new account, written in one region by an ordinary role."""
    name = uuid4().hex
    run_sql(lab.region(region).app_dsn, "INSERT INTO users (username, password) VALUES (%s, 'x')", name)
    return name


def arrived(lab: Lab, region: str, name: str) -> bool:
    return bool(rows(lab.region(region).admin_dsn, "SELECT FROM users WHERE username = %s", name))


@pytest.fixture
def lab(ready_lab: Lab) -> Iterator[Lab]:
    """The shared lab; it must be fine before, and is put back as far as a failed test allows."""
    for region in ready_lab.regions:
        join.resume(region.admin_dsn)
    fine(ready_lab)
    yield ready_lab
    ready_lab.heal()
    for region in ready_lab.regions:
        with suppress(psycopg.Error):
            run_sql(region.admin_dsn, "SET default_transaction_read_only = off; SELECT pg_reload_conf()")


def test_a_cut_link(lab: Lab, tmp_path: Path) -> None:
    lab.cut()
    told = {name: cause(lab, name, "link") for name in SUBSCRIPTIONS}
    missed = register(lab, "global")
    lab.heal()
    for name, (receiver, provider) in SUBSCRIPTIONS.items():
        assert f"mend the network between {receiver} and {provider}" in told[name]["remedy"]["says"]
        follow(lab, told[name]["remedy"], tmp_path)
    assert streams(status(lab))["sub_from_global"]["state"] == "replicating"
    fine(lab, also=lambda: arrived(lab, "cn", missed))


def test_a_password_that_was_changed(lab: Lab, tmp_path: Path) -> None:
    there, here = lab.region("global"), lab.region("cn").admin_dsn
    new = with_params(there.admin_dsn, password="another one's %'\\")
    stored = value(here, _CONNECTION[lab.mode])
    rotate(there.admin_dsn, new)
    try:
        run_sql(new, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
        told = cause(lab, "sub_from_global", "password", GLOBAL_DSN=new)
        printed = follow(lab, told["remedy"], tmp_path, GLOBAL_DSN=new)
        assert "another one" not in told["reason"] + "".join(printed)
        name = register(lab, "cn")
        eventually(lambda: rows(new, "SELECT FROM users WHERE username = %s", name))
        assert streams(status(lab, GLOBAL_DSN=new))["sub_from_global"]["state"] == "replicating"
        # The server's own way to its peer, which is not the operator's, is kept.
        assert str(there.link_port) in value(here, _CONNECTION[lab.mode])
    finally:
        rotate(new, there.admin_dsn)
        follow(lab, {"commands": [PASSWORD]}, tmp_path)
    fine(lab)
    assert psycopg.conninfo.conninfo_to_dict(value(here, _CONNECTION[lab.mode])) == psycopg.conninfo.conninfo_to_dict(
        stored
    )


PASSWORD = 'migratectl region password --dsn "$CN_DSN" --provider-dsn "$GLOBAL_DSN"'
_CONNECTION = {
    "native": "SELECT subconninfo FROM pg_subscription",
    "pglogical": "SELECT i.if_dsn FROM pglogical.subscription AS s"
    " JOIN pglogical.node_interface AS i ON i.if_id = s.sub_origin_if",
}


def rotate(old: str, new: str) -> None:
    """Change the password of a role to what ``new`` has."""
    password = psycopg.conninfo.conninfo_to_dict(new)["password"]
    with psycopg.connect(old, autocommit=True) as conn:
        conn.execute(psycopg.sql.SQL("ALTER ROLE postgres PASSWORD {}").format(psycopg.sql.Literal(password)))


@pytest.mark.parametrize("lost", [False, True], ids=["dropped", "lost"])
def test_a_slot_that_is_gone(lab: Lab, tmp_path: Path, lost: bool) -> None:
    there = lab.region("global").admin_dsn
    lab.cut()
    eventually(lambda: not value(there, "SELECT bool_or(active) FROM pg_replication_slots"), what="nobody listening")
    missed = register(lab, "global")
    if lost:
        lose_the_slot(there)
    else:
        run_sql(there, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    told = cause(lab, "sub_from_global", "slot_lost" if lost else "slot_missing")
    assert told["slot"] in told["reason"]
    lab.heal()
    follow(lab, told["remedy"], tmp_path)
    join.resume(there)
    fine(lab, also=lambda: arrived(lab, "cn", missed))


def lose_the_slot(dsn: str) -> None:
    """Write so much log, while the follower is away, that its slot is lost."""
    run_sql(dsn, "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    run_sql(dsn, "SELECT pg_reload_conf()")

    def lost() -> bool:
        run_sql(dsn, "SELECT pg_logical_emit_message(true, 'test', 'a log to switch')")
        run_sql(dsn, "SELECT pg_switch_wal()")
        run_sql(dsn, "CHECKPOINT")
        return bool(value(dsn, "SELECT wal_status FROM pg_replication_slots") == "lost")

    try:
        eventually(lost, what="a lost slot")
    finally:
        run_sql(dsn, "ALTER SYSTEM RESET max_slot_wal_keep_size")
        run_sql(dsn, "SELECT pg_reload_conf()")


def test_a_column_that_one_side_has_not(lab: Lab, tmp_path: Path) -> None:
    there = lab.region("global")
    run_sql(there.app_dsn, "ALTER TABLE users ADD COLUMN nickname text")
    try:
        run_sql(there.app_dsn, "INSERT INTO users (username, password, nickname) VALUES (%s, 'x', 'n')", uuid4().hex)
        told = cause(lab, "sub_from_global", "structure")
        assert "nickname" in told["reason"]
        follow(lab, told["remedy"], tmp_path)
        for name in ("cn", "global"):
            for guard in (p for p in _told(lab, name) if p["check"] == "guard"):
                follow(lab, guard["remedy"], tmp_path)
        fine(lab)
        assert value(lab.region("cn").app_dsn, "SELECT nickname FROM users WHERE nickname IS NOT NULL") == "n"
    finally:
        for region in lab.regions:
            run_sql(region.app_dsn, "ALTER TABLE users DROP COLUMN IF EXISTS nickname")
            migratectl("init", "--dsn", region.admin_dsn, "--mode", lab.mode)
    fine(lab)


def _told(lab: Lab, region: str) -> list[Problem]:
    (found,) = (one for one in status(lab)["regions"] if one["name"] == region)
    return list(found["problems"])


def test_a_guard_that_was_dropped(lab: Lab, tmp_path: Path) -> None:
    cn = lab.region("cn").app_dsn
    triggers = [
        n for (n,) in rows(cn, "SELECT tgname FROM pg_trigger WHERE tgrelid = 'users'::regclass AND tgenabled = 'R'")
    ]
    assert triggers
    for name in triggers:
        run_sql(cn, f'DROP TRIGGER "{name}" ON users')
    told = problem(lab, "guard", "cn")
    assert told["level"] == "fail"
    assert told["found"] == "guard on users is missing"
    follow(lab, told["remedy"], tmp_path)
    fine(lab)


def test_a_change_that_cannot_be_applied_where_a_guard_is_disabled(lab: Lab, tmp_path: Path) -> None:
    """Two registrations of one name, and nobody to settle them."""
    cn, name = lab.region("cn").app_dsn, uuid4().hex
    lab.cut()
    for region in ("cn", "global"):
        run_sql(lab.region(region).app_dsn, "INSERT INTO users (username, password) VALUES (%s, 'x')", name)
    run_sql(cn, "ALTER TABLE users DISABLE TRIGGER USER")
    lab.heal()
    for one in lab.regions:
        join.resume(one.admin_dsn)
    told = cause(lab, "sub_from_global", "guard")
    (unfit,) = (p for p in _told(lab, "cn") if p["check"] == "row_contract")
    assert "no BEFORE UPDATE trigger calls bump_version()" in unfit["found"]
    assert "users (disabled)" in told["reason"]
    run_sql(cn, "ALTER TABLE users ENABLE TRIGGER trg_users_set_updated_at")
    run_sql(cn, "ALTER TABLE users ENABLE TRIGGER trg_users_bump_version")
    follow(lab, told["remedy"], tmp_path)

    def settled() -> bool:
        return [value(r.admin_dsn, "SELECT count(*) FROM users WHERE username = %s", name) for r in lab.regions] == [
            1,
            1,
        ]

    eventually(settled, what="one of the two with the name, in both regions")
    for one in lab.regions:
        for key in unresolved(one.admin_dsn):
            migratectl("conflicts", "resolve", key, "--dismiss", env=lab.env())
    fine(lab)


def unresolved(dsn: str) -> list[str]:
    """The conflicts of a region that wait for somebody."""
    query = (
        "SELECT c.id::text FROM accountdb.conflict AS c WHERE c.state = 'open'"
        " AND NOT EXISTS (SELECT FROM accountdb.resolution AS r WHERE r.conflict_id = c.id)"
    )
    return [key for (key,) in rows(dsn, query)]


def test_a_subscription_that_is_disabled(lab: Lab, tmp_path: Path) -> None:
    statement = {
        "native": "ALTER SUBSCRIPTION sub_from_global DISABLE",
        "pglogical": "SELECT pglogical.alter_subscription_disable('sub_from_global', true)",
    }
    run_sql(lab.region("cn").admin_dsn, statement[lab.mode])
    told = cause(lab, "sub_from_global", "disabled")
    follow(lab, told["remedy"], tmp_path)
    fine(lab)


def test_a_provider_that_was_restarted(lab: Lab, tmp_path: Path) -> None:
    """It comes back by itself (with pglogical within minutes, or told to); until then nothing else is told."""
    lab.stop("global")
    cause(lab, "sub_from_global", "provider")
    lab.start("global")
    missed = register(lab, "global")
    if lab.mode == "pglogical":
        follow(lab, cause(lab, "sub_from_global", "restarted")["remedy"], tmp_path)
    seen = set()

    def back() -> bool:
        stream = streams(status(lab))["sub_from_global"]
        seen.add(stream["cause"])
        return bool(stream["state"] == "replicating")

    eventually(back, what="the stream back by itself")
    assert seen <= {"restarted", None}, seen
    fine(lab, also=lambda: arrived(lab, "cn", missed))


def test_a_target_that_is_read_only(lab: Lab, tmp_path: Path) -> None:
    cn = lab.region("cn").admin_dsn
    run_sql(cn, "ALTER SYSTEM SET default_transaction_read_only = on")
    run_sql(cn, "SELECT pg_reload_conf()")
    missed = register(lab, "global")
    told = problem(lab, "read_only", "cn")
    assert told["level"] == "fail"
    if lab.mode == "native":
        assert follow_cause(lab, "read_only", tmp_path)
    else:
        follow(lab, told["remedy"], tmp_path)
    fine(lab, also=lambda: arrived(lab, "cn", missed))


def follow_cause(lab: Lab, kind: str, folder: Path) -> list[str]:
    return follow(lab, cause(lab, "sub_from_global", kind)["remedy"], folder)


@contextmanager
def crowd(lab: Lab) -> Iterator[None]:
    """Another database of the CN server whose subscription takes the only worker that is allowed."""
    cn, there = lab.region("cn").admin_dsn, lab.region("global").admin_dsn
    for dsn in (cn, there):
        run_sql(dsn, "CREATE DATABASE crowd")
    other_cn, other_there = with_params(cn, dbname="crowd"), with_params(there, dbname="crowd")
    run_sql(other_there, "CREATE PUBLICATION everything")
    link = with_params(lab.region("global").link_dsn, dbname="crowd")
    run_sql(cn, "ALTER SUBSCRIPTION sub_from_global DISABLE")
    with psycopg.connect(other_cn, autocommit=True) as conn:
        conn.execute(
            psycopg.sql.SQL("CREATE SUBSCRIPTION crowd CONNECTION {} PUBLICATION everything").format(
                psycopg.sql.Literal(link)
            )
        )
    eventually(lambda: value(cn, "SELECT count(*) FROM pg_stat_subscription WHERE subname = 'crowd' AND pid > 0"))
    try:
        yield
    finally:
        run_sql(other_cn, "DROP SUBSCRIPTION crowd")
        for dsn in (cn, there):
            run_sql(dsn, "DROP DATABASE crowd WITH (FORCE)")


def test_no_worker_is_left(lab: Lab, tmp_path: Path) -> None:
    """Native: another subscription has the only one. pglogical: its own helpers have taken all."""
    cn = lab.region("cn").admin_dsn
    native = lab.mode == "native"
    run_sql(cn, f"ALTER SYSTEM SET {'max_logical_replication_workers = 1' if native else 'max_worker_processes = 3'}")
    restart(lab, "cn")
    try:
        with crowd(lab) if native else nullcontext():
            if native:
                run_sql(cn, "ALTER SUBSCRIPTION sub_from_global ENABLE")
            told = cause(lab, "sub_from_global", "workers")
            assert "restart the server of cn" in told["remedy"]["says"]
            follow(lab, told["remedy"], tmp_path)
            restart(lab, "cn")
            fine(lab)
    finally:
        run_sql(cn, "ALTER SYSTEM RESET max_logical_replication_workers")
        run_sql(cn, "ALTER SYSTEM RESET max_worker_processes")
        restart(lab, "cn")
    fine(lab)


def restart(lab: Lab, region: str) -> None:
    """A server restarted, and who follows it told to try at once."""
    lab.stop(region)
    lab.start(region)
    join.resume(lab.region(joining.OTHER[region]).admin_dsn)


@pytest.mark.pglogical
def test_pglogical_was_dropped(ready_labs: Labs, tmp_path: Path) -> None:
    lab = ready_labs.of("pglogical")
    fine(lab)
    run_sql(lab.region("cn").admin_dsn, "DROP EXTENSION pglogical CASCADE")
    missed = [register(lab, "global"), register(lab, "cn")]
    told = problem(lab, "extension", "cn")
    assert told["found"] == "extension pglogical is missing, and with it all streams"
    other = cause(lab, "sub_from_cn", "extension")
    assert other["reason"] == "cn has lost its extension pglogical"
    follow(lab, told["remedy"], tmp_path)
    fine(lab, also=lambda: all(arrived(lab, there, name) for there in ("cn", "global") for name in missed))
    # The servers of the lab reach each other through the link.
    assert joining.join(lab, "cn").returncode == 0
    fine(lab)


def test_three_open_conflicts(lab: Lab, tmp_path: Path) -> None:
    cn = lab.region("cn").admin_dsn
    for number in range(3):
        run_sql(
            cn,
            "SELECT accountdb.record_conflict('unknown', 'public', 'users', gen_random_uuid(), 'parked', NULL, %s,"
            " 'open', 'a fault')",
            f'{{"username": "n{number}"}}',
        )
    told = problem(lab, "conflicts", "cn")
    assert (told["level"], told["found"]) == ("warn", "3 open conflicts")
    assert status(lab)["healthy"]
    (listed,) = follow(lab, told["remedy"], tmp_path)
    ids = unresolved(cn)
    assert len(ids) == 3
    assert all(one[:8] in listed for one in ids), listed
    for one in ids:
        done = migratectl("conflicts", "resolve", one, "--dismiss", env=lab.env())
        assert done.returncode == 0, done.stderr
    fine(lab)


def test_the_first_look_is_quick_when_a_region_is_silent(lab: Lab) -> None:
    lab.pause("global")
    try:
        began = time.monotonic()
        found = joining.healthy(lab)
        assert time.monotonic() - began < 2
        assert not found
    finally:
        lab.resume("global")
    fine(lab)
