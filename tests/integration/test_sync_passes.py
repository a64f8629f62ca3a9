"""Passes of pgsync between two databases: what changed arrives, nothing else is touched, nothing is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest

from accountdb.compare.model import Unwatched
from accountdb.errors import Refused, UsageError
from accountdb.lab import Lab
from accountdb.pg.connect import connect
from accountdb.sync.capture import Capture
from accountdb.sync.limit import parse
from accountdb.sync.model import PassOptions
from accountdb.sync.passes import run_pass
from tests.conftest import Databases, value
from tests.integration.syncing import Follow, accounts, begin

ACCOUNTS = ("users", "identities", "sessions")


@pytest.fixture(scope="module")
def fresh(databases: Databases, native_lab: Lab) -> Follow:
    return accounts(databases, native_lab)


@pytest.fixture(params=Capture)
def synced(fresh: Follow, request: pytest.FixtureRequest) -> Follow:
    """Both sides hold ten users with a session each."""
    fresh.both(
        "SET accountdb.allow_truncate = on; TRUNCATE users CASCADE; DROP TABLE IF EXISTS accountdb.sync_watermark;"
        " DROP TABLE IF EXISTS accountdb.change_log, accountdb.change_reader, accountdb.change_capture"
    )
    for table in ACCOUNTS:
        fresh.both(f"DROP TRIGGER IF EXISTS accountdb_capture ON {table}")
        fresh.both(f"DROP TRIGGER IF EXISTS accountdb_capture_truncate ON {table}")
    made = fresh.of(*ACCOUNTS)
    if request.param is Capture.LOG:
        made = made.logged()
    register(made, *range(10))
    receipt = made.sync()
    assert receipt.full
    assert receipt.tables["public.users"].inserted == 10
    made.assert_equal()
    return made


def register(side: Follow, *numbers: int) -> None:
    side.here(
        "WITH u AS (INSERT INTO users (username, password, email) SELECT 'u' || n, 'x', n || '@x.cn'"
        " FROM unnest(%s::int[]) AS n RETURNING uuid, username)"
        " INSERT INTO sessions (token, user_uuid, expires_at) SELECT 't' || username, uuid, now() FROM u",
        list(numbers),
    )


def test_nothing_to_do_touches_nothing(synced: Follow) -> None:
    before = value(synced.target, "SELECT array_agg(xmin::text || ctid::text ORDER BY uuid) FROM users")
    receipt = synced.sync()
    assert not receipt.full
    assert [counts.written for counts in receipt.tables.values()] == [0, 0, 0]
    assert value(synced.target, "SELECT array_agg(xmin::text || ctid::text ORDER BY uuid) FROM users") == before


def test_changes_arrive_with_their_stamps_and_no_others(synced: Follow) -> None:
    register(synced, 10, 11)
    synced.here("UPDATE users SET level = 7 WHERE username = 'u1'")
    synced.here("DELETE FROM users WHERE username = 'u2'")
    receipt = synced.sync()
    users, sessions = receipt.tables["public.users"], receipt.tables["public.sessions"]
    assert (users.inserted, users.updated, users.deleted) == (2, 1, 1)
    assert (sessions.inserted, sessions.updated, sessions.deleted) == (2, 0, 1)
    synced.assert_equal()
    assert value(synced.target, "SELECT version FROM users WHERE username = 'u1'") == 1


def test_a_row_that_was_written_and_ends_as_it_was_is_left_alone(synced: Follow) -> None:
    synced.here("SET accountdb.apply = on; UPDATE users SET level = level WHERE username = 'u1'")
    counts = synced.counts("users")
    assert (counts.read, counts.unchanged, counts.written) == (1, 1, 0)


@pytest.mark.parametrize("savepoint", [False, True])
def test_a_commit_that_comes_late_is_not_lost(synced: Follow, savepoint: bool) -> None:
    """Begun before a pass, and committed after the next one, whose own writes are newer."""
    with begin(synced.source) as late:
        late.execute("SELECT pg_current_xact_id()")
        with late.transaction():
            if savepoint:
                late.execute("SAVEPOINT one")
            late.execute("UPDATE users SET level = 1 WHERE username = 'u1'")
            late.execute("DELETE FROM users WHERE username = 'u2'")
            late.execute("INSERT INTO users (username, password) VALUES ('late', 'x')")
            if savepoint:
                late.execute("RELEASE SAVEPOINT one")
            for level in (8, 9):
                synced.here("UPDATE users SET level = %s WHERE username = 'u3'", level)
                assert synced.counts("users").updated == 1
    counts = synced.counts("users")
    assert (counts.inserted, counts.updated, counts.deleted) == (1, 1, 1)
    synced.assert_equal()


def test_a_prepared_transaction_arrives_when_it_is_committed(synced: Follow) -> None:
    name = uuid4().hex
    with connect(synced.source, autocommit=True) as conn:
        conn.execute("BEGIN; UPDATE users SET level = 3 WHERE username = 'u1'")
        conn.execute(f"PREPARE TRANSACTION '{name}'".encode())
        try:
            for level in (8, 9):
                synced.here("UPDATE users SET level = %s WHERE username = 'u3'", level)
                assert synced.counts("users").updated == 1
        finally:
            conn.execute(f"COMMIT PREPARED '{name}'".encode())
    assert synced.counts("users").updated == 1
    synced.assert_equal()


def test_values_change_places_between_rows(synced: Follow) -> None:
    synced.here(
        "BEGIN; UPDATE users SET username = 'x', email = NULL WHERE username = 'u1';"
        " UPDATE users SET username = 'u1', email = '1@x.cn' WHERE username = 'u2';"
        " UPDATE users SET username = 'u2', email = '2@x.cn' WHERE username = 'x';"
        " DELETE FROM users WHERE username = 'u3'; UPDATE users SET username = 'u3' WHERE username = 'u4'; COMMIT"
    )
    counts = synced.counts("users")
    assert (counts.updated, counts.deleted) == (3, 1)
    synced.assert_equal()


def test_a_child_that_moved_before_its_parent_went_is_kept(synced: Follow) -> None:
    synced.here("UPDATE sessions SET user_uuid = (SELECT uuid FROM users WHERE username = 'u1') WHERE token = 'tu2'")
    synced.here("DELETE FROM users WHERE username = 'u2'")
    synced.sync()
    synced.assert_equal()
    assert value(synced.target, "SELECT count(*) FROM sessions WHERE token = 'tu2'") == 1


def test_a_dry_run_counts_exactly_and_keeps_nothing(synced: Follow) -> None:
    register(synced, 10)
    synced.here("DELETE FROM users WHERE username = 'u2'")
    before = synced.sides("users")[1]
    dry = synced.sync(dry_run=True)
    assert synced.sides("users")[1] == before
    assert synced.sync().tables == dry.tables
    assert dry.tables["public.users"].written == 2


def test_verify_proves_that_both_sides_are_equal(synced: Follow) -> None:
    register(synced, 10)
    assert synced.sync(verify=True).verified is True
    synced.there("SET accountdb.apply = on; UPDATE users SET level = 99 WHERE username = 'u5'")
    assert synced.sync(verify=True).verified is False
    receipt = synced.sync(once=True, verify=True)
    assert (receipt.tables["public.users"].updated, receipt.verified) == (1, True)


def test_once_takes_away_what_only_the_destination_has(synced: Follow) -> None:
    synced.there("INSERT INTO users (username, password) VALUES ('stranger', 'x')")
    assert synced.counts("users", once=True).deleted == 1
    synced.assert_equal()


def test_a_stranger_in_the_way_is_found_by_comparing_all(synced: Follow) -> None:
    synced.there("INSERT INTO users (username, password) VALUES ('taken', 'x')")
    synced.here("INSERT INTO users (username, password) VALUES ('TAKEN', 'y')")
    receipt = synced.sync()
    assert (receipt.tables["public.users"].inserted, receipt.tables["public.users"].deleted) == (1, 1)
    synced.assert_equal()


def test_too_many_deletes_are_refused_and_change_nothing(synced: Follow) -> None:
    synced.here("DELETE FROM users WHERE username IN ('u1', 'u2', 'u3')")
    synced.here("UPDATE users SET level = 5 WHERE username = 'u4'")
    before = synced.sides("users")[1]
    for limit in ("20%", "2", "0"):
        with pytest.raises(Refused, match="3 of 10 rows would be deleted, more than --max-delete"):
            synced.sync(max_delete=parse(limit))
    assert synced.sides("users")[1] == before
    assert synced.counts("users", max_delete=parse("3")).deleted == 3
    synced.assert_equal()


@pytest.mark.parametrize("how", ["DELETE FROM users", "SET accountdb.allow_truncate = on; TRUNCATE users CASCADE"])
def test_an_empty_source_never_empties_the_destination(synced: Follow, how: str) -> None:
    synced.here(how)
    for once in (False, True):
        with pytest.raises(Refused, match="an empty source never empties the destination"):
            synced.sync(max_delete=parse("100%"), once=once)
    assert value(synced.target, "SELECT count(*) FROM users") == 10


def test_a_truncate_with_new_rows_after_it_is_followed(synced: Follow) -> None:
    synced.here("SET accountdb.allow_truncate = on; TRUNCATE users CASCADE")
    register(synced, 1, 20)
    receipt = synced.sync(max_delete=parse("100%"))
    assert (receipt.tables["public.users"].inserted, receipt.tables["public.users"].deleted) == (2, 10)
    synced.assert_equal()


def test_what_is_not_deleted_by_the_job_stays(synced: Follow) -> None:
    keeping = Follow(synced.source, synced.target, {table: {"delete": False} for table in ACCOUNTS})
    keeping.sync("keeping")
    synced.here("DELETE FROM users WHERE username = 'u2'")
    assert keeping.sync("keeping").tables["public.users"].deleted == 0
    assert value(synced.target, "SELECT count(*) FROM users WHERE username = 'u2'") == 1


def test_without_a_snapshot_only_what_changes_from_now_on_arrives(synced: Follow) -> None:
    later = Follow(synced.source, synced.target, {"users": {}}, {"snapshot": False})
    synced.here("UPDATE users SET level = 1 WHERE username = 'u1'")
    assert later.sync("later").tables["public.users"].read == 0
    synced.here("UPDATE users SET level = 2 WHERE username = 'u2'")
    assert later.sync("later").tables["public.users"].updated == 1
    assert value(synced.target, "SELECT level FROM users WHERE username = 'u1'") != 1


def test_a_second_run_of_a_job_says_so(synced: Follow) -> None:
    with connect(synced.source) as holder:
        holder.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        with ThreadPoolExecutor() as pool:
            first = pool.submit(synced.sync)
            held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            while not value(synced.target, held):
                pass
            assert run_pass("job", synced.job, PassOptions(), Unwatched()) is None
            holder.rollback()
            first.result()


def test_two_names_of_one_database_are_found_out(synced: Follow) -> None:
    same = Follow(synced.source, synced.source.replace("127.0.0.1", "localhost"), synced.tables)
    with pytest.raises(UsageError, match="the same database"):
        same.sync()


def test_another_source_than_before_is_refused(synced: Follow, databases: Databases, native_lab: Lab) -> None:
    other = Follow(accounts(databases, native_lab).source, synced.target, synced.tables)
    register(other, 40, 41)
    with pytest.raises(Refused, match="was synced from another database") as refused:
        other.sync()
    assert "--once" in (refused.value.hint or "")
    other.sync(once=True, max_delete=parse("100%"))
    other.assert_equal()


def test_several_destinations_read_one_log(synced: Follow, databases: Databases, native_lab: Lab) -> None:
    second = Follow(synced.source, accounts(databases, native_lab).target, synced.tables)
    second.sync()
    logs = synced.tables and value(synced.source, "SELECT to_regclass('accountdb.change_log') IS NOT NULL")
    register(synced, 30)
    synced.sync()
    if logs:
        assert value(synced.source, "SELECT count(*) FROM accountdb.change_log") > 0
    second.sync()
    second.assert_equal()
    if logs:
        synced.sync()
        second.sync()
        assert value(synced.source, "SELECT count(*) FROM accountdb.change_log") == 0


def test_roles_of_the_destination_are_ordinary(synced: Follow) -> None:
    for dsn in (synced.source, synced.target):
        with connect(dsn) as conn:
            assert conn.execute(
                "SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user"
            ).fetchone() == (False,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute("SET session_replication_role = replica")
