"""migratectl clean: scratch databases go when nobody can need them any more."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from accountdb.drift.scratch import PREFIX
from accountdb.lab import Lab
from accountdb.pg.connect import connect
from accountdb.pg.dsn import with_params
from accountdb.setup.cleaning import run
from accountdb.setup.cleaning import scratch as cleaning_scratch
from tests.conftest import as_role, eventually, migratectl, rows, run_sql, value
from tests.integration.cleaning import listed


@pytest.fixture
def owner(migrated: str, native_lab: Lab) -> str:
    """The migrated database as the ordinary role that owns it."""
    return as_role(migrated, native_lab.region("cn").app_dsn)


@pytest.fixture
def scratch(migrated: str, native_lab: Lab) -> Iterator[str]:
    """A scratch database of the ordinary role's."""
    name = f"{PREFIX}{os.urandom(8).hex()}"
    run_sql(migrated, f'CREATE DATABASE {name} OWNER "account" TEMPLATE template0')
    yield with_params(migrated, dbname=name)
    run_sql(migrated, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def exists(admin: str, dsn: str) -> bool:
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    return bool(value(admin, "SELECT count(*) FROM pg_database WHERE datname = %s", name))


def make_old(admin: str, dsn: str) -> None:
    """Have the files of a database say that it was made an hour ago."""
    oid = value(dsn, "SELECT oid FROM pg_database WHERE datname = current_database()")
    made = Path(value(admin, "SHOW data_directory")) / "base" / str(oid) / "PG_VERSION"
    os.utime(made, (time.time() - 3600,) * 2)


def test_a_scratch_database_goes_when_it_is_old_and_nobody_uses_it(migrated: str, scratch: str) -> None:
    told = listed("--dsn", migrated, "--yes", status=0)
    assert " s old (a running migratectl verify --schema needs it)" in told, "it has just been made"
    make_old(migrated, scratch)
    with connect(scratch):
        assert "1 sessions are connected" in listed("--dsn", migrated, "--yes", status=0)
    eventually(lambda: "scratch" in migratectl("clean", "--dsn", migrated, "--yes").stderr)
    assert not exists(migrated, scratch)


def test_a_scratch_database_that_was_half_dropped_goes_at_once(migrated: str, scratch: str) -> None:
    """An interrupted DROP DATABASE leaves it so; nobody can connect to it any more."""
    name = psycopg.conninfo.conninfo_to_dict(scratch)["dbname"]
    run_sql(migrated, "UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", name)
    assert "remove: " in listed("--dsn", migrated, "--yes", status=0)
    assert not exists(migrated, scratch)


def test_a_scratch_database_of_unknown_age_is_watched_first(
    migrated: str, owner: str, scratch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server notes no commits an ordinary role cannot know the age: somebody may be about to connect."""
    assert " s old (a running" in listed("--dsn", owner, status=0), "this server notes them"
    monkeypatch.setattr(cleaning_scratch, "_aged", lambda conn, one: replace(one, age_s=None))

    def use(plan: run.Plan) -> None:
        assert "it is watched for a minute first" in plan.leftovers[0].note
        # As a running verify does it: there, and away again. Its server process tells what it did as it ends.
        used = "SELECT pg_stat_get_db_xact_commit(oid) FROM pg_database WHERE oid = %s"
        oid = value(scratch, "SELECT oid FROM pg_database WHERE datname = current_database()")
        before = value(migrated, used, oid)
        value(scratch, "SELECT 1")
        eventually(lambda: value(migrated, used, oid) > before)

    kept = run.clean({"": owner}, confirmed=True, on_found=use, watch_s=2)
    assert (kept.left, kept.failed) == (1, 1)
    assert "was used while it was watched" in kept.leftovers[0].error
    assert exists(migrated, scratch)
    eventually(lambda: not rows(migrated, "SELECT FROM pg_stat_activity WHERE datname LIKE 'accountdb_scratch%'"))
    began = time.monotonic()
    gone = run.clean({"": owner}, confirmed=True, watch_s=1)
    assert (gone.left, gone.failed) == (0, 0), gone
    assert time.monotonic() - began > 1
    assert not exists(migrated, scratch)
