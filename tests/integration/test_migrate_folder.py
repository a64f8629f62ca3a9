"""Migrations of a folder in one region: order, checksums, failures, what is in no transaction, locks, adoption."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path

import psycopg
import pytest

from accountdb.lab import Lab
from accountdb.migrations.files import shipped
from accountdb.pg.connect import connect
from proof.stepping import Orders
from proof.striking import Striker
from tests.conftest import BIN, Databases, as_role, eventually, migratectl, rows, run_sql, value
from tests.integration.migrating import APART, FIVE, write

LOG = """
    SELECT version, direction, regions, fingerprint_before <> fingerprint_after,
           lag(fingerprint_after) OVER (ORDER BY logged_at) IS NOT DISTINCT FROM fingerprint_before, logged_by
    FROM accountdb.migration_log WHERE series = 'folder' ORDER BY logged_at
"""
APPLIED = "SELECT version FROM accountdb.migration WHERE series = 'folder' ORDER BY 1"


def migrate(dsn: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return migratectl("migrate", "--dsn", dsn, "--dir", str(folder), *more)


def versions(dsn: str) -> list[int]:
    return [version for (version,) in rows(dsn, APPLIED)]


def test_a_folder_has_a_series_of_its_own_and_everything_is_logged(
    migrated: str, native_lab: Lab, tmp_path: Path
) -> None:
    dsn = as_role(migrated, native_lab.region("cn").app_dsn)
    folder = write(tmp_path / "m", FIVE)
    done = migrate(dsn, folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("version 5, 5 applied\n")
    assert versions(dsn) == [1, 2, 3, 4, 5]
    assert value(dsn, "SELECT public.twice(4)") == 8
    # Each file's structure before is the one after the file before it.
    assert [row[:4] for row in rows(dsn, LOG)] == [(n, "up", 1, True) for n in range(1, 6)]
    assert all(row[4] for row in rows(dsn, LOG)[1:])
    assert {row[5] for row in rows(dsn, LOG)} == {"account"}
    assert migratectl("version", "--dsn", dsn).stdout == f"{len(shipped())}\n"
    again = migrate(dsn, folder)
    assert (again.returncode, again.stderr) == (0, "version 5, nothing pending\n")
    down = migrate(dsn, folder, "--to", "2")
    assert (down.returncode, versions(dsn)) == (4, [1, 2, 3, 4, 5])
    down = migrate(dsn, folder, "--to", "2", "--allow-down")
    assert down.returncode == 0, down.stderr
    assert versions(dsn) == [1, 2]
    assert rows(dsn, LOG)[-1][1] == "down"


def test_a_file_that_fails_leaves_the_version_before_and_is_named_with_its_line(migrated: str, tmp_path: Path) -> None:
    folder = write(
        tmp_path / "m", {**FIVE, "0003_notes.up.sql": "CREATE TABLE public.notes (id integer);\n\nCREATE INDX x;"}
    )
    failed = migrate(migrated, folder)
    assert failed.returncode == 3
    assert "0001_tags up\n0002_color up\n" in failed.stderr
    assert 'error: migration 0003_notes up, line 3: syntax error at or near "INDX"' in failed.stderr
    assert versions(migrated) == [1, 2]
    assert value(migrated, "SELECT to_regclass('public.notes')") is None
    write(folder, FIVE)
    assert migrate(migrated, folder).returncode == 0
    assert versions(migrated) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"0002_color.up.sql": "SELECT 1;"}, 3, "migration 0002_color was changed after it was applied here"),
        (
            {"0002_color.up.sql": None, "0002_color.down.sql": None},
            3,
            "migration 0002_color is applied here and not in the folder",
        ),
        ({"0006_b.up.sql": "BEGIN; SELECT 1; COMMIT;"}, 2, "0006_b.up.sql, line 1: BEGIN in a migration"),
        ({"0006_b.up.sql": "SELECT 1;\n/* x */ ROLLBACK;"}, 2, "0006_b.up.sql, line 2: ROLLBACK in a migration"),
        ({"0006_b.up.sql": "\\i other.sql"}, 2, "0006_b.up.sql, line 1: \\i is a psql command"),
        ({"0006_b.up.sql": "SELECT 'x"}, 2, "0006_b.up.sql, line 1: a quote or comment that does not end"),
        ({"0006_b.down.sql": "SELECT 1"}, 2, "0006_b.down.sql has no up file"),
        ({"0005_c.up.sql": "SELECT 1"}, 2, "0005_c and 0005_view have the same number"),
        ({"99999999999999999999_c.up.sql": "SELECT 1"}, 2, "99999999999999999999 is no version"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused_and_nothing_runs(
    changing: tuple[str, Path], change: dict[str, str | None], status: int, message: str
) -> None:
    dsn, folder = changing
    for name, text in change.items():
        (folder / name).write_text(text) if text is not None else (folder / name).unlink()
    before = rows(dsn, "SELECT * FROM accountdb.migration_log")
    write(folder, {"0007_late.up.sql": "CREATE TABLE public.late ()"})
    failed = migrate(dsn, folder)
    assert failed.returncode == status, failed.stderr
    assert message in failed.stderr
    assert "hint: " in failed.stderr
    assert rows(dsn, "SELECT * FROM accountdb.migration_log") == before
    assert value(dsn, "SELECT to_regclass('public.late')") is None


@pytest.fixture(scope="module")
def five(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with all five files applied, for tests that only fail."""
    dsn = databases.migrated()
    done = migrate(dsn, write(tmp_path_factory.mktemp("five") / "m", FIVE))
    assert done.returncode == 0, done.stderr
    return dsn


@pytest.fixture
def changing(five: str, tmp_path: Path) -> tuple[str, Path]:
    return five, write(tmp_path / "m", FIVE)


def test_a_folder_that_is_none(migrated: str, tmp_path: Path) -> None:
    for folder, message in ((tmp_path / "none", "No such file"), (tmp_path, "there is no migration in it")):
        failed = migrate(migrated, folder)
        assert failed.returncode == 2
        assert message in failed.stderr
    (tmp_path / "0001_x.up.sql").write_bytes(b"SELECT '\xff'")
    failed = migrate(migrated, tmp_path)
    assert failed.returncode == 2
    assert "byte 8 is not UTF-8" in failed.stderr
    assert migratectl("migrate", "--dsn", migrated, "--adopt").returncode == 2


def test_a_file_that_came_in_late_is_named_and_needs_leave(migrated: str, tmp_path: Path) -> None:
    folder = write(
        tmp_path / "m", {"0010_a.up.sql": "CREATE TABLE public.a ()", "0030_c.up.sql": "CREATE TABLE public.c ()"}
    )
    assert migrate(migrated, folder).returncode == 0
    write(folder, {"0020_b.up.sql": "CREATE TABLE public.b ()"})
    refused = migrate(migrated, folder)
    assert refused.returncode == 4
    assert "0020_b came in below version 30, which is applied: out of order" in refused.stderr
    assert "--allow-out-of-order" in refused.stderr
    assert migrate(migrated, folder, "--allow-out-of-order").returncode == 0
    assert versions(migrated) == [10, 20, 30]
    failed = migrate(migrated, folder, "--to", "10", "--allow-down")
    assert failed.returncode == 2
    assert "there is no way down: 0030_c, 0020_b has no down file" in failed.stderr


# --- statement by statement ---------------------------------------------------------------------------------

BUILD = {
    "0001_t.up.sql": 'CREATE TABLE public."Odd ""t" (n integer, s text);',
    "0002_index.up.sql": APART
    + """
CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS $x$ SELECT 'a;b'; $x$;
CREATE UNIQUE INDEX CONCURRENTLY "N ix" ON public."Odd ""t" (n);
INSERT INTO public."Odd ""t" VALUES (100, public.f());
CREATE INDEX CONCURRENTLY IF NOT EXISTS second_idx ON ONLY public."Odd ""t" (s);
""",
}
INVALID = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
TABLE = 'public."Odd ""t"'


def test_an_index_that_fails_is_cleaned_and_the_file_goes_on_where_it_was(migrated: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", BUILD)
    assert migrate(migrated, folder, "--to", "1").returncode == 0
    run_sql(migrated, f"INSERT INTO {TABLE} VALUES (1, 'a'), (1, 'b')")
    failed = migrate(migrated, folder)
    assert failed.returncode == 3
    assert "0002_index up, line 4: could not create unique index" in failed.stderr
    assert value(migrated, INVALID) == 0
    assert versions(migrated) == [1]
    changed = {**BUILD, "0002_index.up.sql": BUILD["0002_index.up.sql"] + "SELECT 1;"}
    assert "was changed after 1 of its statements were done here" in migrate(migrated, write(folder, changed)).stderr
    run_sql(migrated, f"DELETE FROM {TABLE} WHERE s = 'b'")
    done = migrate(migrated, write(folder, BUILD))
    assert done.returncode == 0, done.stderr
    assert versions(migrated) == [1, 2]
    assert rows(migrated, f"SELECT * FROM {TABLE} ORDER BY 1") == [(1, "a"), (100, "a;b")]
    assert rows(migrated, "SELECT count(*) FROM accountdb.migration_progress") == [(0,)]


def test_an_index_that_a_killed_run_left_invalid_is_built_anew(migrated: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", BUILD)
    assert migrate(migrated, folder, "--to", "1").returncode == 0
    # It waits for this transaction, and is killed there: so its index stays invalid.
    with psycopg.connect(migrated) as other:
        other.execute(f"INSERT INTO {TABLE} VALUES (2, 'x')".encode())
        process = subprocess.Popen(
            [str(BIN / "migratectl"), "migrate", "--dsn", migrated, "--dir", str(folder)], stderr=subprocess.DEVNULL
        )
        eventually(lambda: value(migrated, INVALID) == 1, what="an index that is being built")
        process.kill()
        process.wait()
        run_sql(
            migrated,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'migratectl' AND datname = current_database() AND pid <> pg_backend_pid()",
        )
        other.commit()
    assert value(migrated, INVALID) == 1
    done = migrate(migrated, folder)
    assert done.returncode == 0, done.stderr
    assert value(migrated, INVALID) == 0
    assert value(migrated, "SELECT count(*) FROM pg_indexes WHERE indexname IN ('N ix', 'second_idx')") == 2
    assert value(migrated, f"SELECT count(*) FROM {TABLE} WHERE n = 100") == 1


def test_killed_at_every_step_a_file_in_no_transaction_runs_once(databases: Databases, tmp_path: Path) -> None:
    striker = Striker(tmp_path)
    folder = write(tmp_path / "m", BUILD)
    at, died = 0, 0
    while True:
        at += 7
        dsn = databases.migrated()
        words = ("migrate", "--dsn", dsn, "--dir", str(folder))
        ended = striker.run(Orders("migratectl", words, "kill", at, "", False, {}), lambda _: None)
        died += ended.status == -9
        again = migrate(dsn, folder)
        assert again.returncode == 0, (at, again.stderr)
        assert versions(dsn) == [1, 2], at
        assert value(dsn, f"SELECT count(*) FROM {TABLE}") == 1, at
        assert value(dsn, INVALID) == 0
        if ended.status != -9:
            break
    assert died >= 8


def test_an_index_without_a_name_is_refused(migrated: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {"0001_x.up.sql": APART + "CREATE INDEX CONCURRENTLY ON public.users (level);"})
    failed = migrate(migrated, folder)
    assert failed.returncode == 3
    assert "line 2: an index without a name cannot be found again" in failed.stderr


# --- locks --------------------------------------------------------------------------------------------------


def test_a_lock_that_is_held_for_long_is_named_and_nothing_changes(migrated: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {"0001_x.up.sql": "ALTER TABLE public.users ADD COLUMN x text"})
    with psycopg.connect(migrated, application_name="the report") as other:
        other.execute("LOCK TABLE public.users IN SHARE MODE")
        failed = migrate(migrated, folder, "--lock-timeout", "0.3", "--lock-wait", "3")
        assert failed.returncode == 3
        assert (
            "0001_x up, line 1: canceling statement due to lock timeout, tried for 3 s; it is held by process"
            in failed.stderr
        )
        assert f"{other.info.backend_pid} (postgres, the report, idle in transaction for " in failed.stderr
        assert "pg_terminate_backend" in failed.stderr
    assert versions(migrated) == []
    assert (
        value(migrated, "SELECT count(*) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = 'x'") == 0
    )


def test_a_lock_that_is_let_go_in_time_only_delays(migrated: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {"0001_x.up.sql": "ALTER TABLE public.users ADD COLUMN x text"})
    other = psycopg.connect(migrated)
    other.execute("SELECT 1 FROM public.users")
    threading.Timer(2.0, other.close).start()
    done = migrate(migrated, folder, "--lock-timeout", "0.2", "--lock-wait", "20")
    assert done.returncode == 0, done.stderr
    assert versions(migrated) == [1]


def test_a_plan_tells_hazards_and_rehearsed_the_locks_and_rewrites_and_changes_nothing(
    migrated: str, tmp_path: Path
) -> None:
    text = """ALTER TABLE public.users ADD COLUMN x integer;
CREATE INDEX x_idx ON public.users (x);
ALTER TABLE public.sessions ALTER COLUMN token TYPE varchar(200);
DROP TABLE public.subscriptions;
"""
    folder = write(tmp_path / "m", {"0001_x.up.sql": text, "0002_y.up.sql": APART + "VACUUM public.users;"})
    before = rows(migrated, "SELECT oid, relname, relfilenode FROM pg_class ORDER BY 1")
    plan = migrate(migrated, folder, "--plan")
    assert (plan.returncode, plan.stdout) == (1, "0001_x up\n0002_y up\n")
    assert "0001_x up, line 4: loses-data: " in plan.stderr
    found = json.loads(migrate(migrated, folder, "--plan", "--rehearse", "--json").stdout)["regions"][0]
    by_line = {(one["title"], one["line"]): one for one in found["rehearsed"]}
    locks = {
        key[1]: [(lock["table"], lock["mode"]) for lock in one["locks"]]
        for key, one in by_line.items()
        if key[0] == "0001_x up"
    }
    assert locks[1] == [("public.users", "AccessExclusiveLock")]
    assert locks[2] == [("public.users", "ShareLock")]
    assert ("public.sessions", "AccessExclusiveLock") in locks[3]
    assert ("public.subscriptions", "AccessExclusiveLock") in locks[4]
    assert by_line["0001_x up", 3]["rewritten"] == ["public.sessions"]
    assert by_line["0001_x up", 1]["rewritten"] == []
    assert [h["kind"] for h in by_line["0001_x up", 2]["hazards"]] == ["locks"]
    assert by_line["0002_y up", 2]["seconds"] is None
    shown = migrate(migrated, folder, "--plan", "--rehearse").stdout
    assert "    locks public.users in AccessExclusiveLock\n" in shown
    assert rows(migrated, "SELECT oid, relname, relfilenode FROM pg_class ORDER BY 1") == before
    assert versions(migrated) == []


# --- adoption -----------------------------------------------------------------------------------------------


def test_a_database_made_by_schema_sql_is_adopted_and_nothing_runs(database: str, tmp_path: Path) -> None:
    with connect(database, autocommit=True) as conn:
        conn.execute((Path(__file__).parents[2] / "account" / "sql" / "schema.sql").read_bytes())
        conn.execute("CREATE TABLE public.mine (id integer)")
    done = migratectl("migrate", "--dsn", database)
    assert done.returncode == 0
    newest = len(shipped())
    assert f"adopted: what stands here equals {shipped()[-1].title}, nothing was run" in done.stderr
    assert rows(database, "SELECT version, direction FROM accountdb.migration_log ORDER BY position") == [
        (n, "adopted") for n in range(1, newest + 1)
    ]
    assert migratectl("version", "--dsn", database).stdout == f"{newest}\n"


GOLANG = "CREATE TABLE public.schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)"


def test_a_database_of_golang_migrate_goes_on_from_its_version(migrated: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", FIVE)
    for name in ("0001_tags", "0002_color"):
        run_sql(migrated, FIVE[f"{name}.up.sql"])
    run_sql(migrated, GOLANG)
    run_sql(migrated, "INSERT INTO public.schema_migrations VALUES (2, false)")
    done = migrate(migrated, folder)
    assert done.returncode == 0, done.stderr
    assert "golang-migrate has noted version 2: its files are taken as applied" in done.stderr
    directions = "SELECT version, direction FROM accountdb.migration_log WHERE series = 'folder' ORDER BY version"
    assert rows(migrated, directions) == [(1, "adopted"), (2, "adopted"), (3, "up"), (4, "up"), (5, "up")]
    assert rows(migrated, "SELECT * FROM public.schema_migrations") == [(2, False)]


def test_a_dirty_database_of_golang_migrate_is_left_alone(database: str) -> None:
    run_sql(database, GOLANG)
    run_sql(database, "INSERT INTO public.schema_migrations VALUES (7, true)")
    failed = migratectl("migrate", "--dsn", database)
    assert failed.returncode == 3
    assert "golang-migrate left version 7 dirty" in failed.stderr
    assert value(database, "SELECT to_regnamespace('accountdb')") is None


def test_another_tools_table_of_that_name_is_none_of_ours(database: str) -> None:
    run_sql(database, "CREATE TABLE public.schema_migrations (version text PRIMARY KEY)")
    assert migratectl("migrate", "--dsn", database).returncode == 0


def test_a_database_without_history_is_adopted_at_the_version_that_it_equals(migrated: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", FIVE)
    for name in ("0001_tags", "0002_color", "0003_notes"):
        run_sql(migrated, FIVE[f"{name}.up.sql"])
    done = migrate(migrated, folder, "--adopt")
    assert done.returncode == 0, done.stderr
    assert "adopted: what stands here equals 0003_notes, nothing was run" in done.stderr
    assert versions(migrated) == [1, 2, 3, 4, 5]
    assert value(migrated, "SELECT to_regclass('public.names')") is not None


def test_a_database_that_equals_no_version_is_refused_with_what_is_nearest(migrated: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", FIVE)
    run_sql(migrated, FIVE["0001_tags.up.sql"] + "ALTER TABLE public.tags ADD COLUMN odd text")
    refused = migrate(migrated, folder, "--adopt")
    assert refused.returncode == 4
    assert "nearest is 0001_tags, with 1 differences: column public.tags.odd: extra" in refused.stderr
    assert versions(migrated) == []


def test_a_reset_says_that_the_folders_changes_of_account_tables_are_gone(migrated: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {"0001_phone.up.sql": "ALTER TABLE public.users ADD COLUMN phone text"})
    assert migrate(migrated, folder).returncode == 0
    done = migratectl("reset", "--dsn", migrated, "--yes")
    assert done.returncode == 0, done.stderr
    assert "warning: your own migrations: 0001_phone and those before it stay noted as applied" in done.stderr
    assert versions(migrated) == [1]
