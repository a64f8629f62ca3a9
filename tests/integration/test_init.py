"""``migratectl init`` and ``create-user``: what each role can do, what it says, what is left for an administrator."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from accountdb.contract.row_contract import ACCOUNT_TABLES
from accountdb.lab import Lab
from accountdb.migrations.files import shipped
from accountdb.pg.connect import connect
from accountdb.pg.dsn import with_params
from tests.conftest import Databases, as_role, eventually, migratectl, rows, run_sql, value

pytest_plugins = ("tests.integration.conftest_drift",)

BUSINESS = "business app"  # quoted wherever it is named
GUARDS = "SELECT count(*) FROM pg_trigger WHERE tgname = 'accountdb_guard' AND tgenabled = 'R'"
OWNERS = """
    SELECT DISTINCT pg_get_userbyid(c.relowner) FROM pg_class AS c
    WHERE c.relnamespace IN ('public'::regnamespace, 'accountdb'::regnamespace) AND c.relkind = 'r'
"""


@dataclass(frozen=True)
class Region:
    """One empty database: as the superuser, and as the ordinary role that owns it."""

    admin: str
    ordinary: str

    def init(self, role: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """``migratectl init`` by ``admin`` or ``ordinary``; it always ends well here."""
        done = migratectl("init", "--dsn", getattr(self, role), *arguments, env=env)
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        for dsn in (self.admin, self.ordinary):
            assert str(conninfo_to_dict(dsn)["password"]) not in done.stderr
        return done

    @property
    def node(self) -> tuple[object, ...]:
        """Name and mode in the table, and the name that a new session writes with."""
        return rows(self.admin, "SELECT n.name, n.mode, accountdb.node_name() FROM accountdb.node AS n")[0]


def lines(done: subprocess.CompletedProcess[str], outcome: str) -> list[str]:
    """The steps that ended like that: done, ok, warning, hint."""
    return [line.partition(": ")[2] for line in done.stderr.splitlines() if line.startswith(f"{outcome}: ")]


@pytest.fixture
def region(database: str, native_lab: Lab) -> Region:
    """An empty database on PostgreSQL 17."""
    return Region(database, as_role(database, native_lab.region("cn").app_dsn))


@pytest.fixture
def region_15(database_15: str, pglogical_lab: Lab) -> Iterator[Region]:
    """An empty database on PostgreSQL 15 with pglogical to be had; its worker is gone after the test."""
    yield Region(database_15, as_role(database_15, pglogical_lab.region("cn").app_dsn))
    run_sql(database_15, "DROP EXTENSION IF EXISTS pglogical")


@pytest.fixture
def business(native_lab: Lab) -> str:
    """A role without any right, on the native lab's first server."""
    run_sql(native_lab.region("cn").admin_dsn, make_role())
    return BUSINESS


def make_role() -> str:
    return f"""
        DO $$ BEGIN
            IF to_regrole('"{BUSINESS}"') IS NULL THEN CREATE ROLE "{BUSINESS}" LOGIN PASSWORD 'x'; END IF;
        END $$
    """


@pytest.mark.parametrize("role", ["admin", "ordinary"])
@pytest.mark.parametrize("mode", ["pgsync", "native"])
def test_init_prepares_a_database_and_again_changes_nothing(region: Region, role: str, mode: str) -> None:
    done = region.init(role, "--mode", mode, "--node", "node_cn")
    assert f"schema: version 0 -> {len(shipped())}" in lines(done, "done")
    assert "row contract: every table of public is under it" in lines(done, "ok")
    assert lines(done, "warning") == []
    assert region.node == ("node_cn", mode, "node_cn")
    assert value(region.admin, GUARDS) == (len(ACCOUNT_TABLES) if mode == "native" else 0)
    assert rows(region.admin, OWNERS) == [("account",)]
    again = region.init(role, "--mode", mode, "--node", "node_cn")
    assert (lines(again, "done"), lines(again, "warning")) == ([], [])
    assert len(lines(again, "ok")) == 4


def test_the_mode_comes_from_the_environment_and_is_pgsync_without_it(region: Region) -> None:
    region.init("ordinary")
    assert region.node == (None, "pgsync", "local")
    region.init("ordinary", REPLICATION_MODE="native")
    assert region.node == (None, "native", "local")


@pytest.mark.parametrize("way", ["option", "environment"])
def test_an_administrator_does_what_an_ordinary_role_may_not(region: Region, way: str) -> None:
    admin = conninfo_to_dict(region.admin)
    arguments = ("--admin-dsn", region.admin) if way == "option" else ()
    env = {} if arguments else {"DB_ADMIN_USER": str(admin["user"]), "DB_ADMIN_PASS": str(admin["password"])}
    done = region.init("ordinary", "--mode", "native", "--node", "node_cn", *arguments, **env)
    assert "node name: node_cn (setting pglogical.node_name and accountdb.node)" in lines(done, "done")
    setting = "SELECT setconfig FROM pg_db_role_setting JOIN pg_database ON oid = setdatabase"
    assert rows(region.admin, f"{setting} WHERE datname = current_database()") == [(["pglogical.node_name=node_cn"],)]
    assert rows(region.admin, OWNERS) == [("account",)]


def test_an_administrator_of_another_database_is_refused(region: Region, databases: Databases) -> None:
    other = databases.empty()
    done = migratectl("init", "--dsn", region.ordinary, "--admin-dsn", other, "--mode", "native", "--node", "node_cn")
    assert done.returncode in (2, 4), done.stderr
    assert "--admin-dsn" in done.stderr
    assert (
        rows(
            other,
            "SELECT FROM pg_db_role_setting JOIN pg_database ON oid = setdatabase AND datname = %s",
            dbname(other),
        )
        == []
    )


def dbname(dsn: str) -> str:
    return str(conninfo_to_dict(dsn)["dbname"])


def test_a_node_name_changes_everywhere_or_says_where_it_did_not(region: Region) -> None:
    region.init("admin", "--mode", "native", "--node", "node_old")
    region.init("admin", "--mode", "native", "--node", "node_new")
    assert region.node == ("node_new", "native", "node_new")
    # An ordinary role cannot change the setting that the administrator has made.
    done = region.init("ordinary", "--mode", "native", "--node", "node_other")
    assert len(lines(done, "warning")) == 1
    assert "pglogical.node_name = node_new comes first" in lines(done, "warning")[0]
    assert "--admin-dsn" in lines(done, "hint")[0]
    region.init("ordinary", "--mode", "native", "--node", "node_other", "--admin-dsn", region.admin)
    assert region.node == ("node_other", "native", "node_other")


def test_name_and_mode_stay_while_the_region_is_joined(region: Region) -> None:
    region.init("admin", "--mode", "native", "--node", "node_cn")
    run_sql(region.admin, "INSERT INTO accountdb.pending_subscription (name, mode) VALUES ('sub', 'native')")
    for arguments in (["--mode", "native", "--node", "node_other"], ["--mode", "pgsync"], ["--mode", "pglogical"]):
        refused = migratectl("init", "--dsn", region.admin, *arguments)
        assert refused.returncode == 2
        assert "error: this region has joined as node_cn in mode native" in refused.stderr
        assert "hint: migratectl region leave first" in refused.stderr
    assert region.node == ("node_cn", "native", "node_cn")
    assert lines(region.init("admin", "--mode", "native", "--node", "node_cn"), "done") == []


def test_a_guard_that_was_lost_comes_back(region: Region) -> None:
    region.init("ordinary", "--mode", "native")
    run_sql(
        region.ordinary, "DROP TRIGGER accountdb_guard ON users; ALTER TABLE sessions DISABLE TRIGGER accountdb_guard"
    )
    run_sql(region.ordinary, "COMMENT ON TRIGGER accountdb_guard ON identities IS 'accountdb guard 0123456789abcdef'")
    done = region.init("ordinary", "--mode", "native")
    assert lines(done, "done") == ["guards: identities, sessions, users"]
    assert value(region.admin, GUARDS) == len(ACCOUNT_TABLES)


def test_a_table_outside_the_row_contract_is_told_and_left_alone(region: Region) -> None:
    run_sql(region.ordinary, "CREATE TABLE public.audit (id bigserial PRIMARY KEY, what text)")
    done = region.init("ordinary", "--mode", "native", "--node", "node_cn")
    assert len(lines(done, "warning")) == 1
    assert lines(done, "warning")[0].startswith("row contract: public.audit: its primary key is (id), not (uuid);")
    assert value(region.admin, GUARDS) == len(ACCOUNT_TABLES)


DENIED = psycopg.errors.InsufficientPrivilege


def assert_business_rights(admin: str) -> None:
    """The business role writes account tables, under the row contract, and can do nothing else."""
    with connect(admin, autocommit=True) as conn:
        conn.execute(f'SET SESSION AUTHORIZATION "{BUSINESS}"'.encode())
        conn.execute("INSERT INTO users (username, password) VALUES ('ann', 'x')")
        conn.execute("INSERT INTO sessions (token, expires_at, user_uuid) SELECT 't', now(), uuid FROM users")
        conn.execute("UPDATE users SET level = 5")
        assert conn.execute("SELECT version, origin_node FROM users").fetchall() == [(1, "node_cn")]
        conn.execute("CREATE TEMPORARY TABLE mine (a int); DROP TABLE mine")
        conn.execute("DELETE FROM users")
        assert conn.execute("SELECT count(*) FROM sessions").fetchone() == (0,)
        for forbidden in (
            "SELECT FROM accountdb.conflict",
            "SELECT accountdb.record_conflict('a', 'b', 'c', gen_random_uuid(), 'd', '{}', '{}')",
            "UPDATE accountdb.node SET name = 'node_evil'",
            "INSERT INTO accountdb.pending_subscription (name, mode) VALUES ('s', 'native')",
            "SELECT FROM accountdb.migration",
            "TRUNCATE users",
            "ALTER TABLE users DISABLE TRIGGER ALL",
            "CREATE TABLE public.mine (a int)",
            "SET session_replication_role = 'replica'",
        ):
            with pytest.raises(DENIED):
                conn.execute(forbidden.encode())


@pytest.mark.parametrize("role", ["admin", "ordinary"])
def test_the_business_role_gets_what_it_needs_and_no_more(region: Region, business: str, role: str) -> None:
    done = region.init(role, "--mode", "native", "--node", "node_cn", "--grant-to", business)
    granted = f"grants: {business}: SELECT, INSERT, UPDATE, DELETE on"
    assert any(line.startswith(granted) for line in lines(done, "done"))
    assert_business_rights(region.admin)
    again = region.init(role, "--mode", "native", "--node", "node_cn", "--grant-to", business)
    assert f"grants: {business} has what it needs" in lines(again, "ok")


@pytest.mark.pglogical
def test_pglogical_as_superuser(region_15: Region) -> None:
    run_sql(region_15.admin, make_role())
    arguments = ("--mode", "pglogical", "--node", "node_cn", "--grant-to", BUSINESS)
    done = region_15.init("admin", *arguments)
    assert "pglogical: extension and rights" in lines(done, "done")
    assert lines(done, "warning") == []
    assert region_15.node == ("node_cn", "pglogical", "node_cn")
    assert_business_rights(region_15.admin)
    with connect(region_15.admin, autocommit=True) as conn:
        conn.execute(f'SET SESSION AUTHORIZATION "{BUSINESS}"'.encode())
        assert conn.execute("SELECT * FROM accountdb.subscription_states()").fetchall() == []
        for forbidden in (
            "SELECT FROM pglogical.node_interface",
            "SELECT FROM pglogical.subscription",
            "SELECT * FROM pglogical.show_subscription_status()",
            "SELECT pglogical.alter_subscription_disable('sub', true)",
            "SELECT pglogical.create_node('evil', 'host=evil')",
            "CREATE EXTENSION pglogical_origin",
        ):
            with pytest.raises((DENIED, psycopg.errors.FeatureNotSupported)):
                conn.execute(forbidden.encode())
    again = region_15.init("admin", *arguments)
    assert (lines(again, "done"), lines(again, "warning")) == ([], [])


@pytest.mark.pglogical
def test_pglogical_as_an_ordinary_role_and_then_an_administrator(region_15: Region) -> None:
    arguments = ("--mode", "pglogical", "--node", "node_cn")
    first = region_15.init("ordinary", *arguments)
    warning, hint = lines(first, "warning"), lines(first, "hint")
    assert warning == ["pglogical: extension pglogical not created: role account is no superuser"]
    assert "CREATE EXTENSION pglogical;" in hint[0]
    assert f"schema: version 0 -> {len(shipped())}" in lines(first, "done")
    assert value(region_15.admin, GUARDS) == len(ACCOUNT_TABLES)
    assert region_15.node == ("node_cn", "pglogical", "node_cn")

    second = region_15.init("admin", *arguments)
    assert "pglogical: extension and rights" in lines(second, "done")
    assert lines(second, "warning") == []
    for role in ("admin", "ordinary"):
        again = region_15.init(role, *arguments)
        assert (lines(again, "done"), lines(again, "warning")) == ([], []), role
    assert region_15.node == ("node_cn", "pglogical", "node_cn")


@pytest.mark.pglogical
def test_pglogical_with_an_administrator_beside_the_ordinary_role(region_15: Region) -> None:
    done = region_15.init("ordinary", "--mode", "pglogical", "--node", "node_cn", "--admin-dsn", region_15.admin)
    assert "pglogical: extension and rights" in lines(done, "done")
    assert lines(done, "warning") == []
    assert rows(region_15.admin, OWNERS) == [("account",)]


LOGGED = "SELECT pg_read_file(current_setting('data_directory') || '/' || pg_current_logfile())"


def test_create_user_never_lets_the_password_into_the_log(region: Region) -> None:
    region.init("ordinary", "--mode", "native", "--node", "node_cn")
    with connect(region.admin, autocommit=True) as conn:
        conn.execute(f"ALTER DATABASE \"{dbname(region.admin)}\" SET log_statement = 'all'".encode())
        conn.execute(f'DROP ROLE IF EXISTS "{BUSINESS} two"'.encode())
    admin = conninfo_to_dict(region.admin)
    env = {"DB_ADMIN_USER": str(admin["user"]), "DB_ADMIN_PASS": str(admin["password"]), "DB_USER": f"{BUSINESS} two"}
    for password, verb in (("QXZW 'geheim\" 密码", "created"), ("QXZW-neu%41", "changed")):
        done = migratectl("create-user", "--dsn", region.ordinary, env={**env, "DB_PASS": password})
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert f"role: {BUSINESS} two {verb}" in lines(done, "done")
        assert "QXZW" not in done.stderr
        business = with_params(region.admin, user=env["DB_USER"], password=password)
        assert value(business, "SELECT count(*) FROM users") == 0
        with pytest.raises(DENIED):
            rows(business, "SELECT FROM accountdb.conflict")
    statements = eventually(lambda: "ALTER ROLE" in (log := str(value(region.admin, LOGGED))) and log, what="the log")
    assert f'CREATE ROLE "{BUSINESS} two"' in str(statements)
    assert "SCRAM-SHA-256$" in str(statements)
    assert "QXZW" not in str(statements)


def test_create_user_before_the_schema_is_told_what_is_left(region: Region) -> None:
    run_sql(region.admin, 'DROP ROLE IF EXISTS "early"')
    done = migratectl("create-user", "--dsn", region.admin, "--user", "early", env={"DB_PASS": "x-y-z"})
    assert done.returncode == 0
    assert "role: early created" in lines(done, "done")
    assert any("init --grant-to" in line for line in lines(done, "ok"))
