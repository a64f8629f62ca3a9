"""One database against the schema that it should have."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from accountdb.drift.verify import compare_regions, verify
from accountdb.errors import ConnectError, UsageError
from accountdb.pg.dsn import with_params
from accountdb.sql import text
from tests.conftest import migratectl

pytest_plugins = ("tests.integration.conftest_drift",)


def run(dsn: str, script: str) -> str:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(script.encode())
    return dsn


@pytest.fixture(params=[pytest.param(15, marks=pytest.mark.pglogical), 17])
def shipped(request: pytest.FixtureRequest) -> str:
    dsn: str = request.getfixturevalue("database" if request.param == 17 else "database_15")
    return run(dsn, text("schema.sql"))


def test_a_fresh_database_is_clean_and_says_what_was_looked_at(shipped: str) -> None:
    report = verify(shipped)
    assert report.clean
    assert report.compared["table"] == 15
    assert report.compared["trigger"] == 11
    assert min(report.compared[kind] for kind in ("column", "constraint", "index", "function")) > 0
    assert report.not_compared


def test_a_database_that_lives_is_clean(shipped: str) -> None:
    run(
        shipped,
        "INSERT INTO public.users (username, password) SELECT 'u' || n, 'x' FROM generate_series(1, 50) AS n;"
        "UPDATE public.users SET level = 3; ANALYZE; REINDEX TABLE public.users;"
        "CREATE TABLE public.schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL);"
        "CREATE EXTENSION pgcrypto SCHEMA public",
    )
    report = verify(shipped)
    assert report.clean
    assert report.not_compared[0].what == "table public.schema_migrations"


@pytest.mark.parametrize("mode", ["pgsync", "native", pytest.param("pglogical", marks=pytest.mark.pglogical)])
def test_a_region_is_clean_after_migrate_and_init(mode: str, request: pytest.FixtureRequest) -> None:
    dsn: str = request.getfixturevalue("database_15" if mode == "pglogical" else "database")
    for arguments in (["migrate"], ["init", "--mode", mode, "--node", "node_cn"]):
        done = migratectl(*arguments, "--dsn", dsn)
        assert done.returncode == 0, done.stderr
    report = verify(dsn)
    assert report.findings == ()
    left_out = " ".join(each.what for each in report.not_compared)
    assert "function accountdb." in left_out
    run(dsn, "DROP EXTENSION IF EXISTS pglogical CASCADE")  # a worker that it started delays the lab's end


def test_drift_is_named(shipped: str) -> None:
    run(
        shipped,
        "ALTER TABLE public.users DISABLE TRIGGER trg_users_bump_version; DROP INDEX public.users_email_lower_uk;"
        "ALTER TABLE public.sessions ALTER token TYPE varchar(100); CREATE TABLE public.notes (id integer)",
    )
    report = verify(shipped)
    assert [(each.kind, each.name, report.change(each)) for each in report.findings] == [
        ("table", "notes", "extra"),
        ("column", "sessions.token", "changed"),
        ("index", "users.users_email_lower_uk", "missing"),
        ("trigger", "users.trg_users_bump_version", "changed"),
    ]


def test_an_empty_database_misses_schema_tables_and_functions_only(database: str) -> None:
    report = verify(database)
    assert {(each.kind, report.change(each)) for each in report.findings} == {
        ("schema", "missing"),
        ("table", "missing"),
        ("function", "missing"),
    }


def test_against_a_file(shipped: str, database: str, tmp_path: Path) -> None:
    wanted = tmp_path / "wanted.sql"
    wanted.write_text(text("schema.sql"), encoding="utf-8")
    assert verify(shipped, wanted).clean  # the packaged file needs no scratch database
    wanted.write_text("\ufeff" + text("schema.sql") + "ALTER TABLE public.users ADD phone text;\n", encoding="utf-8")
    report = verify(shipped, wanted, scratch_dsn=database)
    (finding,) = report.findings
    assert (finding.kind, finding.name, report.change(finding)) == ("column", "users.phone", "missing")


def test_a_broken_file_names_itself(database: str, tmp_path: Path) -> None:
    wanted = tmp_path / "broken.sql"
    wanted.write_text("SELECT 1;\nSELEC 2;\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"broken\.sql, line 2: syntax error"):
        verify(database, wanted)


def test_a_server_that_is_not_there(database: str) -> None:
    with pytest.raises(ConnectError):
        verify(with_params(database, dbname="gone"))


@pytest.mark.pglogical
def test_two_regions_on_two_versions(database: str, database_15: str) -> None:
    run(database, text("schema.sql"))
    run(database_15, text("schema.sql") + "ALTER TABLE public.users ALTER level SET DEFAULT 10;")
    with psycopg.connect(database) as a, psycopg.connect(database_15) as b:
        (drift,) = compare_regions(a, b)
        (difference,) = drift.differences
        assert (drift.name, difference.attribute, difference.expected, difference.found) == (
            "users.level",
            "default",
            "20",
            "10",
        )
        assert compare_regions(a, b, ["accountdb"]) == []


def test_verify_writes_nothing(shipped: str) -> None:
    # Not by transaction numbers: autovacuum takes some too.
    assert verify(with_params(shipped, options="-c default_transaction_read_only=on")).clean
