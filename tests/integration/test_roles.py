"""roles.sql: each role does its work with it, and nothing else."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from accountdb.lab import Lab
from accountdb.pg.connect import connect
from accountdb.pg.dsn import with_params
from accountdb.sql import folder
from tests.conftest import Databases, migratectl, rows, run_command, run_sql, value

NAMES = {"OWNER": "own er", "APP": "account_app", "SYNC": "account_sync", "MONITOR": "account_monitor"}
PASSWORD = "a-pass-word"
NOT_THE_MONITORS = (
    *("users", "identities", "sessions", "admin_settings", "subscriptions"),
    *("accountdb.conflict", "accountdb.tombstone"),
)


def run_file(lab: Lab, dsn: str, mode: str = "native") -> str:
    """What psql says while it runs the file as an administrator; fails the test where psql fails."""
    words = [str(lab.bin_dir / "psql"), dsn, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", f"MODE={mode}"]
    for name, role in NAMES.items():
        words += ["-v", f"{name}={role}"]
    done = subprocess.run([*words, "-f", str(folder() / "roles.sql")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def log_in(dsn: str, role: str) -> str:
    """``dsn`` as ``role``, which gets a password."""
    with connect(dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(PASSWORD)))
    return with_params(dsn, user=role, password=PASSWORD)


@pytest.fixture
def prepared(native_lab: Lab, databases: Databases) -> dict[str, str]:
    """A database that was made as docs/install.md says; DSNs of its roles, and of the administrator."""
    admin = databases.empty("postgres")
    assert "run migratectl init" in run_file(native_lab, admin)
    roles = {name: log_in(admin, role) for name, role in NAMES.items()}
    done = migratectl("init", "--dsn", roles["OWNER"], "--mode", "native", "--node", "node_r")
    assert done.returncode == 0, done.stderr
    assert run_file(native_lab, admin) == ""
    return {**roles, "ADMIN": admin}


def test_the_application_reads_and_writes_accounts_and_nothing_else(prepared: dict[str, str]) -> None:
    app = prepared["APP"]
    run_sql(app, "INSERT INTO users (username, password) VALUES ('lihua', 'x')")
    run_sql(app, "UPDATE users SET role = 'y'")
    for statement in (
        "SELECT 1 FROM accountdb.conflict",
        "TRUNCATE users",
        "CREATE TABLE public.mine ()",
        "CREATE TEMPORARY TABLE mine ()",
        "ALTER TABLE users ADD COLUMN x int",
        "SELECT accountdb.beat()",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            run_sql(app, statement)
    rights = "SELECT rolsuper OR rolreplication OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = %s"
    assert value(app, rights, NAMES["APP"]) is False


def test_the_monitor_sees_states_and_numbers_and_not_a_row(prepared: dict[str, str]) -> None:
    monitor = prepared["MONITOR"]
    for table in NOT_THE_MONITORS:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            rows(monitor, f"SELECT 1 FROM {table}")
    assert value(monitor, "SELECT accountdb.beat()") is not None
    assert rows(monitor, "SELECT open, recorded FROM accountdb.conflict_counts()") == [(0, 0)]
    found = migratectl("status", "--cn", monitor, "--json")
    (region,) = json.loads(found.stdout)["regions"]
    assert region["error"] is None
    assert {guard["state"] for guard in region["guards"]} == {"installed"}
    assert region["conflicts_open"] == 0
    checked = migratectl("doctor", "--cn", monitor, "--json")
    document = json.loads(checked.stdout)
    # What it may not see is told, and never passed.
    assert {one["check"] for one in document["findings"] if one["level"] == "pass"} >= {"guard", "row_contract"}
    assert "version_rises" not in {one["check"] for one in document["findings"] if one["level"] == "pass"}


def test_sync_brings_one_database_to_another_as_its_own_role(
    prepared: dict[str, str], native_lab: Lab, databases: Databases, tmp_path: Path
) -> None:
    other = databases.empty("postgres")
    run_file(native_lab, other, "pgsync")
    there = {name: with_params(other, user=role, password=PASSWORD) for name, role in NAMES.items()}
    assert migratectl("init", "--dsn", there["OWNER"]).returncode == 0
    run_file(native_lab, other, "pgsync")
    run_sql(prepared["APP"], "INSERT INTO users (username, password) VALUES ('lihua', 'x')")
    config = tmp_path / "users.yaml"
    config.write_text(
        "jobs: {one: {source: {dsn: '${SOURCE}'}, destination: {dsn: '${TARGET}'}, tables: {users: {}, sessions: {}}}}"
    )
    env = {"SOURCE": prepared["OWNER"], "TARGET": there["OWNER"]}
    installed = run_command("pgsync", "--config", str(config), "--install-capture", env=env)
    assert installed.returncode == 0, installed.stderr
    for dsn in (prepared["ADMIN"], other):
        run_file(native_lab, dsn, "pgsync")
    env = {"SOURCE": prepared["SYNC"], "TARGET": there["SYNC"]}
    for username in ("first", "second"):
        run_sql(prepared["APP"], "UPDATE users SET username = %s", username)
        passed = run_command("pgsync", "--config", str(config), env=env)
        assert passed.returncode == 0, passed.stderr
        assert rows(there["APP"], "SELECT username, version FROM users") == rows(
            prepared["APP"], "SELECT username, version FROM users"
        )
    # It reads the log, not the whole table.
    assert value(prepared["ADMIN"], "SELECT count(*) FROM accountdb.change_reader") == 2
    assert rows(there["MONITOR"], "SELECT DISTINCT capture FROM accountdb.sync_watermark") == [("log",)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows(there["SYNC"], "SELECT 1 FROM accountdb.conflict")
