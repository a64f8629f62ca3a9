"""A schema file is read in a scratch database, which is gone afterwards whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from accountdb.drift.canonical import load_canonical, main, read_from_sql
from accountdb.drift.compare import compare
from accountdb.drift.scratch import PREFIX, scratch_database
from accountdb.drift.structure import Identity
from accountdb.errors import AccountdbError, MissingRightError, UsageError
from accountdb.lab import Lab
from accountdb.pg.dsn import with_params
from accountdb.sql import text
from tests.conftest import as_role

pytest_plugins = ("tests.integration.conftest_drift",)


def scratches(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as conn:
        rows = conn.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", (f"{PREFIX}%",)).fetchall()
    return [row[0] for row in rows]


@pytest.fixture(autouse=True)
def nothing_is_left(database: str) -> Iterator[None]:
    yield
    assert scratches(database) == []


@pytest.fixture
def ordinary(database: str, native_lab: Lab) -> str:
    """The same database as the role that owns it and has no other right."""
    return as_role(database, native_lab.region("cn").app_dsn)


@pytest.fixture
def may_create(database: str, ordinary: str) -> Iterator[str]:
    """The same with the right to create databases."""
    role = sql.Identifier(str(conninfo_to_dict(ordinary)["user"]))
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(sql.SQL("ALTER ROLE {} CREATEDB").format(role))
        yield ordinary
        conn.execute(sql.SQL("ALTER ROLE {} NOCREATEDB").format(role))


def test_a_file_is_read_as_psql_would_run_it(database: str) -> None:
    script = """
    SET transaction_timeout = 0; SET a_setting_of_a_newer_server = 0;
    \\restrict x
    BEGIN;
    CREATE TABLE public.users (id integer);
    COMMIT;
    CREATE INDEX CONCURRENTLY users_id ON public.users (id);
    DO $$ BEGIN CREATE TABLE public.other (id integer); END $$;
    SET search_path = nowhere; SET default_transaction_read_only = on;
    """.replace("    \\", "\\")
    structure = read_from_sql(database, script)
    assert structure.counts() == {"schema": 1, "extension": 1, "table": 2, "column": 2, "index": 1}
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT to_regclass('public.users')").fetchone() == (None,)


def test_what_is_local_to_the_server_is_not_in_it(database: str) -> None:
    with psycopg.connect(with_params(database, dbname="template1"), autocommit=True) as conn:
        conn.execute("CREATE TABLE public.local (id integer)")
        try:
            assert {one.kind for one in read_from_sql(database, "").objects} == {"schema", "extension"}
        finally:
            conn.execute("DROP TABLE public.local")


def test_text_of_every_language_is_kept(database: str) -> None:
    structure = read_from_sql(database, "CREATE TYPE public.role AS ENUM ('用户', 'é');")
    assert structure.objects[Identity("enum", "public", "role")]["labels"] == "'用户', 'é'"


@pytest.mark.parametrize(
    ("script", "line", "message"),
    [
        ("CREATE TABLE a (id integer);\n\nCREATE TABEL b ();\n", 3, 'syntax error at or near "TABEL"'),
        ("CREATE TABLE a (\n  id integer,\n  x nosuchtype\n);", 3, 'type "nosuchtype" does not exist'),
        ("SELECT 1;\nDROP TABLE gone;", 2, 'table "gone" does not exist'),
        ("\n\nDO $$ BEGIN\n RAISE EXCEPTION 'no %', 1;\nEND $$;", 3, "no 1"),
        ("CREATE TABLE a ();\nCREATE TABLE a ();", 2, 'relation "a" already exists'),
        ("SELECT :name;", 1, 'syntax error at or near ":"'),
        ("SET ROLE nobody_here;", 1, 'role "nobody_here" does not exist'),
        ("BEGIN;\nSELECT 1;\nVACUUM;", 3, "VACUUM cannot run inside a transaction block"),
    ],
)
def test_a_broken_file_is_told_in_one_line(database: str, script: str, line: int, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_from_sql(database, script, name="wanted.sql")
    assert caught.value.message.startswith(f"wanted.sql, line {line}: {message}")
    assert "\n" not in caught.value.message


def test_a_transaction_that_is_not_ended(database: str) -> None:
    with pytest.raises(UsageError, match="ends inside a transaction"):
        read_from_sql(database, "BEGIN; CREATE TABLE a ();")


def test_a_file_that_ends_its_own_session(database: str) -> None:
    with pytest.raises(AccountdbError, match="terminating connection"):
        read_from_sql(database, "SELECT pg_terminate_backend(pg_backend_pid());")


def test_a_role_that_may_not_create_a_database(ordinary: str) -> None:
    with pytest.raises(MissingRightError, match="role account may not create") as caught:
        read_from_sql(ordinary, "CREATE TABLE public.users ();")
    assert 'ALTER ROLE "account" CREATEDB' in str(caught.value.hint)


def test_the_packaged_schema_needs_no_right(ordinary: str) -> None:
    assert read_from_sql(ordinary, text("schema.sql")) is load_canonical()


def test_a_role_that_may_create_a_database_needs_nothing_more(may_create: str) -> None:
    changed = text("schema.sql") + "CREATE TABLE public.notes (id integer);\n"
    (drift,) = compare(load_canonical(), read_from_sql(may_create, changed))
    assert (drift.name, drift.change) == ("notes", "extra")


def test_a_right_that_the_file_needs(database: str, may_create: str) -> None:
    admin = conninfo_to_dict(database)["user"]
    with pytest.raises(MissingRightError, match=r"^f\.sql, line 2: ") as caught:
        read_from_sql(may_create, f"CREATE TABLE public.a ();\nALTER TABLE public.a OWNER TO {admin};", name="f.sql")
    assert "--no-owner" in str(caught.value.hint)


def test_the_scratch_database_is_dropped_although_someone_is_in_it(database: str) -> None:
    with scratch_database(database) as scratch:
        stays = psycopg.connect(scratch)
    assert scratches(database) == []
    stays.close()


def test_the_first_failure_is_told_when_dropping_fails_too(database: str) -> None:
    class OtherError(Exception):
        pass

    def fail(dsn: str) -> None:
        with psycopg.connect(dsn, autocommit=True) as conn:
            name = sql.Identifier(scratches(database)[0])
            conn.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE true").format(name))
        raise OtherError

    with pytest.raises(OtherError) as caught, scratch_database(database):
        fail(database)
    assert "is left behind" in caught.value.__notes__[0]
    with psycopg.connect(database, autocommit=True) as conn:
        name = sql.Identifier(scratches(database)[0])
        conn.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(name))
        conn.execute(sql.SQL("DROP DATABASE {}").format(name))


def test_an_interrupt_leaves_nothing(database: str) -> None:
    program = (
        "import sys; from accountdb.drift.canonical import read_from_sql;"
        "read_from_sql(sys.argv[1], 'SELECT pg_sleep(60);')"
    )
    process = subprocess.Popen([sys.executable, "-c", program, database], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not sleeping(database):
            time.sleep(0.05)
        assert scratches(database)
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert b"KeyboardInterrupt" in errors
    assert scratches(database) == []


def sleeping(dsn: str) -> bool:
    with psycopg.connect(dsn) as conn:
        found = conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND datname LIKE %s",
            (f"{PREFIX}%",),
        ).fetchone()
    return found != (0,)


def test_regenerating_gives_the_shipped_file(database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "canonical.json"
    assert main([database, str(path)]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert path.read_text(encoding="utf-8") == text("drift/canonical.json")


@pytest.mark.pglogical
def test_nothing_is_made_where_it_could_not_be_dropped(database_15: str) -> None:
    with psycopg.connect(database_15) as conn:
        (version,) = conn.execute(
            "SELECT default_version FROM pg_available_extensions WHERE name = 'pglogical'"
        ).fetchone() or ("none",)
    if version not in ("2.4.2", "2.4.3", "2.4.4", "2.4.5"):
        pytest.skip(f"pglogical {version} lets databases be dropped")
    with pytest.raises(AccountdbError, match=f"pglogical {version} on this server keeps DROP DATABASE waiting"):
        read_from_sql(database_15, "CREATE TABLE public.a ();")
    assert scratches(database_15) == []
