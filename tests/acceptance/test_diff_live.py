"""diff beside running streams: what is under way is no difference, and what has diverged is named."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from accountdb.lab import Lab
from accountdb.lab.lab import LabRegion
from accountdb.pg.connect import Connection, connect
from accountdb.setup import join
from tests.acceptance.guarding import Pair
from tests.conftest import eventually, migratectl, rows, run_sql, value
from tests.integration.comparing import Told, told

# Rows that this file makes; other files leave theirs in the shared lab.
OURS = "--where=t.username LIKE 'live-%'"


class Load:
    """Users who register, change and leave in both regions, and one row that CN writes as fast as it can."""

    def __init__(self, lab: Lab, hot: UUID) -> None:
        self.written = 0
        self._lab = lab
        self._hot = hot
        self._stop = threading.Event()
        self._failed: list[BaseException] = []
        self._heat = connect(lab.region("cn").app_dsn, autocommit=True)
        self._threads = [threading.Thread(target=self._live, args=(region,)) for region in lab.regions]
        self._threads.append(threading.Thread(target=self._burn))

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        first = self.heat()
        eventually(lambda: self.written > 20 and self.heat() > first + 100, what="a load")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._heat.cancel_safe()
        for thread in self._threads:
            thread.join()
        self._heat.close()
        assert self._failed == []

    def heat(self) -> int:
        """How often the hot row has been written."""
        return int(value(self._lab.region("cn").app_dsn, "SELECT version FROM users WHERE uuid = %s", self._hot))

    def _live(self, region: LabRegion) -> None:
        try:
            with connect(region.app_dsn, autocommit=True) as conn:
                while not self._stop.is_set():
                    self._one_life(conn)
                    self.written += 1
                    self._stop.wait(0.01)  # the load's pace, not a wait for a state
        except psycopg.Error as error:
            self._failed.append(error)

    def _one_life(self, conn: Connection) -> None:
        user = register(conn)
        conn.execute("INSERT INTO sessions (token, user_uuid, expires_at) VALUES (%s, %s, now())", (uuid4().hex, user))
        conn.execute("UPDATE users SET level = level + 1 WHERE uuid = %s", (user,))
        if self.written % 2:
            conn.execute("DELETE FROM users WHERE uuid = %s", (user,))

    def _burn(self) -> None:
        update = f"UPDATE users SET level = level + 1 WHERE uuid = '{self._hot}'; COMMIT;"
        try:
            self._heat.execute(f"DO $$ BEGIN LOOP {update} END LOOP; END $$".encode())
        except psycopg.errors.QueryCanceled:
            return
        except psycopg.Error as error:
            self._failed.append(error)


def register(conn: Connection) -> UUID:
    """A new user."""
    name = f"live-{uuid4().hex}"
    row = conn.execute(
        "INSERT INTO users (username, email, password) VALUES (%s, %s, 'geheim') RETURNING uuid",
        (name, f"{name}@example.cn"),
    ).fetchone()
    assert row is not None
    return UUID(str(row[0]))


@pytest.fixture
def pair(ready_lab: Lab) -> Iterator[Pair]:
    """The lab with both streams level, before and after."""
    found = Pair(ready_lab)
    found.meet()
    yield found
    for region in ready_lab.regions:
        join.resume(region.admin_dsn)
    found.meet()


def diff(lab: Lab, *arguments: str, dsn: str = "app_dsn") -> Told:
    """What the command says, as the role that owns the tables."""
    return told(*(f"--node={region.name}={getattr(region, dsn)}" for region in lab.regions), *arguments)


def differing(outcome: Told) -> dict[UUID, dict[str, Any]]:
    """The rows of a JSON document by their key."""
    assert outcome.status in (0, 1), outcome.err
    document = json.loads(outcome.out)
    assert document["equal"] is (outcome.status == 0) is not bool(document["rows"])
    return {UUID(row["key"]["uuid"]): row for row in document["rows"]}


@contextmanager
def unstreamed(region: LabRegion) -> Iterator[Connection]:
    """A transaction that no guard sees and no stream carries: as if it had come from elsewhere."""
    with connect(region.admin_dsn) as conn:
        conn.execute("SET session_replication_role = replica")
        conn.execute("SELECT pg_replication_origin_create('elsewhere')")
        conn.execute("SELECT pg_replication_origin_session_setup('elsewhere')")
        # Workers are replicas too, and wait for this transaction.
        conn.execute("ALTER TABLE users DISABLE TRIGGER accountdb_guard")
        yield conn
        conn.execute("ALTER TABLE users ENABLE REPLICA TRIGGER accountdb_guard")
        conn.commit()
        conn.execute("SELECT pg_replication_origin_session_reset()")
        conn.execute("SELECT pg_replication_origin_drop('elsewhere')")


def test_nothing_differs_while_both_regions_are_written_to(ready_lab: Lab, pair: Pair) -> None:
    hot = pair.shared(name=f"live-{uuid4().hex}")
    with Load(ready_lab, hot) as load:
        for table in ("users", "sessions", "users"):
            written, heat = load.written, load.heat()
            outcome = diff(ready_lab, "--json", f"--table={table}")
            assert differing(outcome) == {}, outcome.out
            assert (load.written > written, load.heat() > heat) == (True, True)


def test_a_row_that_diverged_is_named_while_others_are_written(ready_lab: Lab, pair: Pair) -> None:
    hot, gone, extra = (pair.shared(name=f"live-{uuid4().hex}") for _ in range(3))
    other = pair.shared(name=f"live-{uuid4().hex}")
    with unstreamed(pair.global_.region) as conn:
        conn.execute("UPDATE users SET level = 99 WHERE uuid = %s", (other,))
        conn.execute("DELETE FROM users WHERE uuid = %s", (gone,))
    with unstreamed(pair.cn.region) as conn:
        conn.execute("DELETE FROM users WHERE uuid = %s", (extra,))
    try:
        with Load(ready_lab, hot):
            found = differing(diff(ready_lab, "--json", "--table=users"))
        assert found.keys() == {other, gone, extra}
        assert found[other]["columns"] == ["level"]
        assert found[gone]["regions"] == ["cn"]
        assert found[extra]["regions"] == ["global"]
    finally:
        for side in pair.sides:
            with unstreamed(side.region) as conn:
                conn.execute("DELETE FROM users WHERE uuid = ANY (%s)", ([other, gone, extra],))
    assert differing(diff(ready_lab, "--json", "--table=users")) == {}


def test_a_row_that_is_written_all_the_time_and_never_arrives_is_told(ready_lab: Lab, pair: Pair) -> None:
    hot = pair.shared(name=f"live-{uuid4().hex}")
    join.pause(pair.global_.region.admin_dsn)
    with Load(ready_lab, hot):
        outcome = diff(ready_lab, "--json", "--table=users", OURS, "--settle=1")
    assert hot in differing(outcome)
    (result,) = json.loads(outcome.out)["tables"]
    assert result["changing"] >= 1
    join.resume(pair.global_.region.admin_dsn)
    pair.meet()
    assert differing(diff(ready_lab, "--json", "--table=users")) == {}


@pytest.mark.parametrize(("settle", "longest"), [("0", 5.0), ("1.5", 6.5)])
def test_what_a_paused_stream_holds_back_differs(ready_lab: Lab, pair: Pair, settle: str, longest: float) -> None:
    user = pair.shared(name=f"live-{uuid4().hex}")
    join.pause(pair.global_.region.admin_dsn)
    pair.cn.run("UPDATE users SET level = level + 1 WHERE uuid = %s", user)
    began = time.monotonic()
    found = differing(diff(ready_lab, "--json", f"--settle={settle}"))
    took = time.monotonic() - began
    assert found.keys() == {user}
    assert (found[user]["winner"], found[user]["why"]) == ("cn", "version 1 over 0")
    assert float(settle) <= took < longest


def test_an_equal_pair_does_not_wait(ready_lab: Lab, pair: Pair) -> None:
    began = time.monotonic()
    assert diff(ready_lab, "--settle=60").status == 0
    assert time.monotonic() - began < 10


def test_a_role_that_may_only_read_compares_a_running_pair(ready_lab: Lab, pair: Pair) -> None:
    user = pair.shared(name=f"live-{uuid4().hex}")
    for side in pair.sides:
        role = "SELECT FROM pg_roles WHERE rolname = 'live_reader'"
        if not rows(side.region.admin_dsn, role):
            run_sql(side.region.admin_dsn, "CREATE ROLE live_reader LOGIN PASSWORD 'x'")
        run_sql(side.region.admin_dsn, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO live_reader")
        if rows(side.region.admin_dsn, "SELECT FROM pg_namespace WHERE nspname = 'pglogical'"):
            # Pglogical's own functions say whom a region follows.
            granted = ("--mode=pglogical", "--grant-to=live_reader", f"--dsn={side.region.admin_dsn}")
            assert migratectl("init", *granted).returncode == 0
    join.pause(pair.global_.region.admin_dsn)
    pair.cn.run("UPDATE users SET level = level + 1 WHERE uuid = %s", user)
    outcome = told(
        *(f"--node={r.name}={r.admin_dsn}?user=live_reader&password=x" for r in ready_lab.regions),
        "--json",
        "--settle=0.5",
    )
    assert differing(outcome).keys() == {user}
