"""Every target of account/Makefile, with the guide's variables: what it does, what it says, what it hides."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from accountdb.contract.row_contract import ACCOUNT_TABLES
from accountdb.lab import Lab
from accountdb.migrations.files import shipped
from accountdb.pg.connect import connect
from accountdb.pg.dsn import with_params
from tests.conftest import BIN, Databases, as_role, eventually, migratectl, rows, run_sql, value
from tests.integration.snapshots import register

pytest_plugins = ("tests.integration.conftest_drift",)

ACCOUNT = Path(__file__).parents[2] / "account"
PASSWORD = "QX$ZW$$1'"  # a password that make and a shell would change, if they got hold of it
TARGETS = {
    "init-db": ("DB_URL",),
    "init-pglogical-region": ("REGION_DB_URL", "NODE_NAME", "NODE_DSN", "SUBSCRIPTION_NAME", "PROVIDER_DSN"),
    "init-pglogical-region-cn": ("REGION_DB_URL", "NODE_DSN", "PROVIDER_DSN"),
    "init-pglogical-region-global": ("REGION_DB_URL", "NODE_DSN", "PROVIDER_DSN"),
    "migrate-db": ("DB_URL",),
    "create-db-user": ("DB_URL", "DB_USER", "DB_PASS"),
    "dump-schema": ("DB_URL",),
    "account-export": ("DB_URL",),
    "account-import": ("DB_URL",),
}
OURS = {name for names in TARGETS.values() for name in names} | {"REPLICATION_MODE", "DB_ADMIN_USER", "DB_ADMIN_PASS"}
NOWHERE = f"postgresql://account:{PASSWORD}@127.0.0.1:1/account"


class Make:
    """``make -C account``, with programs that note how they were called, which ``ps`` would show."""

    def __init__(self, folder: Path, pg_dump: Path) -> None:
        """``folder`` is the test's own."""
        self._called = folder / "called"
        self._programs = []
        for name, program in (("MIGRATECTL", BIN / "migratectl"), ("PG_DUMP", pg_dump)):
            script = folder / name
            script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$0" "$@" >> "{self._called}"\nexec "{program}" "$@"\n')
            script.chmod(0o755)
            self._programs.append(f"{name}={script}")

    def __call__(self, target: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a target with ``variables`` in the environment; no password may be seen anywhere."""
        clean = {k: v for k, v in os.environ.items() if k not in OURS and "MAKE" not in k and k != "MFLAGS"}
        done = subprocess.run(
            ["make", "--no-print-directory", "-C", str(ACCOUNT), target, *self._programs, *arguments],
            env={**clean, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        secrets = {PASSWORD, "QX$", "ZW"} | {v for k, v in variables.items() if k.endswith("PASS")}
        for dsn in (v for k, v in variables.items() if k.endswith(("URL", "DSN")) and "password=" in v):
            secrets.add(str(conninfo_to_dict(dsn)["password"]))
        for secret in secrets:
            assert secret not in done.stdout + done.stderr
            assert secret not in self.called
        return done

    @property
    def called(self) -> str:
        """The programs that were run and their arguments, one a line."""
        return self._called.read_text() if self._called.exists() else ""


@pytest.fixture
def make(tmp_path: Path, native_lab: Lab) -> Make:
    """Makes a target; pg_dump is that of the lab's servers."""
    return Make(tmp_path, native_lab.bin_dir / "pg_dump")


@pytest.fixture
def ordinary(database: str, native_lab: Lab) -> str:
    """An empty database, as the ordinary role that owns it."""
    return as_role(database, native_lab.region("cn").app_dsn)


def test_help_names_every_target(make: Make) -> None:
    said = make("help").stdout
    for target, variables in TARGETS.items():
        line = next(line for line in said.splitlines() if line.split()[:2] == ["make", target])
        assert all(f"{name}=" in line for name in variables)


@pytest.mark.parametrize(("target", "missing"), [(t, name) for t, names in TARGETS.items() for name in names])
def test_a_missing_variable_is_named_and_nothing_is_run(make: Make, target: str, missing: str) -> None:
    given = {name: NOWHERE if name.endswith(("URL", "DSN")) else "x" for name in TARGETS[target] if name != missing}
    done = make(target, **given)
    assert done.returncode == 2
    assert f"{missing} is not set; see: make -C account help" in done.stderr
    assert make.called == ""


@pytest.mark.parametrize("target", TARGETS)
def test_what_make_would_run_shows_no_secret(make: Make, target: str) -> None:
    given = {name: NOWHERE if name.endswith(("URL", "DSN")) else PASSWORD for name in TARGETS[target]}
    assert make(target, "--dry-run", **given).returncode == 0


@pytest.mark.parametrize("mode", ["", "pgsync", "native"])
def test_init_db(make: Make, database: str, ordinary: str, mode: str) -> None:
    variables = {"REPLICATION_MODE": mode} if mode else {}
    for _ in range(2):
        assert make("init-db", DB_URL=ordinary, **variables).returncode == 0
    assert value(database, "SELECT mode FROM accountdb.node") == (mode or "pgsync")
    assert value(database, "SELECT count(*) FROM accountdb.migration") == len(shipped())


def test_variables_are_taken_from_the_command_line_too(make: Make, database: str) -> None:
    done = make("init-db", f"DB_URL={database}", "REPLICATION_MODE=native")
    assert done.returncode == 0, done.stderr
    assert value(database, "SELECT mode FROM accountdb.node") == "native"


def test_init_db_in_an_unknown_mode(make: Make, database: str) -> None:
    done = make("init-db", DB_URL=database, REPLICATION_MODE="both")
    assert done.returncode == 2
    assert "error: unknown mode 'both'" in done.stderr
    assert value(database, "SELECT to_regnamespace('accountdb')") is None


def test_init_db_with_an_administrator(make: Make, database: str, ordinary: str) -> None:
    assert make("init-db", DB_URL=ordinary, REPLICATION_MODE="native").returncode == 0
    assert migratectl("init", "--dsn", ordinary, "--mode", "native", "--node", "node_cn").returncode == 0
    admin = {"DB_ADMIN_USER": str(conninfo_to_dict(database)["user"])}
    admin["DB_ADMIN_PASS"] = str(conninfo_to_dict(database)["password"])
    done = make("init-db", DB_URL=ordinary, REPLICATION_MODE="native", **admin)
    assert "node name: node_cn (setting pglogical.node_name and accountdb.node)" in done.stderr


def test_migrate_db(make: Make, database: str) -> None:
    done = make("migrate-db", DB_URL=database)
    assert done.returncode == 0
    assert f"version {len(shipped())}, {len(shipped())} applied" in done.stderr
    assert "nothing pending" in make("migrate-db", DB_URL=database).stderr


def test_an_error_of_migratectl_is_shown_and_fails_the_target(make: Make) -> None:
    done = make("migrate-db", DB_URL=NOWHERE)
    assert done.returncode == 2
    assert "error: --dsn: cannot connect to account@127.0.0.1:1/account" in done.stderr
    assert "hint: " in done.stderr


def test_create_db_user_and_the_password_arrives_as_it_is(make: Make, migrated: str) -> None:
    run_sql(migrated, "DROP ROLE IF EXISTS made_by_make")
    done = make("create-db-user", DB_URL=migrated, DB_USER="made_by_make", DB_PASS=PASSWORD)
    assert done.returncode == 0, done.stderr
    made = with_params(migrated, user="made_by_make", password=PASSWORD)
    run_sql(made, "INSERT INTO users (username, password) VALUES ('ann', 'x')")
    assert value(made, "SELECT count(*) FROM users") == 1


def test_a_connection_string_gets_through_make_and_the_shell_as_it_is(make: Make, database: str) -> None:
    with connect(database, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS odd_boss; CREATE ROLE odd_boss SUPERUSER LOGIN")
        conn.execute(sql.SQL("ALTER ROLE odd_boss PASSWORD {}").format(sql.Literal(PASSWORD)))
    done = make("migrate-db", DB_URL=with_params(database, user="odd_boss", password=PASSWORD))
    run_sql(database, "DROP ROLE odd_boss")
    assert done.returncode == 0, done.stderr


def test_dump_schema(make: Make, migrated: str, tmp_path: Path) -> None:
    target = tmp_path / "the schema.sql"
    done = make("dump-schema", f"SCHEMA_DUMP={target}", DB_URL=migrated)
    assert (done.returncode, done.stdout) == (0, f"{target}\n"), done.stderr
    dumped = target.read_text()
    assert all(f"CREATE TABLE public.{table} (" in dumped for table in ACCOUNT_TABLES)
    assert "COPY " not in dumped
    assert "OWNER TO" not in dumped


def test_account_export_and_account_import(make: Make, databases: Databases, tmp_path: Path) -> None:
    source, target = databases.migrated(), databases.migrated()
    users = [register(source, number) for number in range(4)]
    file = tmp_path / "the 'accounts' $HOME.yaml"
    # An address in the environment, as many people have one, chooses nobody.
    done = make("account-export", DB_URL=source, OUTPUT=str(file), EMAIL="u1@x.com")
    assert done.returncode == 0, done.stderr
    assert "users\t4\n" in done.stdout
    assert make("account-import", DB_URL=target, FILE=str(file), DRY_RUN="1").returncode == 0
    assert value(target, "SELECT count(*) FROM users") == 0
    done = make("account-import", DB_URL=target, FILE=str(file), MERGE_ALLOWLIST=f"{users[0]} {users[2]}")
    assert done.returncode == 0, done.stderr
    assert rows(target, "SELECT username FROM users ORDER BY 1") == [("u0",), ("u2",)]
    assert "--merge brings the snapshot in" in make("account-import", DB_URL=target, FILE=str(file), MERGE="0").stderr
    assert make("account-import", DB_URL=target, FILE=str(file), MERGE="1").returncode == 0
    run_sql(target, "UPDATE users SET level = 1")
    done = make("account-import", "MERGE_STRATEGY=replace", DB_URL=target, FILE=str(file))
    assert done.returncode == 0, done.stderr
    assert rows(target, "SELECT level, count(*) FROM users GROUP BY 1") == [(20, 4)]


def test_account_export_of_some(make: Make, migrated: str, tmp_path: Path) -> None:
    for number in range(3):
        register(migrated, number)
    file = tmp_path / "s.jsonl.gz"
    done = make("account-export", f"OUTPUT={file}", "EMAIL=u1@$$X", DB_URL=migrated)
    assert (done.returncode, "users\t0\n" in done.stdout) == (0, True), done.stderr
    done = make("account-export", f"OUTPUT={file}", "EMAIL=U1@", DB_URL=migrated)
    assert (done.returncode, "users\t1\n" in done.stdout) == (0, True), done.stderr
    assert "--email\nU1@\n" in make.called


@pytest.fixture
def two_15(database_15: str, pglogical_lab: Lab) -> Iterator[tuple[str, str]]:
    """Two empty databases on two servers with pglogical; streams and workers are gone after the test."""
    there = pglogical_lab.region("global").admin_dsn
    name = f"make_{conninfo_to_dict(database_15)['dbname']}"
    with connect(there, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    both = (database_15, with_params(there, dbname=name))
    yield both
    for dsn in (*both, both[0]):
        migratectl("region", "leave", "--dsn", dsn)
    for dsn in both:
        run_sql(dsn, "DROP EXTENSION IF EXISTS pglogical CASCADE")


@pytest.mark.pglogical
def test_the_regions_of_the_guide(make: Make, two_15: tuple[str, str]) -> None:
    cn, there = two_15
    for dsn in two_15:
        done = make("init-db", DB_URL=dsn, REPLICATION_MODE="pglogical")
        assert done.returncode == 0, done.stderr
        assert "pglogical: extension and rights" in done.stderr
    joins = (
        ("init-pglogical-region-cn", {"REGION_DB_URL": cn, "NODE_DSN": cn, "PROVIDER_DSN": there}),
        ("init-pglogical-region-global", {"REGION_DB_URL": there, "NODE_DSN": there, "PROVIDER_DSN": cn}),
    )
    for target, variables in joins:
        done = make(target, **variables)
        assert done.returncode == 0, done.stderr
    general = {**joins[0][1], "NODE_NAME": "node_cn", "SUBSCRIPTION_NAME": "sub_from_global"}
    again = make("init-pglogical-region", **general)
    assert again.returncode == 0
    assert "ok: subscription: sub_from_global" in again.stderr
    assert [value(dsn, "SELECT name FROM accountdb.node") for dsn in two_15] == ["node_cn", "node_global"]
    run_sql(cn, "INSERT INTO users (username, password) VALUES ('ann', 'x')")
    run_sql(there, "INSERT INTO users (username, password) VALUES ('李雷', 'x')")
    both = [[("ann", "node_cn"), ("李雷", "node_global")]] * 2
    written = "SELECT username, origin_node FROM users ORDER BY 1"
    eventually(lambda: [rows(dsn, written) for dsn in two_15] == both, what="both rows in both regions")


@pytest.mark.pglogical
def test_a_region_takes_the_names_that_it_is_given(make: Make, two_15: tuple[str, str]) -> None:
    for dsn in two_15:
        assert migratectl("init", "--dsn", dsn, "--mode", "pglogical").returncode == 0
    names = {"NODE_NAME": "node_shanghai", "SUBSCRIPTION_NAME": "sub_from_world"}
    place = {"REGION_DB_URL": two_15[0], "NODE_DSN": two_15[0], "PROVIDER_DSN": two_15[1]}
    done = make("init-pglogical-region-cn", **place, **names)
    assert done.returncode == 0, done.stderr
    assert value(two_15[0], "SELECT name FROM accountdb.node") == "node_shanghai"
    assert rows(two_15[0], "SELECT name FROM accountdb.pending_subscription") == [("sub_from_world",)]
