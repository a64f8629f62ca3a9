"""migratectl doctor on real databases: before a join, with hostile tables, as an ordinary role, with what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from psycopg import sql

from accountdb.doctor import activity, run
from accountdb.doctor.region import Here
from accountdb.doctor.run import examine
from accountdb.health.advice import Finding, Level
from accountdb.lab import Lab
from accountdb.pg.connect import Connection, connect
from accountdb.pg.dsn import with_params
from accountdb.replication.model import Mode
from tests.conftest import BIN, CONTRACT, Databases, as_role, migratectl, rows, run_sql, value

Check = dict[str, Any]
PASSWORD = "QXZW-secret"
TRIGGERS = """
    CREATE TRIGGER a BEFORE UPDATE ON {0} FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
    CREATE TRIGGER b BEFORE UPDATE ON {0} FOR EACH ROW EXECUTE FUNCTION public.bump_version();
"""


def doctor(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, list[Check]]:
    """Exit status and findings."""
    done = migratectl("doctor", "--json", *arguments, env=env)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["findings"]


def of(findings: list[Check], check: str, *levels: str) -> list[Check]:
    return [f for f in findings if f["check"] == check and (not levels or f["level"] in levels)]


def follow(finding: Check, lab: Lab, **dsns: str) -> None:
    """Type what the hint says."""
    env = {**os.environ, **dsns, "PATH": f"{BIN}:{lab.bin_dir}:{os.environ['PATH']}"}
    assert finding["remedy"]["commands"], finding
    for command in finding["remedy"]["commands"]:
        done = subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, (command, done.stderr)


@pytest.fixture
def prepared(databases: Databases) -> str:
    """A region of mode native, not joined."""
    dsn = databases.migrated()
    assert migratectl("init", "--dsn", dsn, "--mode", "native", "--node", "node_cn").returncode == 0
    return dsn


def test_the_way_to_a_join_is_told_step_by_step(databases: Databases, native_lab: Lab) -> None:
    """From two empty databases, by what doctor says, to where nothing stands in the way."""
    env = {"CN_DSN": databases.empty(), "GLOBAL_DSN": databases.empty()}
    status, findings = doctor("--mode", "native", env=env)
    assert status == 1
    first = of(findings, "init", "fail")
    assert [f["found"] for f in first] == ["not prepared for accountdb"] * 2
    assert {f["cause"] for f in of(findings, "version_rises")} == {"the region is not prepared"}
    for finding in first:
        follow(finding, native_lab, **env)
    status, findings = doctor("--mode", "native", env=env)
    assert (status, of(findings, "stream", "info")[0]["found"]) == (0, "not joined yet")
    assert [f["level"] for f in of(findings, "network")] == ["info"]
    assert {f["level"] for f in of(findings, "version_rises")} == {"pass"}
    # Not asked about a mode, it is no preflight: a region of streams has none.
    status, findings = doctor(env=env)
    assert (status, len(of(findings, "stream", "fail"))) == (1, 2)
    commands = of(findings, "stream", "fail")[0]["remedy"]["commands"]
    assert commands == [
        'migratectl region join --dsn "$CN_DSN" --node node_cn --node-dsn "$CN_DSN"'
        ' --subscription sub_from_global --provider-dsn "$GLOBAL_DSN"'
    ]


def test_it_writes_nothing_at_all(prepared: str) -> None:
    env = {"CN_DSN": prepared}
    everything = (
        "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM accountdb.tombstone),"
        " (SELECT count(*) FROM accountdb.conflict), (SELECT count(*) FROM accountdb.heartbeat),"
        " (SELECT json_agg(s) FROM pg_sequences AS s)::text"
    )
    run_sql(prepared, "INSERT INTO users (username, password) VALUES ('ann', 'x')")
    before = rows(prepared, everything), rows(prepared, "SELECT * FROM users")
    status, findings = doctor("--mode", "native", env=env)
    assert status == 0, of(findings, "init", "fail")
    assert (rows(prepared, everything), rows(prepared, "SELECT * FROM users")) == before


NAMES = ['o"dd', "per%cent %s", "x" * 63, "表格.é", "select", "it's {0}"]


def test_tables_with_hostile_names_are_tried_and_told(prepared: str, native_lab: Lab) -> None:
    """Names are names: in what is tried, in what is said, and in the commands that mend."""
    with connect(prepared) as conn:
        for name in NAMES:
            table = sql.Identifier("public", name).as_string()
            conn.execute(
                f"CREATE TABLE {table} (label varchar(5) NOT NULL UNIQUE, n int[] DEFAULT '{{}}', {CONTRACT})".encode()
            )
            conn.execute(TRIGGERS.replace("{0}", table).encode())
    assert migratectl("init", "--dsn", prepared, "--mode", "native").returncode == 0
    _, findings = doctor("--mode", "native", env={"CN_DSN": prepared})
    assert {f["level"] for f in of(findings, "version_rises")} == {"pass"}, of(findings, "version_rises")
    with connect(prepared) as conn:
        for name in NAMES:
            conn.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER b").format(sql.Identifier("public", name)))
            conn.execute(sql.SQL("ALTER TABLE {} REPLICA IDENTITY NOTHING").format(sql.Identifier("public", name)))
            conn.execute(sql.SQL("GRANT SELECT ON {} TO PUBLIC").format(sql.Identifier("public", name)))
    _, findings = doctor("--mode", "native", env={"CN_DSN": prepared})
    faults = of(findings, "version_rises", "fail")
    assert len(faults) == len(NAMES)
    assert all("an UPDATE leaves version at 0" in f["found"] for f in faults)
    for check in ("replica_identity", "public_rights"):
        wrong = of(findings, check, "fail")
        assert len(wrong) == len(NAMES)
        for finding in wrong:
            follow(finding, native_lab, CN_DSN=prepared)
    with connect(prepared) as conn:
        for name in NAMES:
            conn.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER b").format(sql.Identifier("public", name)))
    status, findings = doctor("--mode", "native", env={"CN_DSN": prepared})
    assert status == 0, [f for f in findings if f["level"] == "fail"]


def test_what_could_leave_something_is_not_tried(prepared: str) -> None:
    """A trigger that takes from a sequence, a row that nobody lets go, a table that is locked: told, and not passed."""
    run_sql(
        prepared,
        "CREATE SEQUENCE audited; CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM nextval('public.audited'), pg_notify('doctor', 'x'); RETURN NULL; END$$;"
        " CREATE TRIGGER audit AFTER INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION audit();"
        " INSERT INTO admin_settings (module_key, role) VALUES ('m', 'r')",
    )
    run_sql(prepared, f"CREATE TABLE busy ({CONTRACT}); INSERT INTO busy DEFAULT VALUES;" + TRIGGERS.format("busy"))
    last = rows(prepared, "SELECT last_value, is_called FROM audited")
    with connect(prepared) as listening, connect(prepared) as holding, connect(prepared) as locking:
        listening.autocommit = True
        listening.execute("LISTEN doctor")
        holding.execute("SELECT * FROM admin_settings FOR UPDATE")
        locking.execute("LOCK TABLE busy IN SHARE ROW EXCLUSIVE MODE")
        began = time.monotonic()
        found = examine({"cn": prepared}, Mode.NATIVE)
        assert time.monotonic() - began < 15
        assert not list(listening.notifies(timeout=0.2))
        locking.execute("LOCK TABLE busy IN ACCESS EXCLUSIVE MODE")
        (locked,) = [f for f in examine({"cn": prepared}).findings if f.level is Level.FAIL]
        assert "another session has locked a table" in locked.found
    told = {f.cause.partition(": ")[0]: f.cause for f in found.findings if f.check == "version_rises" and f.cause}
    assert "trigger audit would fire" in told["public.users"]
    assert "every row is locked" in told["public.admin_settings"]
    assert "lock timeout" in told["public.busy"]
    # They refer to users, of which no row may be made.
    assert "no row of users can be made" in " ".join(told.values())
    assert not [f for f in found.findings if f.check == "version_rises" and f.level is Level.PASS]
    assert rows(prepared, "SELECT last_value, is_called FROM audited") == last


def test_an_ordinary_role_is_told_what_it_may_not_see(prepared: str, native_lab: Lab) -> None:
    role = f"doctor_{os.getpid()}"
    run_sql(prepared, f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    try:
        stranger = with_params(prepared, user=role, password=PASSWORD)
        done = migratectl("doctor", "--json", "--cn", stranger)
        assert PASSWORD not in done.stdout + done.stderr
        findings = json.loads(done.stdout)["findings"]
        unseen = {f["check"] for f in findings if f["found"] == "not looked at"}
        assert {"schema", "version_rises", "tls", "transaction", "conflict"} <= unseen
        # What it sees in part has not passed either.
        for check in ("schema", "version_rises", "transaction", "conflict"):
            assert not of(findings, check, "pass"), check
    finally:
        run_sql(prepared, f"DROP ROLE {role}")
    owner = as_role(prepared, native_lab.region("cn").app_dsn)
    status, findings = doctor("--mode", "native", "--cn", owner)
    assert {f["level"] for f in of(findings, "version_rises")} == {"pass"}
    assert [f["found"] for f in of(findings, "role", "fail")] == [
        "role account may not replicate",
        "role account may not subscribe",
    ]
    assert status == 1


WRONG = [
    ("GRANT SELECT ON accountdb.conflict TO PUBLIC", "public_rights", "PUBLIC has SELECT on"),
    ("GRANT EXECUTE ON FUNCTION accountdb.beat(interval) TO PUBLIC", "public_rights", "PUBLIC may call"),
    ("GRANT UPDATE ON accountdb.node TO PUBLIC", "public_rights", "PUBLIC has UPDATE on"),
    ("ALTER TABLE sessions DISABLE TRIGGER ALL", "trigger", "its triggers are disabled"),
    ("DROP TRIGGER accountdb_truncate ON users", "guard", "guard on public.users is missing"),
    ("DELETE FROM accountdb.migration WHERE version = 5", "schema", "1 migration pending"),
    ("CREATE TABLE late (uuid uuid PRIMARY KEY, no serial)", "row_contract", "public.late: "),
    ("SELECT 1", "sequence", "column no takes its value from a sequence"),
]


def test_what_is_wrong_is_found_and_mended_by_its_hint(prepared: str, native_lab: Lab) -> None:
    with connect(prepared, autocommit=True) as conn:
        for statement, _, _ in WRONG:
            conn.execute(statement.encode())
        conn.execute("UPDATE accountdb.node SET name = NULL")
        conn.execute(sql.SQL("ALTER DATABASE {} RESET pglogical.node_name").format(sql.Identifier(conn.info.dbname)))
    arguments = ("--mode", "native", "--cn", prepared)
    status, findings = doctor(*arguments)
    assert status == 1
    for _, check, says in WRONG:
        assert any(says in f["found"] for f in of(findings, check, "fail")), (check, of(findings, check))
    (unnamed,) = of(findings, "node", "warn")
    assert "no node name yet" in unnamed["found"]
    # No command mends a table that nobody wanted.
    run_sql(prepared, "DROP TABLE late")
    for finding in findings:
        if finding["level"] == "fail" and finding["check"] not in ("row_contract", "sequence", "version_rises"):
            follow(finding, native_lab, CN_DSN=prepared)
    follow(unnamed, native_lab, CN_DSN=prepared)
    status, findings = doctor(*arguments)
    assert status == 0, [f for f in findings if f["level"] == "fail"]
    assert of(findings, "node", "pass")


def test_long_transactions_and_prepared_ones(prepared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "LONG_S", 0.0)
    with connect(prepared, application="sleeper") as conn:
        conn.execute("SELECT 1")
        run_sql(prepared, "BEGIN; PREPARE TRANSACTION 'it''s'")
        try:
            found = examine({"cn": prepared}, Mode.NATIVE).findings
        finally:
            run_sql(prepared, "ROLLBACK PREPARED 'it''s'")
        open_ = [f for f in found if f.check == "transaction" and "(sleeper), idle in transaction" in f.found]
        assert [f.level for f in open_] == [Level.WARN]
        pid = str(conn.info.backend_pid)
        assert open_[0].remedy.commands == (f"psql \"$CN_DSN\" -c 'SELECT pg_terminate_backend({pid})'",)
    prepared_ = [f for f in found if f.check == "prepared_transaction"]
    assert any("'it''s'" in f.found and "ROLLBACK PREPARED 'it''s'" in f.remedy.says for f in prepared_)


def test_a_server_that_freezes_is_hung_up_on(prepared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def frozen(conn: Connection, here: Here) -> list[Finding]:
        conn.execute("SELECT pg_sleep(15)")
        return []

    monkeypatch.setattr(run, "_SUBJECTS", (("schema", frozen), ("node", frozen)))
    monkeypatch.setattr(run, "_PATIENCE_S", 0.5)
    began = time.monotonic()
    found = examine({"cn": prepared}, Mode.NATIVE)
    assert time.monotonic() - began < 10
    assert not found.healthy
    (lost,) = [f for f in found.findings if f.level is Level.FAIL]
    assert lost.check == "region"
    assert lost.found.startswith("the connection was lost: ")


def test_a_mode_that_is_not_that_of_init(prepared: str) -> None:
    status, findings = doctor("--mode", "pglogical", "--cn", prepared)
    assert status == 1
    assert of(findings, "init", "fail")[0]["found"] == "prepared for mode native, not pglogical"
    assert of(findings, "shared_preload_libraries", "fail")
    assert of(findings, "extension", "fail")
    status, findings = doctor("--mode", "pgsync", "--cn", prepared)
    assert of(findings, "capture", "info")
    assert not of(findings, "stream")


def test_pgsync_regions(databases: Databases) -> None:
    dsn = databases.migrated()
    assert migratectl("init", "--dsn", dsn, "--mode", "pgsync", "--node", "node_cn").returncode == 0
    status, findings = doctor("--cn", dsn)
    assert status == 0, [f for f in findings if f["level"] == "fail"]
    assert of(findings, "capture", "pass")
    assert of(findings, "version_rises", "pass")
    assert not of(findings, "wal_level")


def test_statuses(prepared: str, databases: Databases) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        done = migratectl("doctor", *arguments)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    assert run("--mode", "nonsense", "--cn", prepared)[0] == 2
    assert run()[0] == 2
    assert run("--cn", "nonsense")[0] == 2
    status, told = run("--cn", prepared, "--global", prepared)
    assert (status, "same database" in told) == (4, True)
    assert run("--cn", prepared, "--global", databases.migrated(), "--ignore", "nowhere.yaml")[0] == 2
    nowhere = f"postgresql://ann:{PASSWORD}@127.0.0.1:1/account"
    status, told = run("--cn", nowhere, "--global", nowhere)
    assert status == 1
    assert told.count("Connection refused") == 2
    assert PASSWORD not in told
    status, told = run("--cn", prepared, "--global", nowhere, "--mode", "native")
    assert status == 1
    assert "tried on" in told


def test_the_screen_has_one_line_a_check_and_hints_under_what_is_wrong(prepared: str) -> None:
    run_sql(prepared, "DROP TRIGGER accountdb_bury ON users")
    done = migratectl("doctor", "--mode", "native", "--cn", prepared)
    lines = done.stdout.splitlines()
    assert lines[0] == "cn:"
    at = next(index for index, line in enumerate(lines) if "guard on public.users is missing" in line)
    assert lines[at].startswith("  fail  guard ")
    assert lines[at + 1] == '        hint: migratectl init --mode native --dsn "$CN_DSN"'
    assert "1 fail" in done.stderr
    assert all(
        line.startswith(("  pass", "  info", "  warn", "  fail", "        hint: ")) or line.endswith(":")
        for line in lines
    )


def test_several_at_the_same_time(prepared: str) -> None:
    """Two doctors and writers disturb nobody: each check is short, and rolled back."""
    run_sql(prepared, "INSERT INTO users (username, password) VALUES ('one', 'x')")

    def write() -> None:
        for _ in range(40):
            run_sql(prepared, "UPDATE users SET level = level + 1 WHERE username = 'one'")

    def look() -> set[str]:
        return {f["level"] for f in of(doctor("--mode", "native", "--cn", prepared)[1], "version_rises")}

    work: list[Callable[[], Any]] = [write, write, look, look]
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(each) for each in work]
        found = [one.result() for one in done][2:]
    assert all(levels <= {"pass", "info"} for levels in found)
    assert value(prepared, "SELECT version FROM users WHERE username = 'one'") == 80
