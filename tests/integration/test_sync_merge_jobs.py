"""A merge job as a person meets it: what it needs, what it refuses, what it counts, and what goes along."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from accountdb.contract.row_contract import ACCOUNT_TABLES
from accountdb.errors import AccountdbError, Refused, UsageError
from accountdb.lab import Lab
from accountdb.sync.installing import install
from accountdb.sync.limit import parse
from accountdb.sync.model import Receipt
from tests.conftest import Databases, as_role, migratectl, run_command, run_sql, value
from tests.integration.syncing import Follow, accounts

ALL = parse("100%")


@dataclass(frozen=True)
class Two:
    """Two regions and a merge job each way."""

    there: Follow
    back: Follow

    def sync(self, **options: Any) -> tuple[Receipt, Receipt]:
        """A pass each way."""
        wanted = {"max_delete": ALL, **options}
        return self.there.sync("there", **wanted), self.back.sync("back", **wanted)

    def settle(self) -> None:
        """Passes until nothing moves."""
        for _ in range(4):
            if not sum(counts.written for one in self.sync() for counts in one.tables.values()):
                return
        raise AssertionError("it does not come to rest")

    def assert_equal(self) -> None:
        """Both hold the same."""
        self.there.assert_equal(*(f"public.{table}" for table in ACCOUNT_TABLES))


@pytest.fixture
def bare(databases: Databases, native_lab: Lab) -> Two:
    """With node names, without guards and capture."""
    pair = accounts(databases, native_lab)
    for dsn, node in ((pair.source, "node_cn"), (pair.target, "node_global")):
        run_sql(dsn, "INSERT INTO accountdb.node (name) VALUES (%s)", node)
    there = replace(pair, settings={"policy": "merge"}).of(
        *reversed(ACCOUNT_TABLES)
    )  # the order in the file is no matter
    return Two(there, replace(there, source=pair.target, target=pair.source))


@pytest.fixture
def two(bare: Two) -> Two:
    """With both."""
    assert all(one.new for one in install(bare.there.job))
    assert not any(one.new for one in install(bare.back.job))
    bare.there.here("INSERT INTO users (username, password) SELECT 'u' || n, 'x' FROM generate_series(1, 5) AS n")
    bare.settle()
    return bare


def refused(pair: Follow, kind: type[AccountdbError], *words: str, **options: Any) -> None:
    """The pass says no, and nothing was written."""
    before = pair.sides("public.users")
    with pytest.raises(kind) as error:
        pair.sync(**options)
    for word in words:
        assert word in f"{error.value.message} {error.value.hint}"
    assert pair.sides("public.users") == before


def test_the_first_pass_installs_what_it_needs_and_says_so(bare: Two) -> None:
    first = bare.there.sync("there").installed
    assert "guard of public.users at the source" in first
    assert "capture of public.users at the destination" in first
    assert bare.back.sync("back").installed == ()


def test_a_dry_run_installs_nothing_and_says_what_is_missing(bare: Two) -> None:
    refused(bare.there, Refused, "source: the guard of public.users is missing", "--install-capture", dry_run=True)
    assert value(bare.there.source, "SELECT count(*) FROM pg_trigger WHERE tgname = 'accountdb_guard'") == 0


def test_a_role_that_may_not_install_guards_is_told_who_has_to(databases: Databases, native_lab: Lab) -> None:
    admins = [databases.migrated() for _ in range(2)]
    for admin in admins:
        run_sql(admin, "ALTER TABLE users OWNER TO postgres; GRANT ALL ON users TO account")
    source, target = (as_role(admin, native_lab.region("cn").app_dsn) for admin in admins)
    pair = Follow(source, target, {"users": {}}, {"policy": "merge"})
    refused(pair, Refused, "source: the guard of public.users is missing", "--install-capture")


def test_an_administrator_may_install_it_and_the_owner_go_on(databases: Databases, native_lab: Lab) -> None:
    admins = [databases.migrated() for _ in range(2)]
    pair = replace(Follow(admins[0], admins[1]), settings={"policy": "merge"}).of(*ACCOUNT_TABLES)
    Two(pair, replace(pair, source=pair.target, target=pair.source)).settle()
    source, target = (as_role(admin, native_lab.region("cn").app_dsn) for admin in admins)
    for dsn in admins:
        run_sql(dsn, "ALTER TABLE accountdb.sync_watermark OWNER TO account")
    owned = replace(pair, source=source, target=target)
    two = Two(owned, replace(owned, source=target, target=source))
    two.there.here("INSERT INTO users (username, password) VALUES ('ann', 'x')")
    there, back = two.sync()
    assert (there.full, back.full) == (False, False)
    two.assert_equal()


def test_two_regions_of_one_name_have_no_row_order(two: Two) -> None:
    two.there.there("UPDATE accountdb.node SET name = 'node_cn'")
    refused(two.there, Refused, "both sides call their node node_cn", "--node NAME")


def test_regions_without_a_name_are_merged_all_the_same(bare: Two) -> None:
    bare.there.both("DELETE FROM accountdb.node")
    bare.settle()
    bare.there.here("INSERT INTO users (username, password) VALUES ('ann', 'x')")
    bare.settle()
    bare.there.here("UPDATE users SET level = 31")
    for level in (41, 42):
        bare.there.there("UPDATE users SET level = %s", level)
    bare.back.sync("back")
    bare.settle()
    bare.assert_equal()
    losers = "SELECT count(*) FROM accountdb.conflict WHERE loser ->> 'level' = '31'"
    assert value(bare.there.source, losers) + value(bare.there.target, losers) > 0


def test_what_a_merge_job_cannot_be_told(two: Two) -> None:
    job = two.there
    refused(replace(job, tables={"users": {"delete": False}}), UsageError, "public.users", "delete: false")
    refused(replace(job, tables={"users": {"columns": ["uuid", "username"]}}), UsageError, "whole rows")
    refused(replace(job, tables={"sessions": {}}), UsageError, "public.sessions refers to public.users")
    refused(job, UsageError, "together", tables=("users",))


def test_structures_that_differ_are_told_by_column(two: Two) -> None:
    two.there.there("ALTER TABLE users ADD COLUMN nickname text")
    refused(two.there, Refused, "public.users: nickname is not the same on both sides")


def test_a_table_outside_the_row_contract_is_told(two: Two) -> None:
    two.there.both("CREATE TABLE public.note (id integer PRIMARY KEY)")
    job = replace(two.there, tables={"note": {}})
    refused(job, Refused, "source: public.note is not under the row contract", "destination: public.note")
    with pytest.raises(Refused, match="not under the row contract: note"):
        list(install(job.job))


def test_both_write_and_are_equal_after_a_pass_each_way(two: Two) -> None:
    two.there.here("UPDATE users SET level = 30 WHERE username = 'u1'")
    two.there.here("INSERT INTO users (username, password) VALUES ('here', 'x')")
    two.there.there("UPDATE users SET level = 40 WHERE username = 'u2'")
    two.there.there("DELETE FROM users WHERE username = 'u5'")
    there, back = two.sync()
    assert (there.tables["public.users"].inserted, there.tables["public.users"].updated) == (1, 1)
    assert (back.tables["public.users"].updated, back.tables["public.users"].deleted) == (1, 1)
    two.assert_equal()
    assert value(two.there.source, "SELECT count(*) FROM users") == 5


def test_what_was_synced_does_not_come_back_and_keeps_its_stamp(two: Two) -> None:
    two.there.here("UPDATE users SET level = 30")
    stamps = two.there.sides("public.users", "username, version, updated_at, origin_node")[0]
    there, back = two.sync()
    assert there.tables["public.users"].updated == 5
    assert [counts.read for counts in back.tables.values()] == [0] * len(ACCOUNT_TABLES)
    assert two.there.sides("public.users", "username, version, updated_at, origin_node") == (stamps, stamps)


def test_one_row_written_in_both_is_settled_and_on_record(two: Two) -> None:
    two.there.here("UPDATE users SET level = 31 WHERE username = 'u1'")
    two.there.there("UPDATE users SET level = 41 WHERE username = 'u1'")
    two.settle()
    two.assert_equal()
    found = value(two.there.target, "SELECT loser ->> 'level' FROM accountdb.conflict WHERE kind = 'update_update'")
    assert found == "31"
    assert value(two.there.source, "SELECT level FROM users WHERE username = 'u1'") == 41


@pytest.mark.parametrize("first", ["there", "back"])
def test_the_older_of_two_versions_is_on_record_whichever_job_comes_first(two: Two, first: str) -> None:
    """A state is brought, not each change: the copy that loses may have no rival of its own version."""
    two.there.here("UPDATE users SET level = 31 WHERE username = 'u1'")
    for level in (41, 42):
        two.there.there("UPDATE users SET level = %s WHERE username = 'u1'", level)
    (two.there if first == "there" else two.back).sync(first)
    two.settle()
    losers = [
        value(dsn, "SELECT count(*) FROM accountdb.conflict WHERE loser ->> 'level' = '31'")
        for dsn in (two.there.source, two.there.target)
    ]
    assert sum(losers) > 0
    assert value(two.there.source, "SELECT level FROM users WHERE username = 'u1'") == 42


def test_writing_by_turns_is_no_conflict(two: Two) -> None:
    for number in range(3):
        two.there.here("UPDATE users SET level = %s WHERE username = 'u1'", 100 + number)
        two.settle()
        two.there.there("UPDATE users SET level = %s WHERE username = 'u1'", 200 + number)
        two.settle()
    two.assert_equal()
    for dsn in (two.there.source, two.there.target):
        assert value(dsn, "SELECT count(*) FROM accountdb.conflict") == 0


def test_a_value_that_two_register_goes_to_the_first_and_is_counted(two: Two) -> None:
    two.there.here("INSERT INTO users (username, password) VALUES ('Same', 'x')")
    two.there.there("INSERT INTO users (username, password) VALUES ('same', 'x')")
    there, _ = two.sync()
    assert there.tables["public.users"].released == 1
    two.settle()
    two.assert_equal()
    names = value(
        two.there.source, "SELECT array_agg(username ORDER BY created_at) FROM users WHERE username ~* 'same'"
    )
    assert names[0] == "Same"
    assert names[1].startswith("same~")


def test_a_value_that_moves_from_row_to_row_is_no_claim(two: Two) -> None:
    """By the order of their keys the row that takes the value comes before the one that gives it up, or after."""
    for one, other in (("u1", "u2"), ("u3", "u4")):
        for giver, taker in ((one, other), (other, one), (one, other)):
            run_sql(
                two.there.source,
                f"UPDATE users SET email = NULL WHERE username = '{giver}';"
                f" UPDATE users SET email = '{one}@example.cn' WHERE username = '{taker}'",
            )
            two.settle()
            two.assert_equal()
    assert value(two.there.target, "SELECT count(*) FROM accountdb.conflict") == 0


def test_a_child_that_moved_before_its_parent_died_lives(two: Two) -> None:
    two.there.here(
        "INSERT INTO sessions (token, user_uuid, expires_at) SELECT username, uuid, now() FROM users"
        " WHERE username IN ('u1', 'u2')"
    )
    two.settle()
    run_sql(
        two.there.source,
        "UPDATE sessions SET user_uuid = (SELECT uuid FROM users WHERE username = 'u2') WHERE token = 'u1';"
        " DELETE FROM users WHERE username = 'u1'",
    )
    two.settle()
    two.assert_equal()
    assert value(two.there.target, "SELECT count(*) FROM sessions") == 2


def test_deletes_are_limited(two: Two) -> None:
    two.there.here("DELETE FROM users WHERE username IN ('u1', 'u2')")
    refused(two.there, Refused, "2 of 5 rows would be deleted", "--max-delete 2")
    counts = two.there.sync(max_delete=parse("2")).tables["public.users"]
    assert counts.deleted == 2


def test_a_source_that_lost_its_rows_without_deleting_them_takes_none_away(two: Two) -> None:
    run_sql(two.there.source, "SET accountdb.allow_truncate = on; TRUNCATE users CASCADE")
    two.settle()
    two.assert_equal()
    assert value(two.there.source, "SELECT count(*) FROM users") == 5


def test_a_dry_run_counts_exactly_and_leaves_nothing(two: Two) -> None:
    two.there.here("UPDATE users SET level = 77 WHERE username = 'u1'")
    two.there.here("DELETE FROM users WHERE username = 'u2'")
    two.there.here("INSERT INTO users (username, password) VALUES ('new', 'x')")
    before = two.there.sides("accountdb.tombstone"), two.there.sides("public.users")
    dry = two.there.sync(dry_run=True, max_delete=ALL)
    assert (two.there.sides("accountdb.tombstone"), two.there.sides("public.users")) == before
    real = two.there.sync(max_delete=ALL)
    assert dry.tables == real.tables
    assert real.tables["public.users"].written == 3


def test_tombstones_and_resolutions_go_along_and_stay(two: Two) -> None:
    two.there.here("DELETE FROM users WHERE username = 'u1'")
    two.there.here("INSERT INTO accountdb.resolution (conflict_id, action) VALUES (gen_random_uuid(), 'dismissed')")
    two.settle()
    here, there = two.there.sides("accountdb.resolution")
    assert here == there
    assert len(here) == 1
    buried = "SELECT count(*) FROM accountdb.tombstone WHERE node = 'node_cn'"
    assert value(two.there.target, buried) == value(two.there.source, buried) == 1


def test_an_orphan_comes_when_its_parent_does(two: Two) -> None:
    """The parent was taken out at the destination alone, as a person does who has to."""
    two.there.here("INSERT INTO users (username, password) VALUES ('parent', 'x')")
    two.settle()
    parent = value(two.there.source, "SELECT uuid FROM users WHERE username = 'parent'")
    run_sql(
        two.there.target,
        "ALTER TABLE users DISABLE TRIGGER USER; DELETE FROM users WHERE username = 'parent';"
        " ALTER TABLE users ENABLE TRIGGER USER; ALTER TABLE users ENABLE REPLICA TRIGGER accountdb_guard",
    )
    assert {one.table for one in install(two.there.job) if one.new} == {"public.users"}
    two.there.here("INSERT INTO sessions (token, user_uuid, expires_at) VALUES ('t', %s, now())", parent)
    two.there.sync("there")
    assert value(two.there.target, "SELECT count(*) FROM accountdb.conflict WHERE kind = 'orphan'") == 1
    two.there.here("UPDATE users SET level = 3 WHERE username = 'parent'")
    two.settle()
    assert value(two.there.target, "SELECT count(*) FROM sessions") == 1
    for dsn in (two.there.source, two.there.target):
        assert value(dsn, "SELECT count(*) FROM accountdb.resolution WHERE action = 'healed'") == 1


def test_the_commands_from_an_empty_pair_to_equal_regions(
    databases: Databases, native_lab: Lab, tmp_path: Path
) -> None:
    pair = accounts(databases, native_lab)
    for dsn, node in ((pair.source, "node_cn"), (pair.target, "node_global")):
        made = migratectl("init", "--dsn", dsn, "--mode", "pgsync", "--node", node)
        assert made.returncode == 0, made.stderr
    config = tmp_path / "jobs.yaml"
    tables = "{users: {}, identities: {}, sessions: {}}"
    config.write_text(
        "jobs:\n"
        f"  there: {{source: {{dsn: '${{CN_DSN}}'}}, destination: {{dsn: '${{GLOBAL_DSN}}'}},"
        f" policy: merge, tables: {tables}}}\n"
        f"  back: {{source: {{dsn: '${{GLOBAL_DSN}}'}}, destination: {{dsn: '${{CN_DSN}}'}},"
        f" policy: merge, tables: {tables}}}\n"
    )
    environment = {"CN_DSN": pair.source, "GLOBAL_DSN": pair.target}
    found = run_command("pgsync", "--config", str(config), "--install-capture", env=environment)
    assert found.returncode == 0, found.stderr
    assert "there: guard of public.users at the destination installed" in found.stdout
    pair.here("INSERT INTO users (username, password) VALUES ('ann', 'x')")
    pair.there("INSERT INTO users (username, password) VALUES ('bob', 'x')")
    found = run_command("pgsync", "--config", str(config), "--verify", "--json", env=environment)
    assert found.returncode == 0, found.stderr
    receipts = [json.loads(line) for line in found.stdout.splitlines()]
    assert [(one["job"], one["policy"], one["verified"]) for one in receipts] == [
        ("there", "merge", True),
        ("back", "merge", True),
    ]
    pair.assert_equal("public.users")
    assert value(pair.source, "SELECT count(*) FROM users") == 2
