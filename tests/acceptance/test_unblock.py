"""``migratectl unblock``: a transaction that cannot be applied is shown, retried, parked, skipped."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from accountdb.lab import Lab
from accountdb.pg.connect import connect
from accountdb.setup.unblocking import run as unblocking
from accountdb.setup.unblocking import saving, writing
from accountdb.setup.unblocking.run import Request, Way
from tests.acceptance.joining import OTHER, exchange, healthy, join
from tests.conftest import BIN, eventually, migratectl, rows, run_command, run_sql, value

OPEN = "SELECT kind, rule, table_name, loser ->> 'username', detail FROM accountdb.conflict WHERE state = 'open'"
SECRET = "a-secret-of-the-row"


@pytest.fixture
def blocked(joined: Lab) -> Iterator[Lab]:
    """CN does not take what is called bad: its guard on users is off, and it has a constraint of its own."""
    cn = joined.region("cn").admin_dsn
    run_sql(cn, "ALTER TABLE users DISABLE TRIGGER accountdb_guard")
    run_sql(cn, "ALTER TABLE users ADD CONSTRAINT not_bad CHECK (username NOT LIKE 'bad%')")
    yield joined
    run_sql(cn, "ALTER TABLE users DROP CONSTRAINT IF EXISTS not_bad")
    run_sql(cn, "ALTER TABLE users ENABLE REPLICA TRIGGER accountdb_guard")


def write(lab: Lab, tag: str) -> None:
    """One transaction of Global in which the second of five changes is bad, and one after it."""
    with connect(lab.region("global").app_dsn) as conn:
        new = 'INSERT INTO users (username, password, groups) VALUES (%s, %s, \'["a", {"b": 1.50}]\')'
        conn.execute(new, (f"good-{tag}", SECRET))
        conn.execute(new, (f"bad-{tag}", SECRET))
        conn.execute("INSERT INTO admin_settings (module_key, role) VALUES (%s, 'r')", (tag,))
        conn.execute("UPDATE users SET level = 5, email = %s WHERE username = %s", (f"{tag}@x.y", f"good-{tag}"))
        conn.execute("UPDATE admin_settings SET enabled = false WHERE module_key = %s", (tag,))
    run_sql(lab.region("global").app_dsn, "INSERT INTO admin_settings (module_key, role) VALUES (%s, 'later')", tag)


def stopped(lab: Lab, *words: str) -> bool:
    return migratectl("unblock", *words, env=lab.env()).returncode == 1


def unblock(lab: Lab, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """``migratectl unblock`` of both regions, with the transaction kept in ``folder``."""
    return run_command("migratectl", "unblock", "--save", str(folder / "kept.jsonl"), *words, env=lab.env())


def standing_in_cn(lab: Lab, tag: str) -> tuple[list[Any], list[Any]]:
    cn = lab.region("cn").admin_dsn
    users = rows(cn, "SELECT username, level, email, groups FROM users WHERE username LIKE %s ORDER BY 1", f"%{tag}")
    settings = rows(cn, "SELECT role, enabled FROM admin_settings WHERE module_key = %s ORDER BY 1", tag)
    return users, settings


def arrived(lab: Lab, tag: str) -> bool:
    return ("later", True) in standing_in_cn(lab, tag)[1]


def origin_in_cn(lab: Lab, username: str) -> int:
    """By which origin a row was written last: what has one is not streamed on."""
    found = "SELECT (pg_xact_commit_timestamp_origin(xmin)).roident::int FROM users WHERE username = %s"
    return int(value(lab.region("cn").admin_dsn, found, username))


def test_what_blocks_is_shown_and_nothing_is_written(blocked: Lab) -> None:
    assert migratectl("unblock", env=blocked.env()).returncode == 0
    write(blocked, "t1")
    found = eventually(lambda: shown(blocked))
    assert 'cause: new row for relation "users" violates check constraint "not_bad"' in found.stdout
    assert "5 changes" in found.stdout
    assert "2. INSERT users bad-t1" in found.stdout
    assert "fails here: 23514" in found.stdout
    assert found.stdout.count("fails here") == 1
    assert "global: sub_from_cn: replicating, not blocked" in found.stdout
    assert "--park: applies 4 of 5 changes and keeps 1 as open conflicts; nothing is lost" in found.stdout
    assert SECRET not in found.stdout + found.stderr
    as_json = migratectl("unblock", "--json", env=blocked.env())
    assert SECRET not in as_json.stdout
    document = json.loads(as_json.stdout)
    assert document["blocked"] == 1
    assert document["subscriptions"][0]["before"]["transaction"]["count"] == 5
    assert standing_in_cn(blocked, "t1") == ([], [])
    assert rows(blocked.region("cn").admin_dsn, OPEN) == []
    # The hint, to the letter: the guard of this version takes the row in, and says that it could not.
    hints = [line.removeprefix("hint: ") for line in found.stderr.splitlines() if line.startswith("hint: ")]
    assert hints == [
        f'migratectl init --dsn "$CN_DSN" --mode {blocked.mode}',
        'migratectl unblock --cn "$CN_DSN" --global "$GLOBAL_DSN" --subscription sub_from_global --retry',
    ]
    for hint in hints:
        environment = {**os.environ, **blocked.env(), "PATH": f"{BIN}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-c", hint], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    eventually(lambda: arrived(blocked, "t1"))
    assert [row[:4] for row in rows(blocked.region("cn").admin_dsn, OPEN)] == [("unknown", "parked", "users", "bad-t1")]


def shown(lab: Lab) -> subprocess.CompletedProcess[str]:
    found = migratectl("unblock", env=lab.env())
    assert found.returncode == 1
    return found


def test_the_row_is_parked_and_the_rest_applied(blocked: Lab, tmp_path: Path) -> None:
    write(blocked, "one")
    write(blocked, "two")
    eventually(lambda: stopped(blocked))
    first = unblock(blocked, tmp_path / "", "--park")
    # The next transaction blocks too, and is shown.
    assert first.returncode == 1, first.stdout + first.stderr
    assert "cn: sub_from_global: 4 changes applied, 1 kept as open conflicts" in first.stdout
    assert "INSERT users bad-two" in first.stdout
    assert standing_in_cn(blocked, "one") == (
        [("good-one", 5, "one@x.y", ["a", {"b": 1.5}])],
        [("later", True), ("r", False)],
    )
    kept = tmp_path / "kept.jsonl"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [line["operation"] for line in lines[1:]] == ["INSERT", "INSERT", "INSERT", "UPDATE", "UPDATE"]
    assert lines[2]["row"]["password"] == SECRET, "the file has whole rows"
    taken = unblock(blocked, tmp_path, "--park")
    assert taken.returncode == 2
    assert "never overwritten" in taken.stderr
    second = run_command("migratectl", "unblock", "--park", "--save", str(tmp_path / "2"), env=blocked.env())
    assert second.returncode == 0, second.stdout + second.stderr
    assert "cn: sub_from_global: replicating, not blocked" in second.stdout
    eventually(lambda: arrived(blocked, "two"))
    cn = blocked.region("cn").admin_dsn
    parked = sorted(row[3] for row in rows(cn, OPEN))
    assert parked == ["bad-one", "bad-two"]
    again = run_command("migratectl", "unblock", "--park", env=blocked.env())
    assert again.returncode == 0, again.stderr
    assert "not blocked" in again.stdout
    assert origin_in_cn(blocked, "good-one") != 0, "what was written by hand is not streamed back"
    # The cause is mended: the parked rows come by themselves, and their conflicts are closed.
    run_sql(cn, "ALTER TABLE users DROP CONSTRAINT not_bad")
    assert migratectl("init", "--dsn", cn, "--mode", blocked.mode).returncode == 0
    merged = migratectl("merge", "--recent", env=blocked.env())
    assert merged.returncode == 0, merged.stdout + merged.stderr
    assert migratectl("diff", env=blocked.env()).returncode == 0
    assert "open conflicts: 0" in migratectl("conflicts", "list", env=blocked.env()).stderr


@pytest.mark.by_hand(plain_lab="pglogical")
def test_a_transaction_is_skipped_and_nothing_of_it_forgotten(blocked: Lab, tmp_path: Path) -> None:
    gone = str(uuid4())
    there = blocked.region("global").app_dsn
    run_sql(there, "INSERT INTO admin_settings (uuid, module_key, role) VALUES (%s, 'gone', 'r')", gone)
    cn = blocked.region("cn").admin_dsn
    eventually(lambda: rows(cn, "SELECT FROM admin_settings WHERE uuid = %s", gone))
    with connect(there) as conn:
        conn.execute("INSERT INTO users (username, password) VALUES ('bad-skip', %s)", (SECRET,))
        conn.execute("INSERT INTO admin_settings (module_key, role) VALUES ('skip', 'r')")
        conn.execute("DELETE FROM admin_settings WHERE uuid = %s", (gone,))
    eventually(lambda: stopped(blocked))
    refused = unblock(blocked, tmp_path, "--skip")
    assert refused.returncode == 4
    assert "--yes allows it" in refused.stderr
    assert not (tmp_path / "kept.jsonl").exists()
    assert rows(cn, OPEN) == []
    done = unblock(blocked, tmp_path, "--skip", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    # The tombstone is no account's row: it is in the file.
    assert "0 changes applied, 3 kept as open conflicts, 1 in the file only" in done.stdout
    exchange(blocked)
    assert sorted(rows(cn, "SELECT kind, rule FROM accountdb.conflict WHERE state = 'open'")) == [
        ("skipped", "skipped_delete"),
        ("skipped", "skipped_insert"),
        ("skipped", "skipped_insert"),
    ]
    listed = migratectl("conflicts", "list", env=blocked.env())
    assert "a change of bad-skip was skipped: INSERT in transaction" in listed.stdout
    assert SECRET not in listed.stdout
    # One is brought back by a person, with a name that CN takes; the healing brings the rest.
    key = next(line.split("\t")[0] for line in listed.stdout.splitlines() if "bad-skip" in line)
    assert migratectl("conflicts", "show", key, env=blocked.env()).returncode == 0
    back = migratectl("conflicts", "resolve", key, "--set", "username=fine-skip", env=blocked.env())
    assert back.returncode == 0, back.stderr
    assert migratectl("init", "--dsn", cn, "--mode", blocked.mode).returncode == 0
    healed = migratectl("merge", "--recent", env=blocked.env())
    assert healed.returncode == 0, healed.stderr
    assert migratectl("diff", env=blocked.env()).returncode == 0
    assert rows(cn, "SELECT password FROM users WHERE username = 'fine-skip'") == [(SECRET,)]
    assert rows(cn, "SELECT FROM admin_settings WHERE uuid = %s", gone) == []
    assert "open conflicts: 0" in migratectl("conflicts", "list", env=blocked.env()).stderr


class Killed(BaseException):
    """The process dies here."""


MOMENTS = {"save": saving, "park": unblocking, "commit_past": writing, "_resumed": unblocking}


def test_killed_in_the_middle_and_run_again(blocked: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cn = blocked.region("cn").admin_dsn
    regions = {str(region.name): region.admin_dsn for region in blocked.regions}

    def die(*args: object, **kwargs: object) -> None:
        raise Killed

    for moment in MOMENTS if blocked.mode == "native" else ("commit_past",):
        write(blocked, moment)
        eventually(lambda: stopped(blocked))
        request = Request("sub_from_global", Way.PARK, tmp_path / moment)
        with monkeypatch.context() as patched:
            patched.setattr(MOMENTS[moment], moment, die)
            with pytest.raises(Killed):
                unblocking.unblock(regions, request)
        expected = moment == "_resumed"
        # Both or neither: the rows, and the position of the stream after them.
        parked = [row[3] for row in rows(cn, OPEN)]
        assert bool(standing_in_cn(blocked, moment)[0]) == (f"bad-{moment}" in parked) == expected
        if not expected:
            eventually(lambda: stopped(blocked))
        unblocking.unblock(regions, request)
        eventually(lambda m=moment: arrived(blocked, m))  # type: ignore[misc]
        assert [row[3] for row in rows(cn, OPEN)].count(f"bad-{moment}") == 1
        assert len(standing_in_cn(blocked, moment)[0]) == 1


@pytest.mark.parametrize("plain_lab", ["native"], indirect=True)
def test_a_session_that_is_ended_before_its_commit_moves_nothing(
    blocked: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL 16 and later move an origin also where the transaction that set it is rolled back."""
    write(blocked, "ended")
    eventually(lambda: stopped(blocked))
    regions = {str(region.name): region.admin_dsn for region in blocked.regions}
    cn = blocked.region("cn").admin_dsn
    commit = writing.commit_past

    def ended(conn: Any, transaction: Any) -> None:
        run_sql(cn, "SELECT pg_terminate_backend(%s)", conn.info.backend_pid)
        eventually(lambda: not rows(cn, "SELECT FROM pg_stat_activity WHERE pid = %s", conn.info.backend_pid))
        commit(conn, transaction)

    request = Request("sub_from_global", Way.PARK, tmp_path / "kept.jsonl")
    with monkeypatch.context() as patched:
        patched.setattr(writing, "commit_past", ended)
        with pytest.raises(Exception, match=r"terminating|closed"):
            unblocking.unblock(regions, request)
    assert standing_in_cn(blocked, "ended") == ([], [])
    eventually(lambda: stopped(blocked))
    unblocking.unblock(regions, request)
    eventually(lambda: arrived(blocked, "ended"))
    assert len(standing_in_cn(blocked, "ended")[0]) == 1


def test_a_column_that_cn_lacks(joined: Lab, tmp_path: Path) -> None:
    """Large columns too, which an UPDATE does not send where they did not change."""
    there, cn = joined.region("global"), joined.region("cn")
    large = "x" * 30_000
    run_sql(
        there.app_dsn,
        "INSERT INTO users (username, password, mfa_totp_secret)"
        " SELECT 'large', 'x', string_agg(md5(n::text), '') FROM generate_series(1, 3000) AS n",
    )
    eventually(lambda: rows(cn.admin_dsn, "SELECT FROM users WHERE username = 'large'"))
    run_sql(there.admin_dsn, 'ALTER TABLE admin_settings ADD COLUMN "od.d ""% 名" text')
    try:
        with connect(there.app_dsn) as conn:
            conn.execute("UPDATE users SET level = 7 WHERE username = 'large'")
            conn.execute(
                'INSERT INTO admin_settings (module_key, role, "od.d ""%% 名") VALUES (%s, %s, %s)', ("m", "r", large)
            )
        eventually(lambda: stopped(joined))
        done = unblock(joined, tmp_path, "--park")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "1 changes applied, 1 kept as open conflicts" in done.stdout
        assert rows(cn.admin_dsn, "SELECT level, length(mfa_totp_secret) FROM users WHERE username = 'large'") == [
            (7, 96_000)
        ]
        kept = value(cn.admin_dsn, "SELECT loser FROM accountdb.conflict WHERE state = 'open'")
        assert kept['od.d "% 名'] == large
        assert kept["module_key"] == "m"
        assert kept["version"] == 0
    finally:
        run_sql(there.admin_dsn, 'ALTER TABLE admin_settings DROP COLUMN "od.d ""% 名"')


@pytest.mark.parametrize("plain_lab", ["native"], indirect=True)
def test_an_ordinary_role_is_told_what_it_lacks(apart: Lab, tmp_path: Path) -> None:
    cn = apart.region("cn")
    for region in apart.regions:
        run_sql(region.admin_dsn, "ALTER ROLE account REPLICATION")
        run_sql(region.admin_dsn, "GRANT pg_create_subscription TO account")
    for name in OTHER:
        region, other = apart.region(name), apart.region(OTHER[name])
        assert (
            join(
                apart, name, **{"dsn": region.app_dsn, "node-dsn": region.app_dsn, "provider-dsn": other.app_dsn}
            ).returncode
            == 0
        )
    eventually(lambda: healthy(apart))
    run_sql(cn.admin_dsn, "ALTER TABLE users DISABLE TRIGGER accountdb_guard")
    run_sql(cn.admin_dsn, "ALTER TABLE users DISABLE TRIGGER accountdb_apply")
    run_sql(cn.admin_dsn, "ALTER TABLE users ADD CONSTRAINT not_bad CHECK (username NOT LIKE 'bad%')")
    try:
        write(apart, "role")
        words = ("--dsn", cn.app_dsn, "--provider-dsn", apart.region("global").app_dsn, "--save", str(tmp_path / "k"))
        found = eventually(lambda: blocked_for(words))
        assert "may not read the server's log" in found.stdout
        assert "fails here: 23514" in found.stdout
        lacking = run_command("migratectl", "unblock", *words, "--park")
        assert lacking.returncode == 3
        assert "role account may not move the position of a stream" in lacking.stderr
        grants = lacking.stderr.partition("an administrator runs: ")[2].strip()
        for grant in grants.split("; ") if grants else []:
            run_sql(cn.admin_dsn, grant)
        done = run_command("migratectl", "unblock", *words, "--park")
        assert done.returncode == 0, done.stdout + done.stderr
        eventually(lambda: arrived(apart, "role"))
        assert [row[3] for row in rows(cn.admin_dsn, OPEN)] == ["bad-role"]
    finally:
        run_sql(cn.admin_dsn, "ALTER TABLE users DROP CONSTRAINT not_bad")
        assert migratectl("init", "--dsn", cn.admin_dsn, "--mode", "native").returncode == 0
    exchange(apart)


def blocked_for(words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    found = run_command("migratectl", "unblock", *words)
    assert found.returncode == 1, found.stderr
    return found


@pytest.mark.by_hand(plain_lab="pglogical")
def test_what_is_no_matter_of_a_transaction(joined: Lab) -> None:
    cn = joined.region("cn").admin_dsn
    assert migratectl("region", "pause", "--dsn", cn).returncode == 0
    run_sql(joined.region("global").app_dsn, "INSERT INTO admin_settings (module_key, role) VALUES ('paused', 'r')")
    paused = migratectl("unblock", env=joined.env())
    assert paused.returncode == 1
    assert "cause: it is paused" in paused.stdout
    assert 'hint: migratectl region resume --dsn "$CN_DSN" --subscription sub_from_global' in paused.stderr
    for way in ("--park", "--skip"):
        told = migratectl("unblock", way, "--yes", env=joined.env())
        assert told.returncode == 3
        assert "there is no transaction to" in told.stderr
    assert migratectl("unblock", "--retry", env=joined.env()).returncode == 0
    exchange(joined)
    joined.cut()
    there = joined.region("global").admin_dsn
    eventually(lambda: not value(there, "SELECT bool_or(active) FROM pg_replication_slots"))
    run_sql(there, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    joined.heal()
    dropped = migratectl("unblock", env=joined.env())
    assert dropped.returncode == 1
    assert "is not there any more" in dropped.stdout
    hint = next(line for line in dropped.stderr.splitlines() if "resync" in line).removeprefix("hint: ")
    assert hint == 'migratectl region resync --cn "$CN_DSN" --global "$GLOBAL_DSN" --region cn'
    assert run_command(*shlex.split(hint)[:1], "region", "resync", "--region", "cn", env=joined.env()).returncode == 0
    migratectl("region", "resume", "--dsn", there)
    eventually(lambda: healthy(joined))


def test_what_cannot_be_asked(native_lab: Lab) -> None:
    both = migratectl("unblock", "--park", "--skip", env=native_lab.env())
    assert both.returncode == 2
    assert "exclude each other" in both.stderr
