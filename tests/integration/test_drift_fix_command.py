"""migratectl check --fix-sql and --apply, as their users type them."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import psycopg
import pytest

from accountdb.drift.fix.applying import apply
from accountdb.drift.fix.planning import plan_fix
from accountdb.drift.fix.running import read_facts
from accountdb.drift.read import read_structure
from accountdb.errors import Refused
from accountdb.lab import Lab
from accountdb.pg.connect import connect
from tests.conftest import Databases, as_role, migratectl, rows, run_sql, value
from tests.integration import fixing
from tests.integration.conftest_drift import program

pytest_plugins = ("tests.integration.conftest_drift",)

BASE = """
CREATE TYPE level AS ENUM ('low', 'high');
CREATE TABLE people (uuid uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text, note text, age integer, grade level);
CREATE TABLE visits (uuid uuid PRIMARY KEY, user_uuid uuid NOT NULL REFERENCES people);
CREATE VIEW adults AS SELECT name, age FROM people WHERE age >= 18;
INSERT INTO people (name, note, age, grade) SELECT 'name ' || i, 'note', i, 'low' FROM generate_series(1, 30) AS i;
INSERT INTO visits SELECT gen_random_uuid(), uuid FROM people;
"""
WIDER = """
DROP VIEW adults; ALTER TABLE people ALTER age TYPE bigint;
CREATE VIEW adults AS SELECT name, age FROM people WHERE age >= 18;
ALTER TYPE level ADD VALUE 'middle' BEFORE 'high'; CREATE INDEX people_name ON people (name)
"""


@pytest.fixture
def regions(databases: Databases, native_lab: Lab) -> tuple[str, str]:
    """Two databases with the same tables and rows, as the ordinary role that owns them."""
    app = native_lab.region("cn").app_dsn
    two = tuple(as_role(databases.empty(), app) for _ in range(2))
    for dsn in two:
        run_sql(dsn, BASE)
    return two[0], two[1]


def check(regions: tuple[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return migratectl("check", "--node", f"cn={regions[0]}", "--node", f"global={regions[1]}", *options)


def change(dsn: str, script: str) -> None:
    """Change a structure, each statement by itself."""
    for statement in fixing.split(script):
        run_sql(dsn, statement)


def psql(dsn: str, file: Path) -> subprocess.CompletedProcess[str]:
    words = [program("psql", dsn), "-X", "-f", str(file), dsn]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def test_the_file_runs_in_psql_and_makes_both_equal(regions: tuple[str, str], tmp_path: Path) -> None:
    change(regions[0], WIDER)
    file = tmp_path / "fix.sql"
    done = check(regions, "--fix-sql", str(file))
    assert done.returncode == 1, done.stderr
    assert "to be mended: global, after cn: it is the second region; --fix names another" in done.stderr
    assert f"in {file}: " in done.stderr
    text = file.read_text()
    assert text.index("ADD VALUE") < text.index("BEGIN;") < text.index('DROP VIEW "public"."adults"')
    assert "-- [rewrites] every integer is a bigint\n" in text
    assert "-- [locks] writers wait while it is built\n" in text
    ran = psql(regions[1], file)
    assert ran.returncode == 0, ran.stderr
    assert check(regions).returncode == 0
    assert value(regions[1], "SELECT count(*) FROM visits") == 30


def test_what_loses_data_is_a_comment_until_it_is_allowed(regions: tuple[str, str], tmp_path: Path) -> None:
    change(regions[0], "ALTER TABLE people DROP note; ALTER TABLE people ADD remark text")
    file = tmp_path / "fix.sql"
    done = check(regions, "--fix-sql", str(file))
    assert done.returncode == 1
    assert (
        "1 of them only as comments: they lose data, or go with what does; --allow data-loss writes them" in done.stderr
    )
    assert '-- ALTER TABLE "public"."people" DROP COLUMN "note";' in file.read_text()
    assert 'RENAME COLUMN "note" TO "remark"' in file.read_text()
    assert psql(regions[1], file).returncode == 0
    assert value(regions[1], "SELECT count(note) FROM people") == 30
    assert check(regions, "--fix-sql", str(file), "--allow", "data-loss").returncode == 1
    assert psql(regions[1], file).returncode == 0
    assert check(regions).returncode == 0


def test_apply_is_refused_where_data_would_be_lost(regions: tuple[str, str]) -> None:
    change(regions[0], "DROP VIEW adults; DROP TABLE visits")
    before = fixing.structure(regions[1])
    done = check(regions, "--apply")
    assert done.returncode == 4
    assert "hint: --allow data-loss allows it" in done.stderr
    assert fixing.structure(regions[1]) == before
    done = check(regions, "--apply", "--allow", "data-loss")
    assert done.returncode == 0, done.stderr
    assert check(regions).returncode == 0


def test_apply_proves_then_makes_equal_as_an_ordinary_role(regions: tuple[str, str]) -> None:
    change(regions[0], WIDER)
    before = rows(regions[1], "SELECT uuid, name, age, grade::text FROM people ORDER BY uuid")
    done = check(regions, "--apply")
    assert done.returncode == 0, done.stderr
    assert "proven on PostgreSQL 17" in done.stderr
    assert "60 rows of 2 tables are what they were, no drift" in done.stderr
    assert "global has the structure of cn" in done.stderr
    assert rows(regions[1], "SELECT uuid, name, age, grade::text FROM people ORDER BY uuid") == before
    again = check(regions, "--apply")
    assert (again.returncode, "nothing to mend" in again.stderr) == (0, True)


def test_the_named_region_is_mended(regions: tuple[str, str]) -> None:
    change(regions[0], "CREATE INDEX people_name ON people (name)")
    done = check(regions, "--apply", "--fix", "cn")
    assert done.returncode == 0, done.stderr
    assert "to be mended: cn, after global: --fix says so" in done.stderr
    assert value(regions[0], "SELECT to_regclass('public.people_name') IS NULL")


def test_rows_that_do_not_fit_fail_in_the_proof_and_change_nothing(regions: tuple[str, str]) -> None:
    change(regions[0], "ALTER TABLE people ADD CONSTRAINT young CHECK (age < 5) NOT VALID")
    change(
        regions[0],
        "DELETE FROM visits; DELETE FROM people WHERE age >= 5; ALTER TABLE people VALIDATE CONSTRAINT young",
    )
    before = fixing.structure(regions[1])
    done = check(regions, "--apply")
    assert done.returncode == 3
    assert "error: the fix fails on the copy: constraint public.people.young" in done.stderr
    assert "hint: change the rows that do not fit" in done.stderr
    assert fixing.structure(regions[1]) == before


def test_a_new_column_that_must_have_a_value_comes_without_it_first(regions: tuple[str, str]) -> None:
    change(regions[0], "DELETE FROM visits; DELETE FROM people; ALTER TABLE people ADD phone text NOT NULL")
    done = check(regions, "--apply")
    assert done.returncode == 1, done.stderr
    assert "left: column public.people.phone: NOT NULL: rows that are there have no value yet" in done.stderr
    run_sql(regions[1], "UPDATE people SET phone = '1'")
    assert check(regions, "--apply").returncode == 0
    assert check(regions).returncode == 0


def test_what_is_meant_to_differ_is_left_alone(regions: tuple[str, str], tmp_path: Path) -> None:
    change(regions[0], "CREATE TABLE own (id integer); CREATE INDEX people_name ON people (name)")
    change(regions[0], "COMMENT ON TABLE people IS 'mine'; ALTER TABLE people ALTER name SET DEFAULT 'x'")
    ignore = tmp_path / "ignore.yaml"
    ignore.write_text(
        "- {kind: table, name: own, reason: ours}\n- {kind: table, name: people, attribute: comment, reason: ours}\n"
    )
    done = check(regions, "--apply", "--ignore", str(ignore))
    assert done.returncode == 0, done.stderr
    assert check(regions, "--ignore", str(ignore)).returncode == 0
    assert value(regions[1], "SELECT to_regclass('public.own') IS NULL AND obj_description('people'::regclass) IS NULL")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fix", "global"], "add --fix-sql FILE or --apply"),
        (["--apply", "--fix", "nowhere"], "--fix nowhere: no such region"),
        (["--apply", "--allow", "all"], "--allow all: there is nothing of that name"),
        (["--apply", "--scratch", "nonsense"], "--scratch is neither"),
        (["--fix-sql", "/nowhere/at/all.sql"], "--fix-sql /nowhere/at/all.sql: No such file"),
    ],
)
def test_wrong_options_end_with_2(regions: tuple[str, str], options: list[str], said: str) -> None:
    change(regions[0], "CREATE TABLE more (id integer)")
    done = check(regions, *options)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_a_name_with_a_line_break_ends_no_comment(regions: tuple[str, str], tmp_path: Path) -> None:
    for odd in ("x\nDROP TABLE visits; --", "y\rDROP TABLE visits; --", "%s {0} $$ 'q' \\echo"):
        name = psycopg.sql.Identifier(odd).as_string()
        run_sql(regions[1], f"CREATE TABLE {name} (a integer)")
        run_sql(regions[1], f"COMMENT ON TABLE {name} IS 'a\nDROP TABLE visits;'")
    file = tmp_path / "fix.sql"
    assert check(regions, "--fix-sql", str(file)).returncode == 1
    ran = psql(regions[1], file)
    assert ran.returncode == 0, ran.stderr
    assert value(regions[1], "SELECT count(*) FROM visits") == 30
    assert check(regions, "--apply", "--allow", "data-loss").returncode == 0


def test_a_role_that_is_not_there_is_told(regions: tuple[str, str], native_lab: Lab) -> None:
    other = native_lab.region("global").admin_dsn
    run_sql(other, "CREATE ROLE only_global")
    run_sql(other, "CREATE DATABASE fix_roles")
    reference = other.replace("/account", "/fix_roles")
    run_sql(reference, BASE)
    run_sql(reference, "GRANT SELECT ON people TO only_global; CREATE INDEX people_name ON people (name)")
    done = check((reference, regions[1]), "--apply")
    assert done.returncode == 1, done.stderr
    assert "left: table public.people: there is no role only_global to grant anything to" in done.stderr
    assert value(regions[1], "SELECT to_regclass('public.people_name') IS NOT NULL")


def test_a_plan_for_another_state_is_refused(regions: tuple[str, str]) -> None:
    change(regions[0], WIDER)
    with connect(regions[1], autocommit=True) as conn:
        wanted, target = fixing.structure(regions[0]), read_structure(conn)
        fix = plan_fix(wanted, target, read_facts(conn))
        change(regions[1], "ALTER TABLE people ADD meanwhile text")
        before = fixing.structure(regions[1])
        with pytest.raises(Refused, match="the structure has changed"):
            apply(conn, target, wanted, fix)
    assert fixing.structure(regions[1]) == before


def test_a_lock_that_is_taken_is_waited_for(regions: tuple[str, str]) -> None:
    change(regions[0], "CREATE INDEX people_name ON people (name)")
    waited = threading.Event()
    with connect(regions[1], autocommit=True) as conn, connect(regions[1]) as holder:
        wanted, target = fixing.structure(regions[0]), read_structure(conn)
        holder.execute("UPDATE people SET note = 'held'")

        def release(attempt: int) -> None:
            waited.set()
            holder.commit()

        done = apply(conn, target, wanted, plan_fix(wanted, target), on_wait=release)
    assert (done.attempts, waited.is_set()) == (2, True)
    assert fixing.structure(regions[1]) == wanted


@pytest.mark.pglogical
def test_a_structure_of_17_is_made_on_15_and_proven_there(regions: tuple[str, str], database_15: str) -> None:
    run_sql(database_15, "CREATE TABLE people (uuid uuid PRIMARY KEY DEFAULT gen_random_uuid(), name varchar(30))")
    run_sql(database_15, "INSERT INTO people (name) VALUES ('a'), ('b')")
    done = check((regions[0], database_15), "--apply")
    assert done.returncode == 0, done.stderr
    assert "proven on PostgreSQL 15" in done.stderr
    assert check((regions[0], database_15)).returncode == 0
    assert rows(database_15, "SELECT name FROM people ORDER BY name") == [("a",), ("b",)]
