"""Faults made for real, that doctor must find: the right cause, and a remedy that mends it when it is followed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accountdb.lab import Lab
from accountdb.pg.connect import connect
from accountdb.pg.dsn import with_params
from tests.acceptance.faults import follow, shell
from tests.conftest import eventually, migratectl, rows, run_sql, value

FAKETIME = next(Path(__file__).parents[2].glob(".venv/faketime/usr/lib/*/faketime/libfaketime.so.1"), None)
USERS = "public.users"

Check = dict[str, Any]


def doctor(lab: Lab, *arguments: str) -> tuple[int, list[Check]]:
    """The exit status and all findings."""
    done = migratectl("doctor", "--json", *arguments, env=lab.env())
    assert done.stdout, done.stderr
    passwords = [dsn.split(":")[2].split("@")[0] for dsn in lab.env().values()]
    assert not any(password in done.stdout + done.stderr for password in passwords)
    return done.returncode, json.loads(done.stdout)["findings"]


def found(lab: Lab, check: str, region: str | None, level: str = "fail") -> Check:
    """The first finding of this check in this region, at this level; doctor's exit status goes with it."""
    status, findings = doctor(lab)
    mine = [f for f in findings if (f["check"], f["region"], f["level"]) == (check, region, level)]
    assert mine, [f for f in findings if f["level"] in ("fail", "warn")]
    assert status == (1 if any(f["level"] == "fail" for f in findings) else 0)
    return mine[0]


def well(lab: Lab, *warnings: str) -> None:
    """Wait until no check fails, and none but ``warnings`` warns beside what a fresh lab has."""

    def passes() -> bool:
        status, findings = doctor(lab)
        wrong = [
            f
            for f in findings
            if f["level"] == "fail"
            or (f["level"] == "warn" and f["check"] not in ("max_slot_wal_keep_size", "healing", "conflict", *warnings))
        ]
        assert not wrong, [(f["check"], f["region"], f["found"], f["cause"]) for f in wrong]
        return status == 0

    eventually(passes, within_s=30, what="a doctor without a complaint")


@pytest.fixture
def healthy(ready_lab: Lab) -> Iterator[Lab]:
    """The shared lab, well again afterwards."""
    yield ready_lab
    well(ready_lab)


@pytest.mark.by_hand(ready_lab="pglogical")
def test_triggers_that_do_not_fire_as_they_should(healthy: Lab, tmp_path: Path) -> None:
    for statement in (
        "ALTER TABLE public.users DISABLE TRIGGER trg_users_bump_version",
        "ALTER TABLE public.identities ENABLE REPLICA TRIGGER trg_identities_set_updated_at",
        "ALTER TABLE public.subscriptions ENABLE ALWAYS TRIGGER trg_subscriptions_bump_version",
        "ALTER TABLE public.sessions ENABLE TRIGGER accountdb_guard",
    ):
        run_sql(healthy.region("cn").admin_dsn, statement)
    status, findings = doctor(healthy)
    assert status == 1
    off = {f["found"]: f for f in findings if (f["check"], f["region"], f["level"]) == ("trigger", "cn", "fail")}
    assert set(off) == {
        "trigger trg_users_bump_version on public.users: it is disabled",
        "trigger trg_identities_set_updated_at on public.identities: it is in mode R, not O",
        "trigger trg_subscriptions_bump_version on public.subscriptions: it is in mode A, not O",
    }
    # They are what they look like: an UPDATE does not do what the row contract says.
    tried = [f["found"] for f in findings if f["check"] == "version_rises" and f["level"] == "fail"]
    assert len(tried) == 2
    assert any("public.users: an UPDATE leaves version at" in text for text in tried)
    assert any("public.identities: an UPDATE does not move updated_at" in text for text in tried)
    guard = found(healthy, "guard", "cn")
    assert guard["found"] == "guard on public.sessions is disabled"
    assert guard["cause"] == "accountdb_guard is in mode O, not R"
    for finding in (*off.values(), guard):
        follow(healthy, finding["remedy"], tmp_path)


@pytest.mark.by_hand(ready_lab="native")
def test_a_unique_index_on_one_side(healthy: Lab, tmp_path: Path) -> None:
    run_sql(healthy.region("cn").admin_dsn, "CREATE UNIQUE INDEX users_mfa ON public.users (mfa_totp_secret)")
    drift = found(healthy, "structure", None)
    assert "users_mfa is in cn, not in global" in drift["found"]
    assert "cn differs from accountdb's schema" in drift["cause"]
    assert found(healthy, "guard", "cn")["found"] == "guard on public.users is outdated"
    follow(healthy, drift["remedy"], tmp_path)


@pytest.mark.by_hand(ready_lab="native")
def test_a_column_on_one_side(healthy: Lab, tmp_path: Path) -> None:
    """What one region has alone is made in the other: the hint loses nothing."""
    run_sql(healthy.region("global").admin_dsn, "ALTER TABLE public.sessions ADD COLUMN device text DEFAULT 'a'")
    drift = found(healthy, "structure", None)
    assert "column public.sessions.device is in global, not in cn" in drift["found"]
    follow(healthy, drift["remedy"], tmp_path)
    well(healthy)
    assert value(healthy.region("cn").admin_dsn, "SELECT count(device) FROM sessions") >= 0
    for region in healthy.regions:
        run_sql(region.admin_dsn, "ALTER TABLE public.sessions DROP COLUMN device")
        assert migratectl("init", "--dsn", region.admin_dsn, "--mode", healthy.mode).returncode == 0


@pytest.mark.pglogical
def test_public_may_use_pglogical_again(ready_labs: Any, tmp_path: Path) -> None:
    lab: Lab = ready_labs.of("pglogical")
    admin = lab.region("global").admin_dsn
    run_sql(admin, "GRANT USAGE ON SCHEMA pglogical TO PUBLIC")
    run_sql(admin, "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pglogical TO PUBLIC")
    finding = found(lab, "public_rights", "global")
    assert finding["found"] == "PUBLIC has USAGE on schema pglogical"
    assert "password" in finding["cause"]
    follow(lab, finding["remedy"], tmp_path)
    well(lab)


def test_the_quota_of_the_log_is_reached(healthy: Lab, tmp_path: Path) -> None:
    """Said before the slot is lost, with the bytes; resumed in time, nothing is lost."""
    admin = healthy.region("cn").admin_dsn
    assert migratectl("region", "pause", "--dsn", healthy.region("global").admin_dsn).returncode == 0
    set_parameter(admin, "max_slot_wal_keep_size", "'1MB'")
    try:

        def unreserved() -> bool:
            run_sql(admin, "SELECT pg_logical_emit_message(false, 'fill', repeat('x', 1000000)), pg_switch_wal()")
            status: str = value(admin, "SELECT wal_status FROM pg_replication_slots WHERE NOT active")
            return status == "unreserved"

        eventually(unreserved, within_s=60, what="a slot over its quota")
        finding = found(healthy, "slot", "cn")
        assert "MB of log, more than max_slot_wal_keep_size = 1MB allows, nobody reads it" in finding["found"]
        assert "lost at the next checkpoint" in finding["cause"]
        assert "region resume" in finding["remedy"]["commands"][-1]
        follow(healthy, finding["remedy"], tmp_path)

        def reserved() -> bool:
            # It says to the followers what they may give free; with the old quota the slot would be lost by it.
            run_sql(admin, "CHECKPOINT")
            return bool(rows(admin, "SELECT FROM pg_replication_slots WHERE active AND wal_status = 'reserved'"))

        eventually(reserved, what="a slot within its quota")
    finally:
        run_sql(admin, "ALTER SYSTEM RESET max_slot_wal_keep_size")
        run_sql(admin, "SELECT pg_reload_conf()")
        migratectl("region", "resume", "--dsn", healthy.region("global").admin_dsn)


def set_parameter(dsn: str, name: str, setting: str) -> None:
    """In force when this returns."""
    run_sql(dsn, f"ALTER SYSTEM SET {name} = {setting}")
    before = value(dsn, "SELECT pg_conf_load_time()")
    run_sql(dsn, "SELECT pg_reload_conf()")
    eventually(lambda: value(dsn, "SELECT pg_conf_load_time()") > before, what="a reload")


@pytest.mark.by_hand(ready_lab="pglogical")
def test_a_clock_that_is_five_minutes_off(healthy: Lab) -> None:
    if FAKETIME is None:
        pytest.skip("SKIPPED: libfaketime is not here; sh scripts/faketime.sh brings it")
    library = healthy.region("cn").data_dir.parent / FAKETIME.name
    shutil.copy(FAKETIME, library)
    library.chmod(0o755)
    preload = {"LD_PRELOAD": str(library), "FAKETIME": "+300", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    healthy.stop("cn")
    try:
        healthy.start_with("cn", preload)
        finding = found(healthy, "clock", None)
        assert "cn is 300." in finding["found"] or "cn is 299." in finding["found"], finding
        assert "ahead of global, give or take" in finding["found"]
        assert "the host of cn" in finding["remedy"]["says"]
    finally:
        # What the hint says, as far as it goes here: the clock is right again.
        healthy.stop("cn")
        healthy.start("cn")
        # A worker of pglogical that failed to connect meanwhile would wait up to 3 minutes.
        for region in healthy.regions:
            migratectl("region", "resume", "--dsn", region.admin_dsn)
    passed = [f for f in doctor(healthy)[1] if f["check"] == "clock"]
    assert [f["level"] for f in passed] == ["pass"]


@pytest.mark.pglogical
def test_the_resolver_of_the_running_worker(ready_labs: Any, tmp_path: Path) -> None:
    """Doctor says what the running worker has, not what the next one would have."""
    lab: Lab = ready_labs.of("pglogical")
    admin = lab.region("cn").admin_dsn
    name, check = "pglogical.conflict_resolution", "conflict_resolution"
    well(lab)
    set_parameter(admin, name, "'last_update_wins'")
    try:
        finding = found(lab, check, "cn")
        assert f"{name} is last_update_wins" in finding["found"]
        assert "began before that" in finding["found"]
        bounce(lab, tmp_path)
        finding = found(lab, check, "cn")
        assert "the running worker of sub_from_global has it" in finding["found"]
        # Set right again, and the worker is the old one: the log proves it.
        set_parameter(admin, name, "'apply_remote'")
        stale = found(lab, check, "cn")
        assert "does not have the setting of now" in stale["found"]
        follow(lab, stale["remedy"], tmp_path)
        well(lab)
        # For the database: known by the transaction that set it.
        run_sql(admin, f"ALTER DATABASE account SET {name} = 'keep_local'")
        finding = found(lab, check, "cn")
        assert f"{name} is keep_local" in finding["found"]
        assert "began before that" in finding["found"]
        follow(lab, finding["remedy"], tmp_path)
    finally:
        run_sql(admin, f"ALTER SYSTEM RESET {name}")
        run_sql(admin, f"ALTER DATABASE account RESET {name}")
        run_sql(admin, "SELECT pg_reload_conf()")
    bounce(lab, tmp_path)
    well(lab)


def bounce(lab: Lab, folder: Path) -> None:
    """A new worker on CN."""
    done = shell(lab, 'migratectl region resume --dsn "$CN_DSN"', folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.pglogical
def test_a_role_that_only_watches(ready_labs: Any) -> None:
    """Without a right on schema pglogical it sees the streams, and is told what it does not see."""
    lab: Lab = ready_labs.of("pglogical")
    watching = {}
    for region in lab.regions:
        run_sql(
            region.admin_dsn,
            "CREATE ROLE watcher LOGIN PASSWORD 'only-looks' IN ROLE pg_monitor;"
            " GRANT EXECUTE ON FUNCTION accountdb.subscription_states() TO watcher",
        )
        watching[region.name] = with_params(region.admin_dsn, user="watcher", password="only-looks")
    try:
        arguments = ("--cn", watching["cn"], "--global", watching["global"])
        status = migratectl("status", *arguments)
        assert "sub_from_global: replicating" in status.stdout, status.stdout + status.stderr
        done = migratectl("doctor", "--json", *arguments)
        findings = json.loads(done.stdout)["findings"]
        assert [f["level"] for f in findings if f["check"] == "stream"] == ["pass", "pass"]
        unseen = {f["check"] for f in findings if f["found"] == "not looked at"}
        assert {"replicated", "generated_column", "conflict_resolution", "version_rises", "schema"} <= unseen
        passed = {f["check"] for f in findings if f["level"] == "pass"}
        assert not passed & {"replicated", "generated_column", "conflict_resolution", "version_rises", "schema"}
    finally:
        for region in lab.regions:
            run_sql(region.admin_dsn, "DROP OWNED BY watcher; DROP ROLE watcher")


@pytest.mark.pglogical
def test_a_generated_column_that_the_set_leaves_out(plain_labs: Any, tmp_path: Path) -> None:
    """Found before anybody follows: with a follower the server would crash, again and again."""
    lab: Lab = plain_labs.of("pglogical")
    cn = lab.region("cn")
    # Nothing stands in the way of a join, and doctor says how to join.
    status, findings = doctor(lab, "--mode", "pglogical")
    assert status == 0, [f for f in findings if f["level"] == "fail"]
    (ready,) = [f for f in findings if (f["check"], f["region"]) == ("stream", "cn")]
    assert ready["found"] == "not joined yet"
    try:
        follow(lab, ready["remedy"], tmp_path)
        with connect(cn.admin_dsn) as conn:
            conn.execute("SELECT pglogical.replication_set_remove_table('rep_all', 'public.users')")
            conn.execute(
                "SELECT pglogical.replication_set_add_table('rep_all', 'public.users', false, columns :="
                " (SELECT array_agg(attname::text) FROM pg_attribute WHERE attrelid = 'public.users'::regclass"
                " AND attnum > 0 AND NOT attisdropped AND attgenerated = ''))"
            )
        finding = found(lab, "generated_column", "cn")
        assert "leaves out the generated column email_verified of public.users" in finding["found"]
        assert "crashes the whole server" in finding["cause"]
        follow(lab, finding["remedy"], tmp_path)
        levels = [f["level"] for f in doctor(lab)[1] if (f["check"], f["region"]) == ("generated_column", "cn")]
        assert levels == ["pass"]
    finally:
        assert migratectl("region", "leave", "--dsn", cn.admin_dsn).returncode == 0


def test_what_status_finds_doctor_finds_too(healthy: Lab, tmp_path: Path) -> None:
    """Streams and regions that are down fail doctor as well, with the remedy of status."""
    cn, other = healthy.region("cn"), healthy.region("global")
    assert migratectl("region", "pause", "--dsn", cn.admin_dsn).returncode == 0
    paused = found(healthy, "stream", "cn")
    assert "sub_from_global is disabled" in paused["found"]
    run_sql(other.admin_dsn, "DROP TRIGGER accountdb_guard ON public.users")
    guard = found(healthy, "guard", "global")
    assert "guard on public.users is missing" in guard["found"]
    set_parameter(cn.admin_dsn, "default_transaction_read_only", "on")
    read_only = found(healthy, "read_only", "cn")
    for finding in (read_only, guard, paused):
        follow(healthy, finding["remedy"], tmp_path)
    well(healthy)
    healthy.stop("global")
    try:
        status, findings = doctor(healthy)
        assert status == 1
        down = [f for f in findings if f["check"] == "region" and f["level"] == "fail"]
        assert [f["region"] for f in down] == ["global"]
        assert "Connection refused" in down[0]["found"]
        # The other one is still checked.
        assert [f["level"] for f in findings if (f["check"], f["region"]) == ("version_rises", "cn")] == ["pass"]
    finally:
        healthy.start("global")
        for region in healthy.regions:
            migratectl("region", "resume", "--dsn", region.admin_dsn)


@pytest.mark.by_hand(ready_lab="pglogical")
def test_it_leaves_nothing_and_sends_nothing(healthy: Lab) -> None:
    """The trial of an UPDATE is rolled back, on a full table and on empty ones."""
    cn, other = healthy.region("cn").admin_dsn, healthy.region("global").admin_dsn
    run_sql(cn, "INSERT INTO users (username, password) VALUES ('doctor-1', 'x')")
    eventually(lambda: rows(other, "SELECT 1 FROM users WHERE username = 'doctor-1'"), what="the row on the other side")
    everything = "SELECT md5(string_agg(u::text, ',' ORDER BY uuid)), count(*) FROM users AS u"
    before = rows(cn, everything), rows(other, everything)
    sequences = "SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2"
    counted = rows(cn, sequences)
    conflicts = (
        rows(cn, "SELECT count(*) FROM accountdb.conflict"),
        rows(other, "SELECT count(*) FROM accountdb.conflict"),
    )
    _, findings = doctor(healthy)
    tried = [f for f in findings if f["check"] == "version_rises"]
    assert [f["level"] for f in tried] == ["pass", "pass"]
    assert all(table in tried[0]["found"] for table in ("users", "identities", "sessions", "subscriptions"))
    assert (rows(cn, everything), rows(other, everything)) == before
    assert rows(cn, sequences) == counted
    assert conflicts == (
        rows(cn, "SELECT count(*) FROM accountdb.conflict"),
        rows(other, "SELECT count(*) FROM accountdb.conflict"),
    )
    run_sql(cn, "DELETE FROM users WHERE username = 'doctor-1'")
    eventually(lambda: not rows(other, "SELECT 1 FROM users WHERE username = 'doctor-1'"), what="its end there too")
