"""pgsync as cron and a person run it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from accountdb.lab import Lab
from accountdb.pg.connect import connect
from accountdb.sql import folder
from tests.conftest import BIN, Databases, eventually, rows, run_command, value
from tests.integration.syncing import Follow, accounts

EXAMPLE = Path(str(folder())) / "pgsync.users.example.yaml"
LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ job users_one_way: (full )?pass (\d+) read, (\d+) inserted, (\d+) updated,"
    r" (\d+) deleted, (\d+) unchanged in \d+\.\d s, lag \d+\.\d s"
)


@pytest.fixture
def pair(databases: Databases, native_lab: Lab) -> Follow:
    found = accounts(databases, native_lab)
    found.here("INSERT INTO users (username, password) VALUES ('ann', 'SECRET-1'), ('bob', 'SECRET-1')")
    found.here("INSERT INTO identities (provider, external_id, user_uuid) SELECT 'p', username, uuid FROM users")
    found.here("INSERT INTO sessions (token, user_uuid, expires_at) SELECT username, uuid, now() FROM users")
    return found.of("users", "identities", "sessions")


def environment(pair: Follow) -> dict[str, str]:
    return {"GLOBAL_DSN": pair.source, "CN_DSN": pair.target}


def pgsync(pair: Follow, *arguments: str, config: Path = EXAMPLE) -> subprocess.CompletedProcess[str]:
    found = run_command("pgsync", "--config", str(config), *arguments, env=environment(pair))
    assert "SECRET-1" not in found.stdout + found.stderr
    password = re.search(r"password=(\S+)", pair.source)
    assert password is not None
    assert password[1] not in found.stdout + found.stderr
    return found


def counts(found: subprocess.CompletedProcess[str]) -> list[int]:
    """Read, inserted, updated, deleted, unchanged: of the one line that a pass prints."""
    assert found.returncode == 0, found.stderr
    match = LINE.match(found.stdout)
    assert match, found.stdout
    assert len(found.stdout.splitlines()) == 1
    return [int(number) for number in match.groups()[1:]]


def test_the_example_works_with_nothing_but_the_two_dsns(pair: Follow) -> None:
    installed = pgsync(pair, "--install-capture")
    assert installed.stdout.splitlines() == [
        f"users_one_way: capture of public.{name} at the source installed"
        for name in ("identities", "sessions", "users")
    ]
    assert counts(pgsync(pair, "--once")) == [6, 6, 0, 0, 0]
    pair.here("UPDATE users SET level = 5 WHERE username = 'ann'")
    pair.here("DELETE FROM sessions WHERE token = 'bob'")
    assert counts(pgsync(pair, "--dry-run")) == [2, 0, 1, 1, 0]
    assert counts(pgsync(pair)) == [2, 0, 1, 1, 0]
    assert counts(pgsync(pair, "--verify")) == [0, 0, 0, 0, 0]
    pair.assert_equal()


def test_a_receipt_for_machines(pair: Follow) -> None:
    found = json.loads(pgsync(pair, "--json", "--verify").stdout)
    assert (found["job"], found["policy"], found["full"], found["verified"]) == ("users_one_way", "mirror", True, True)
    assert found["tables"]["public.users"]["inserted"] == 2


def test_metrics_are_written_whole(pair: Follow, tmp_path: Path) -> None:
    path = tmp_path / "pgsync.prom"
    assert pgsync(pair, "--metrics-file", str(path)).returncode == 0
    lines = path.read_text().splitlines()
    assert 'accountdb_pgsync_rows{job="users_one_way",table="public.users",what="inserted"} 2' in lines
    assert any(line.startswith('accountdb_pgsync_lag_seconds{job="users_one_way"} ') for line in lines)
    assert path.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in tmp_path.iterdir()] == ["pgsync.prom"]
    found = pgsync(pair, "--metrics-file", str(tmp_path / "nowhere" / "x"))
    assert (found.returncode, "No such file or directory" in found.stderr) == (2, True)


def test_a_second_run_says_so_and_ends_well(pair: Follow) -> None:
    with connect(pair.source) as holder:
        holder.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        first = subprocess.Popen(
            [BIN / "pgsync", "--config", EXAMPLE], env={**os.environ, **environment(pair)}, stdout=subprocess.PIPE
        )
        held = (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        eventually(lambda: value(pair.target, held) == 1)
        second = pgsync(pair)
        assert (second.returncode, second.stdout) == (0, "")
        assert "another pass is at work" in second.stderr
        holder.rollback()
        assert first.wait(30) == 0
    pair.assert_equal()


def test_watch_goes_on_until_it_is_told_to_stop(pair: Follow, tmp_path: Path) -> None:
    config = tmp_path / "jobs.yaml"
    config.write_text(EXAMPLE.read_text().replace("poll_interval: 30s", "poll_interval: 100ms"))
    process = subprocess.Popen(
        [BIN / "pgsync", "--config", config, "--watch"],
        env={**os.environ, **environment(pair)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for name in ("cid", "dan"):
            pair.here("INSERT INTO users (username, password) VALUES (%s, 'x')", name)
            eventually(lambda n=name: rows(pair.target, "SELECT FROM users WHERE username = %s", n))  # type: ignore[misc]
        # The source turns it away for a while: it says so, and tries again.
        pair.here("REVOKE SELECT ON users FROM CURRENT_USER")
        eventually(lambda: _said(process, "may not read"), what="an error")
        pair.here("GRANT SELECT ON users TO CURRENT_USER")
        pair.here("INSERT INTO users (username, password) VALUES ('eve', 'x')")
        eventually(lambda: rows(pair.target, "SELECT FROM users WHERE username = 'eve'"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()


def _said(process: subprocess.Popen[str], what: str) -> bool:
    assert process.stderr is not None
    return what in process.stderr.readline()


def test_a_job_that_fails_does_not_keep_the_others_from_theirs(pair: Follow, tmp_path: Path) -> None:
    config = tmp_path / "jobs.yaml"
    job = "{source: {dsn: '${GLOBAL_DSN}'}, destination: {dsn: '${CN_DSN}'}, tables: {%s: {}}}"
    config.write_text(f"jobs:\n  broken: {job % 'nowhere'}\n  users_one_way: {job % 'users'}\n")
    found = pgsync(pair, config=config)
    assert found.returncode == 2
    assert "source has no table public.nowhere" in found.stderr
    assert LINE.match(found.stdout)
    assert counts(pgsync(pair, "--job", "users_one_way", config=config))[1] == 0


@pytest.mark.parametrize(
    ("arguments", "status", "fact"),
    [
        (["--max-delete", "-1"], 2, "--max-delete -1"),
        (["--max-delete", "101%"], 2, "--max-delete 101%"),
        (["--watch", "--once"], 2, "--watch"),
        (["--job", "nope"], 2, "--job nope: no such job"),
        (["--table", "nope"], 2, "--table nope: no such table"),
    ],
)
def test_bad_options_are_told_and_nothing_is_written(
    pair: Follow, arguments: list[str], status: int, fact: str
) -> None:
    found = pgsync(pair, *arguments)
    assert (found.returncode, found.stdout) == (status, "")
    assert fact in found.stderr
    assert "hint: " in found.stderr
    assert value(pair.target, "SELECT to_regclass('accountdb.sync_watermark')") is None


def test_the_role_may_not_write_at_the_source_and_still_syncs(pair: Follow, databases: Databases) -> None:
    """By xmin: nothing is installed, nothing is written there."""
    before = value(pair.source, "SELECT pg_current_xact_id_if_assigned() IS NULL")
    assert before
    readonly = Follow(f"{pair.source} options='-c default_transaction_read_only=on'", pair.target, pair.tables)
    assert counts(pgsync(readonly)) == [6, 6, 0, 0, 0]
    pair.here("UPDATE users SET level = 5")
    assert counts(pgsync(readonly))[2] == 2
