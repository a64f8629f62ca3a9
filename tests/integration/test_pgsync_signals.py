"""pgsync that is told to end, or is killed: what stands is whole, and the next pass goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from accountdb.lab import Lab
from accountdb.pg.connect import connect
from tests.conftest import BIN, Databases, eventually, run_sql, value
from tests.integration.syncing import Follow, follow

TABLES = ("first", "second", "third")
JOB = """
jobs:
  two:   {source: {dsn: "${SOURCE}"}, destination: {dsn: "${TARGET}"}, tables: {first: {}, second: {}}}
  other: {source: {dsn: "${SOURCE}"}, destination: {dsn: "${TARGET}"}, tables: {third: {}}, poll_interval: 100ms}
"""
# Of this database only: others work on the same server.
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pgsync'"
    " AND wait_event_type = 'Lock'"
)


@pytest.fixture(scope="module")
def made(databases: Databases, native_lab: Lab) -> Follow:
    return follow(
        databases, native_lab, [f"CREATE TABLE public.{name} (id integer PRIMARY KEY, v text)" for name in TABLES]
    )


@pytest.fixture
def pair(made: Follow) -> Follow:
    """Three tables that have nothing to do with each other, full at the source, empty at the destination."""
    made.both("TRUNCATE first, second, third", "DROP TABLE IF EXISTS accountdb.sync_watermark")
    for name in TABLES:
        made.here(f"INSERT INTO {name} SELECT n, 'x' FROM generate_series(1, 50) AS n")
    return made


def held(pair: Follow) -> list[int]:
    return [value(pair.target, f"SELECT count(*) FROM {name}") for name in TABLES]


@contextmanager
def pgsync(pair: Follow, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    config = folder / "jobs.yaml"
    config.write_text(JOB)
    process = subprocess.Popen(
        [BIN / "pgsync", "--config", config, *arguments],
        env={**os.environ, "SOURCE": pair.source, "TARGET": pair.target},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def stuck(pair: Follow, table: str = "first") -> Iterator[None]:
    """Within the block a pass gets as far as writing to the table, and no further."""
    with connect(pair.target) as holder:
        holder.execute(f"LOCK TABLE {table} IN SHARE MODE".encode())
        yield
        holder.rollback()


def finish(pair: Follow, folder: Path) -> list[str]:
    """One more pass of all, after which both sides are equal. What it has said."""
    with pgsync(pair, folder) as process:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    pair.assert_equal(*TABLES)
    return out.splitlines()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_pass_that_is_told_to_end_finishes_its_transaction(
    pair: Follow, tmp_path: Path, sign: signal.Signals
) -> None:
    metrics = tmp_path / "pgsync.prom"
    with pgsync(pair, tmp_path, "--verify", "--metrics-file", str(metrics)) as process:
        with stuck(pair):
            eventually(lambda: value(pair.target, WAITING) == 1)
            process.send_signal(sign)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert len(out.splitlines()) == 1
    assert " 50 inserted," in out
    assert "(stopped, 1 of 2 tables are left)" in out
    assert "job two: stopped before public.second" in err
    assert "job other: stopped before it began" in err
    assert "Traceback" not in err
    assert held(pair) == [50, 0, 0]
    assert not metrics.exists()
    two, other = finish(pair, tmp_path)
    assert "full pass 50 read, 50 inserted" in two
    assert "full pass 50 read, 50 inserted" in other


def test_a_second_signal_ends_it_at_once(pair: Follow, tmp_path: Path) -> None:
    with stuck(pair), pgsync(pair, tmp_path, "--json") as process:
        eventually(lambda: value(pair.target, WAITING) == 1)
        assert process.stderr is not None
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "stopping after this transaction; a second signal stops at once\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (130, "", "error: interrupted\n")
        eventually(lambda: value(pair.target, WAITING) == 0)
    assert held(pair) == [0, 0, 0]
    finish(pair, tmp_path)


def test_watch_ends_well_in_the_middle_of_a_pass(pair: Follow, tmp_path: Path) -> None:
    with pgsync(pair, tmp_path, "--watch", "--json") as process:
        with stuck(pair, "second"):
            eventually(lambda: value(pair.target, WAITING) == 1)
            process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    receipt = json.loads(out)
    assert (receipt["job"], receipt["left"]) == ("two", [])
    assert held(pair) == [50, 50, 0]


def test_a_pass_that_was_killed_is_gone_on_with(pair: Follow, tmp_path: Path) -> None:
    with pgsync(pair, tmp_path) as process, stuck(pair, "second"):
        eventually(lambda: value(pair.target, WAITING) == 1)
        process.kill()
        process.communicate(timeout=30)
        # Its session may still wait for the lock, and with it the next pass for its job.
        run_sql(
            pair.target,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'pgsync'",
        )
        assert held(pair) == [50, 0, 0]
    two, _ = finish(pair, tmp_path)
    assert "full pass 50 read, 50 inserted" in two
