"""A local transaction is open when a change of the same thing arrives: no error, no lost row, both sides equal."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from psycopg.errors import DeadlockDetected

from accountdb.lab import Lab
from accountdb.pg.connect import Connection, connect
from tests.acceptance.guarding import Pair, Side, assert_lawful, lawful
from tests.conftest import eventually

LATER = datetime(2027, 1, 1, tzinfo=UTC)
USER = "INSERT INTO users (uuid, username, email, password) VALUES (%s, %s, %s, 'x')"
SESSION = "INSERT INTO sessions (uuid, token, expires_at, user_uuid) VALUES (%s, %s, %s, %s)"


def until_blocked(side: Side, by: Connection) -> None:
    """Wait until a worker on ``side`` waits for the transaction of ``by``."""
    query = """
        SELECT FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid)) AND backend_type <> 'client backend'
    """
    eventually(lambda: side.found(query, by.info.backend_pid), what="a worker that waits for the local transaction")


def commit_in_the_way(pair: Pair, conn: Connection) -> None:
    """Commit once a worker of Global waits for this transaction, and wait until both have applied everything."""
    until_blocked(pair.global_, conn)
    conn.commit()
    pair.meet()


@pytest.mark.parametrize("outcome", ["commit", "rollback"])
@pytest.mark.parametrize("local_first", [True, False])
def test_an_uncommitted_registration_with_the_same_email(ready_lab: Lab, outcome: str, local_first: bool) -> None:
    email = f"{uuid4().hex}@example.cn"
    local = uuid4()
    with lawful(ready_lab) as pair, connect(pair.global_.region.app_dsn) as conn:
        if local_first:
            conn.execute(USER, (local, uuid4().hex, email))
            remote = pair.cn.register(email=email.upper())
        else:
            pair.lab.cut()
            try:
                remote = pair.cn.register(email=email.upper())
                conn.execute(USER, (local, uuid4().hex, email))
            finally:
                pair.lab.heal()
        pair.wake()
        until_blocked(pair.global_, conn)
        conn.commit() if outcome == "commit" else conn.rollback()
        pair.meet()
        here, there = pair.same("users", local), pair.same("users", remote)
        assert there is not None
        if outcome == "rollback":
            assert here is None
            assert there["email"] == email.upper()
            assert pair.all_conflicts(local, remote) == []
            return
        assert here is not None
        assert (here["email"], there["email"]) == ((email, None) if local_first else (None, email.upper()))
        (conflict,) = pair.same_conflicts(local, remote)
        assert conflict["row_key"] == (remote if local_first else local)


def test_a_local_delete_of_the_parent_is_open_while_a_child_arrives(ready_lab: Lab) -> None:
    with lawful(ready_lab) as pair, connect(pair.global_.region.app_dsn) as conn:
        user = pair.shared()
        conn.execute("DELETE FROM users WHERE uuid = %s", (user,))
        session = pair.cn.add("sessions", token=uuid4().hex, expires_at=LATER, user_uuid=user)
        commit_in_the_way(pair, conn)
        assert pair.same("users", user) is None
        assert pair.same("sessions", session) is None
        assert pair.all_conflicts(session)


def test_a_local_delete_that_is_taken_back_lets_the_child_in(ready_lab: Lab) -> None:
    with lawful(ready_lab) as pair, connect(pair.global_.region.app_dsn) as conn:
        user = pair.shared()
        conn.execute("DELETE FROM users WHERE uuid = %s", (user,))
        session = pair.cn.add("sessions", token=uuid4().hex, expires_at=LATER, user_uuid=user)
        until_blocked(pair.global_, conn)
        conn.rollback()
        pair.meet()
        assert pair.same("sessions", session) is not None
        assert pair.all_conflicts(session) == []


def test_a_local_child_is_open_while_the_delete_of_its_parent_arrives(ready_lab: Lab) -> None:
    session = uuid4()
    with lawful(ready_lab) as pair, connect(pair.global_.region.app_dsn) as conn:
        user = pair.shared()
        conn.execute(SESSION, (session, uuid4().hex, LATER, user))
        pair.cn.run("DELETE FROM users WHERE uuid = %s", user)
        commit_in_the_way(pair, conn)
        assert pair.same("users", user) is None
        assert pair.same("sessions", session) is None
        assert pair.all_conflicts(session)


def test_a_local_change_of_the_same_row_is_open(ready_lab: Lab) -> None:
    with lawful(ready_lab) as pair, connect(pair.global_.region.app_dsn) as conn:
        user = pair.shared()
        conn.execute("UPDATE users SET level = 1 WHERE uuid = %s", (user,))
        pair.cn.run("UPDATE users SET level = 2 WHERE uuid = %s", user)
        commit_in_the_way(pair, conn)
        row = pair.same("users", user)
        assert row is not None
        assert (row["level"], row["version"]) == (2, 1), "the later one"
        (conflict,) = pair.same_conflicts(user)
        assert conflict["loser"]["level"] == 1


def test_a_local_delete_of_the_same_row_is_open(ready_lab: Lab) -> None:
    with lawful(ready_lab) as pair, connect(pair.global_.region.app_dsn) as conn:
        user = pair.shared()
        conn.execute("DELETE FROM users WHERE uuid = %s", (user,))
        pair.cn.run("UPDATE users SET level = 2 WHERE uuid = %s", user)
        commit_in_the_way(pair, conn)
        assert pair.same("users", user) is None


def test_a_local_email_change_is_open_while_the_email_arrives(ready_lab: Lab) -> None:
    email = f"{uuid4().hex}@example.cn"
    with lawful(ready_lab) as pair, connect(pair.global_.region.app_dsn) as conn:
        older = pair.shared()
        conn.execute("UPDATE users SET email = %s WHERE uuid = %s", (email, older))
        newer = pair.cn.register(email=email)
        commit_in_the_way(pair, conn)
        kept, lost = pair.same("users", older), pair.same("users", newer)
        assert kept is not None
        assert lost is not None
        assert (kept["email"], lost["email"], lost["version"]) == (email, None, 1)


def test_two_transactions_that_wait_for_each_other_end_equal(ready_lab: Lab) -> None:
    """A deadlock between a worker and a local transaction: one of them is turned back, and the stream goes on."""
    email = f"{uuid4().hex}@example.cn"
    pair = Pair(ready_lab)
    user = pair.shared()
    with connect(pair.global_.region.app_dsn) as conn:
        conn.execute(USER, (uuid4(), uuid4().hex, email))
        with connect(pair.cn.region.app_dsn) as remote:
            remote.execute("UPDATE users SET level = 2 WHERE uuid = %s", (user,))
            remote.execute(USER, (uuid4(), uuid4().hex, email))
        until_blocked(pair.global_, conn)
        try:
            conn.execute("UPDATE users SET level = 3 WHERE uuid = %s", (user,))
            conn.commit()
        except DeadlockDetected:
            conn.rollback()
    pair.meet()
    assert_lawful(pair, expected_error="deadlock detected")
    row = pair.same("users", user)
    assert row is not None
    assert row["level"] in (2, 3)
    assert len(pair.cn.found("SELECT FROM users WHERE email = %s", email)) == 1
