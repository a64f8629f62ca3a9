"""``migratectl merge`` and ``merge --plan`` as a user gets them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from accountdb.lab import Lab
from accountdb.merge.run import FILL_FROM
from accountdb.pg.connect import connect
from tests.conftest import Databases
from tests.integration.commanding import ZEROS, assert_nothing_written, counts, differ, merged, state, undone
from tests.integration.comparing import Told, assert_refused
from tests.integration.merging import ACCOUNT, CONTRACT, Apart, Side, regions_apart, told
from tests.integration.test_merge_rows import identity_of, register, session_of

pytest_plugins = ("tests.integration.conftest_merge",)

BIG = (
    "CREATE TABLE public.big (name text NOT NULL UNIQUE, n integer CHECK (n >= 0),"
    f" up uuid REFERENCES public.big, {CONTRACT})",
    "CREATE INDEX big_plain ON public.big (n DESC NULLS LAST) INCLUDE (name) WITH (fillfactor = 70)",
    "COMMENT ON INDEX public.big_plain IS 'it''s of use, 100 %'",
    "CREATE UNIQUE INDEX big_unique ON public.big (lower(name)) WHERE n > 0",
    "COMMENT ON INDEX public.big_unique IS 'who is who'",
    "CREATE INDEX big_unmeasured ON public.big ((n + 1))",
    "ALTER INDEX public.big_unmeasured ALTER COLUMN 1 SET STATISTICS 0",
    "CREATE INDEX big_measured ON public.big ((n + 2))",
    "ALTER INDEX public.big_measured ALTER COLUMN 1 SET STATISTICS 500",
    "CREATE INDEX big_up ON public.big (up)",
    "ALTER TABLE public.big CLUSTER ON big_up",
    "COMMENT ON CONSTRAINT big_name_key ON public.big IS 'one name'",
)
# What a fill must leave as it was.
CATALOG = """
    SELECT 'index', c.relname::text, pg_get_indexdef(c.oid), obj_description(c.oid, 'pg_class'),
           concat_ws(' ', i.indisvalid, i.indisready, i.indisclustered, i.indisreplident, c.reloptions, c.relowner,
                     (SELECT string_agg(a.attstattarget::text, ',' ORDER BY a.attnum)
                      FROM pg_attribute AS a WHERE a.attrelid = c.oid))
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE i.indrelid = 'public.big'::regclass
    UNION ALL SELECT 'constraint', k.conname::text, pg_get_constraintdef(k.oid),
                     obj_description(k.oid, 'pg_constraint'), k.convalidated::text
    FROM pg_constraint AS k WHERE k.conrelid = 'public.big'::regclass
    UNION ALL SELECT 'trigger', t.tgname::text, pg_get_triggerdef(t.oid), obj_description(t.oid, 'pg_trigger'),
                     t.tgenabled::text
    FROM pg_trigger AS t WHERE t.tgrelid = 'public.big'::regclass
    ORDER BY 1, 2
"""


@pytest.fixture(scope="module")
def two(databases: Databases, native_lab: Lab) -> Iterator[Apart]:
    """Two regions for all tests, with a table that can be large."""
    with regions_apart(databases, native_lab, *BIG) as found:
        yield found


@pytest.fixture
def apart(two: Apart) -> Apart:
    """The same, emptied."""
    two.empty(*ACCOUNT, "big")
    return two


# -- what would be done, and what is --


def test_a_plan_writes_nothing_and_is_what_the_merge_then_does(apart: Apart) -> None:
    differ(apart)
    before = state(apart)
    outcome = merged(apart, "--plan", "--json", status=1)
    assert state(apart) == before
    planned = json.loads(outcome.out)
    assert list(planned) == ["regions", "tables"]
    assert [list(one) for one in planned["tables"]] == [["table", "regions", "samples"]] * len(planned["tables"])
    samples = {one["table"]: one["samples"] for one in planned["tables"]}
    assert {name: len(rows) for name, rows in samples.items() if rows} == {
        "public.users": 5,
        "public.sessions": 5,
        "public.identities": 2,
    }
    told_plan = merged(apart, "--plan", status=1)
    assert "secret" not in outcome.out + told_plan.out + told_plan.err
    receipt = json.loads(merged(apart, "--json").out)
    written = counts(receipt["written"])
    assert written == counts({one["table"]: one["regions"] for one in planned["tables"]})
    assert written["public.users", "cn"] == {"inserted": 2, "updated": 2, "deleted": 1}
    assert written["public.users", "global"] == {"inserted": 7, "updated": 4, "deleted": 1}
    lines = [line.split("\t") for line in told_plan.lines if "\t" in line]
    assert {(table, name): list(map(int, rest)) for table, name, *rest in lines} == {
        name: list(one.values()) for name, one in written.items()
    }
    again = merged(apart, "--plan")
    assert (again.out, "nothing to do" in again.err) == ("", True)


def test_a_plan_shows_that_a_secret_differs_and_not_what_it_is(apart: Apart) -> None:
    user = register(*apart.sides)
    apart.cn.run("UPDATE users SET password = 'secret2' WHERE uuid = %s", user)
    (line, _) = merged(apart, "--plan", status=1).lines
    assert "password (cn '***' | global '***')" in line


def test_the_receipt_is_a_proof_in_json(apart: Apart) -> None:
    register(apart.cn)
    receipt = json.loads(merged(apart, "--json").out)
    assert list(receipt) == [
        "equal", "seconds", "rounds", "written", "proof", "different", "healed", "echo", "undo", "also", "left_out",
        "withheld", "unproved",
    ]  # fmt: skip
    assert (receipt["equal"], receipt["rounds"], receipt["undo"], receipt["echo"]) == (True, 1, None, False)
    proof = {one["table"]: one for one in receipt["proof"]}
    assert proof.keys() == {f"public.{table}" for table in (*ACCOUNT, "big")}
    assert proof["public.users"] == {
        "table": "public.users",
        "rows": {"cn": 1, "global": 1},
        "differing": 0,
        "changing": 0,
    }
    outcome = merged(apart)
    assert (outcome.out, outcome.err.splitlines()[-1][:20]) == ("", "equal after 0 rounds")


# -- some tables --


def test_parents_come_along_and_are_named_and_other_tables_stay(apart: Apart) -> None:
    user = register(apart.cn)
    session, identity = session_of(user, apart.cn), identity_of(user, apart.cn)
    outcome = merged(apart, "--table=sessions")
    assert "merged too, because others refer to them: public.users" in outcome.err
    assert apart.same("users", user)
    assert apart.same("sessions", session)
    assert apart.global_.row("identities", identity) is None
    assert json.loads(merged(apart, "--table=public.sessions", "--json").out)["also"] == ["public.users"]


@pytest.mark.parametrize("name", ["identities", "public.identities"])
def test_a_table_is_left_out(apart: Apart, name: str) -> None:
    user = register(apart.cn)
    identity = identity_of(user, apart.cn)
    merged(apart, f"--exclude={name}")
    assert apart.same("users", user)
    assert apart.global_.row("identities", identity) is None


@pytest.mark.parametrize("option", ["--table=users", "--exclude=sessions"])
def test_a_delete_waits_for_the_tables_below_and_the_hint_says_how(apart: Apart, option: str) -> None:
    cn, global_ = apart.sides
    user = register(cn, global_)
    cn.run("DELETE FROM users WHERE uuid = %s", user)
    session = session_of(user, global_)
    outcome = merged(apart, option, status=1)
    assert "rows to be deleted stay in public.users" in outcome.err
    assert outcome.err.splitlines()[-1] == "hint: migratectl merge without --table and --exclude"
    assert global_.row("users", user)
    assert json.loads(merged(apart, option, "--json", status=1).out)["withheld"] == ["public.users"]
    merged(apart)
    assert [apart.same("users", user), apart.same("sessions", session)] == [None, None]


def test_a_table_outside_the_contract_is_left_out_and_named(own: Apart) -> None:
    own.both("CREATE TABLE public.loose (a integer PRIMARY KEY)")
    own.cn.run("INSERT INTO loose VALUES (1)")
    user = register(own.cn)
    outcome = merged(own)
    assert "warning: loose is not under the row contract and was left out" in outcome.err
    assert own.same("users", user)
    assert own.global_.value("SELECT count(*) FROM loose") == 0
    assert json.loads(merged(own, "--json").out)["left_out"] == ["loose"]
    outcome = assert_nothing_written(own, ["--table=loose"], 4, "public.loose is not under the row contract")
    assert "its primary key is (a), not (uuid)" in outcome.err
    assert "migratectl table add" in outcome.err


# -- a table that is empty --


def prepare(apart: Apart) -> tuple[Side, Any, Any]:
    """A table that only CN has rows in: Global, its catalog, and what tells whether it was filled whole."""
    apart.cn.run("INSERT INTO big (name, n) SELECT 'n' || i, i FROM generate_series(1, %s) AS i", FILL_FROM)
    global_ = apart.global_
    return global_, global_.found(CATALOG), global_.value("SELECT 'public.big_plain'::regclass::oid")


def merged_while_read(apart: Apart, *arguments: str) -> tuple[Told, bool]:
    """Merge while somebody reads the empty table. How it ended, and whether it asked for the table alone."""
    exclusive = "SELECT count(*) FROM pg_locks WHERE relation = 'public.big'::regclass AND mode = 'AccessExclusiveLock'"
    asked = False
    with connect(apart.global_.dsn) as reader, ThreadPoolExecutor(1) as pool:
        reader.execute("SELECT FROM public.big")
        merging = pool.submit(apart.command, *arguments)
        while not merging.done():
            asked |= bool(apart.global_.value(exclusive))
            time.sleep(0.01)  # the poll's step
    return merging.result(), asked


def test_a_fill_leaves_the_table_as_it_was_but_full_and_can_be_taken_back(apart: Apart, tmp_path: Path) -> None:
    global_, before, index = prepare(apart)
    held = apart.cn.rows("big")
    merged(apart, f"--undo={tmp_path / 'undo'}")
    assert global_.value("SELECT 'public.big_plain'::regclass::oid") != index, "it was not filled whole"
    assert global_.found(CATALOG) == before
    assert ("accountdb_guard", "R") in {(name, mode) for kind, name, *_, mode in before if kind == "trigger"}
    assert global_.value("SELECT reltuples > 0 FROM pg_class WHERE oid = 'public.big'::regclass")
    assert global_.value("SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'big'")
    assert global_.rows("big") == held
    apart.assert_lawful()
    assert undone(apart, tmp_path / "undo") == {**ZEROS, "global": {"removed": FILL_FROM, "restored": 0, "left": 0}}
    assert (global_.rows("big"), apart.cn.rows("big")) == ([], held)
    assert global_.dead() == set()


def test_without_a_lock_nobody_has_to_wait(apart: Apart) -> None:
    global_, before, index = prepare(apart)
    outcome, asked = merged_while_read(apart, "--no-lock")
    assert (outcome.status, asked) == (0, False), outcome.err
    assert global_.value("SELECT 'public.big_plain'::regclass::oid") == index
    assert global_.value("SELECT count(*) FROM big") == FILL_FROM
    assert global_.found(CATALOG) == before


def test_a_reader_makes_a_fill_go_another_way(apart: Apart) -> None:
    global_, before, index = prepare(apart)
    began = time.monotonic()
    outcome, asked = merged_while_read(apart)
    assert (outcome.status, asked) == (0, True), outcome.err
    assert time.monotonic() - began > 3
    assert global_.value("SELECT 'public.big_plain'::regclass::oid") == index
    assert global_.value("SELECT count(*) FROM big") == FILL_FROM
    assert global_.found(CATALOG) == before


# -- bad input --


@pytest.mark.parametrize(
    ("arguments", "status", "fact"),
    [
        (["--table=nowhere"], 2, "no such table: public.nowhere"),
        (["--table=no.where"], 2, "no such table: no.where"),
        (["--exclude=nowhere"], 2, "--exclude: no such table: public.nowhere"),
        (["--exclude=no.users"], 2, "--exclude: no such table: no.users"),
        (["--exclude=users"], 2, "--exclude public.users: tables that are merged refer to it"),
        (["--exclude=users", "--exclude=sessions"], 2, "--exclude public.users: tables that are merged refer to it"),
        (["--table=sessions", "--exclude=users"], 2, "--exclude public.users: tables that are merged refer to it"),
        (["--table=users", "--exclude=public.users"], 2, "--table and --exclude both name public.users"),
        (["--table=schema_migrations"], 4, "public.schema_migrations is not under the row contract"),
        (["--recent", "--table=users"], 2, "--recent takes no --table, --exclude, --plan or --undo"),
        (["--recent", "--exclude=sessions"], 2, "--recent takes no --table, --exclude, --plan or --undo"),
        (["--recent", "--plan"], 2, "--recent takes no --table, --exclude, --plan or --undo"),
        (["--recent", "--undo=undo"], 2, "--recent takes no --table, --exclude, --plan or --undo"),
        (["--plan", "--undo=undo"], 2, "--plan writes nothing"),
        (["--plan", "--watch"], 2, "--plan writes nothing"),
        (["--recent", "--hours=0"], 2, "'--hours'"),
        (["--jobs=0"], 2, "'--jobs'"),
        (["--jobs=33"], 2, "'--jobs'"),
        (["--settle=-1"], 2, "'--settle'"),
        (["--settle=soon"], 2, "'--settle'"),
        (["--nothing"], 2, "--nothing"),
        (["undo"], 2, "FILE"),
    ],
    ids=lambda item: " ".join(item) if isinstance(item, list) else "",
)
def test_bad_input_is_told_in_one_line(apart: Apart, arguments: list[str], status: int, fact: str) -> None:
    register(apart.cn)
    apart.both("CREATE TABLE IF NOT EXISTS public.schema_migrations (version bigint PRIMARY KEY)")
    assert_nothing_written(apart, arguments, status, fact)


def test_two_regions_are_two_and_not_one_database(apart: Apart) -> None:
    register(apart.cn)
    cn, global_ = apart.cn.dsn, apart.global_.dsn
    cases: list[tuple[dict[str, str], int, str]] = [
        ({"cn": cn, "global": cn}, 4, "cn and global are the same database"),
        ({"cn": cn}, 2, "2 regions are needed, 1 given"),
        ({"cn": cn, "global": global_, "third": cn}, 4, "cn and third are the same database"),
        ({"cn": cn, "global": global_.replace("dbname=", "dbname=no")}, 3, "--global: cannot connect"),
    ]
    for dsns, status, fact in cases:
        assert_nothing_written(apart, [], status, fact, dsns=dsns)


@pytest.mark.parametrize(
    ("statement", "status", "fact"),
    [
        ("ALTER TABLE users ADD COLUMN more integer", 4, "public.users: column more is not in cn"),
        ("ALTER TABLE users ALTER COLUMN level TYPE bigint", 4, "public.users: column level is integer in cn, bigint"),
        ("DROP TABLE subscriptions", 2, "public.subscriptions is not in global"),
        ("DROP TRIGGER bump_version ON sessions", 4, "not under the row contract in both regions: public.sessions"),
    ],
)
def test_regions_of_unlike_structure_are_refused(own: Apart, statement: str, status: int, fact: str) -> None:
    register(own.cn)
    triggers = own.global_.found(
        "SELECT tgname FROM pg_trigger WHERE tgrelid = 'sessions'::regclass AND tgfoid = 'bump_version'::regproc"
    )
    own.global_.run(statement.replace("TRIGGER bump_version", f"TRIGGER {triggers[0][0]}"))
    before = own.cn.rows("users"), own.global_.found("SELECT * FROM users")
    for arguments in ([], ["--plan"]):
        assert_refused(own.command(*arguments), status, fact)
    assert (own.cn.rows("users"), own.global_.found("SELECT * FROM users")) == before


def test_nothing_is_told_of_options_that_are_missing() -> None:
    assert_refused(told("undo", "undo"), 2, "no region given")
