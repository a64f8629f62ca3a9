"""Two regions, both written, on both engines: what a change carries, and how a conflict ends."""

from __future__ import annotations

import statistics
import time
from typing import Any
from uuid import UUID, uuid4

import pytest

from accountdb.lab import Lab
from accountdb.pg.connect import connect
from accountdb.replication.engine import standing
from accountdb.replication.model import State, Subscription
from accountdb.setup import join
from tests.conftest import eventually, rows, run_sql, value

STAMP = "SELECT level, version, updated_at, origin_node, email_verified FROM users WHERE uuid = %s"


def register(dsn: str) -> UUID:
    """A new user; the names do not matter to the test."""
    tag = uuid4().hex
    query = "INSERT INTO users (username, email, password) VALUES (%s, %s, 'secret') RETURNING uuid"
    return UUID(str(value(dsn, query, f"用户-{tag}", f"{tag}@Example.cn")))


def arrived(dsn: str, user: UUID) -> None:
    eventually(lambda: rows(dsn, "SELECT FROM users WHERE uuid = %s", user), what=f"user {user}")


def streaming(lab: Lab) -> None:
    """Wait until both streams run, and have failed workers try again at once."""
    for region in lab.regions:
        join.resume(region.admin_dsn)


def level_everywhere(lab: Lab, user: UUID) -> set[tuple[object, ...]]:
    return {rows(region.admin_dsn, STAMP, user)[0] for region in lab.regions}


def test_a_write_is_visible_on_the_other_side_in_under_a_second(ready_lab: Lab) -> None:
    for source, target in (("cn", "global"), ("global", "cn")):
        delays = []
        with connect(ready_lab.region(target).app_dsn, autocommit=True) as there:
            for _ in range(7):
                user = register(ready_lab.region(source).app_dsn)
                began = time.monotonic()
                eventually(lambda u=user: there.execute("SELECT FROM users WHERE uuid = %s", (u,)).fetchall())  # type: ignore[misc]
                delays.append(time.monotonic() - began)
        assert statistics.median(delays) < 1.0, delays


def test_an_update_raises_version_by_one_and_is_carried_unchanged(ready_lab: Lab) -> None:
    cn, global_ = ready_lab.region("cn"), ready_lab.region("global")
    user = register(cn.app_dsn)
    arrived(global_.app_dsn, user)
    for expected in (1, 2, 3):
        run_sql(cn.app_dsn, "UPDATE users SET level = level + 1 WHERE uuid = %s", user)
        here = rows(cn.app_dsn, STAMP, user)[0]
        assert here[1] == expected
        eventually(lambda h=here: rows(global_.app_dsn, STAMP, user)[0] == h)  # type: ignore[misc]
        assert here[3] == "node_cn"
    run_sql(global_.app_dsn, "UPDATE users SET level = 77 WHERE uuid = %s", user)
    assert rows(global_.app_dsn, STAMP, user)[0][1::2][:2] == (4, "node_global")
    eventually(lambda: len(level_everywhere(ready_lab, user)) == 1)
    assert value(cn.app_dsn, "SELECT origin_node FROM users WHERE uuid = %s", user) == "node_global"


def test_a_generated_column_follows_on_the_other_side(ready_lab: Lab) -> None:
    cn, global_ = ready_lab.region("cn"), ready_lab.region("global")
    user = register(cn.app_dsn)
    arrived(global_.app_dsn, user)
    run_sql(cn.app_dsn, "UPDATE users SET level = 5 WHERE uuid = %s", user)
    eventually(lambda: rows(global_.app_dsn, STAMP, user)[0][0] == 5)
    assert rows(global_.app_dsn, STAMP, user)[0][4] is False
    run_sql(cn.app_dsn, "UPDATE users SET email_verified_at = now() WHERE uuid = %s", user)
    eventually(lambda: rows(global_.app_dsn, STAMP, user)[0][4] is True)


@pytest.mark.parametrize("first", ["cn", "global"])
def test_one_row_updated_on_both_sides_ends_equal_by_the_row_order(ready_lab: Lab, first: str) -> None:
    second = "global" if first == "cn" else "cn"
    user = register(ready_lab.region(first).app_dsn)
    arrived(ready_lab.region(second).app_dsn, user)
    ready_lab.cut()
    try:
        run_sql(ready_lab.region(first).app_dsn, "UPDATE users SET level = 1 WHERE uuid = %s", user)
        run_sql(ready_lab.region(second).app_dsn, "UPDATE users SET level = 2 WHERE uuid = %s", user)
    finally:
        ready_lab.heal()
    streaming(ready_lab)
    eventually(lambda: len(level_everywhere(ready_lab, user)) == 1, what="equal rows")
    # Equal versions: the later update wins, whichever region it came from.
    assert level_everywhere(ready_lab, user).pop()[0] == 2
    assert_on_record(ready_lab, user, winner=2, loser=1)


def assert_on_record(lab: Lab, user: UUID, *, winner: int, loser: int) -> None:
    """Both regions recorded the same event, with both rows whole."""
    query = """
        SELECT id, kind, rule, winner ->> 'level', loser ->> 'level', loser ->> 'password', state
        FROM accountdb.conflict WHERE row_key = %s
    """

    def recorded() -> dict[str, list[tuple[Any, ...]]]:
        found: dict[str, list[tuple[Any, ...]]] = {
            region.name: rows(region.admin_dsn, query, user) for region in lab.regions
        }
        assert all(found.values())
        return found

    # The winner's region may still be about to refuse the loser.
    events = eventually(recorded, what="a record in both regions")
    assert events["cn"] == events["global"]
    assert len(events["cn"]) == 1
    assert events["cn"][0][1:] == ("update_update", "row_order", str(winner), str(loser), "secret", "settled")


def test_the_higher_version_wins_over_the_later_time(ready_lab: Lab) -> None:
    cn, global_ = ready_lab.region("cn"), ready_lab.region("global")
    user = register(cn.app_dsn)
    arrived(global_.app_dsn, user)
    ready_lab.cut()
    try:
        for level in (10, 11, 12):
            run_sql(cn.app_dsn, "UPDATE users SET level = %s WHERE uuid = %s", level, user)
        run_sql(global_.app_dsn, "UPDATE users SET level = 99 WHERE uuid = %s", user)
    finally:
        ready_lab.heal()
    streaming(ready_lab)
    eventually(lambda: {row[0] for row in level_everywhere(ready_lab, user)} == {12}, what="version 3 on both")


def test_equal_version_and_equal_time_are_decided_by_the_node(ready_lab: Lab) -> None:
    """The same microsecond on both sides: written by an apply that carries its values."""
    cn, global_ = ready_lab.region("cn"), ready_lab.region("global")
    user = register(cn.app_dsn)
    arrived(global_.app_dsn, user)
    ready_lab.cut()
    try:
        for region, node in ((cn, "node_cn"), (global_, "node_global")):
            with connect(region.app_dsn) as conn:
                conn.execute("SET LOCAL accountdb.apply = 'on'")
                conn.execute(
                    "UPDATE users SET role = %s, version = 8, origin_node = %s,"
                    " updated_at = '2031-05-05 05:05:05.000005+00' WHERE uuid = %s",
                    (node, node, user),
                )
    finally:
        ready_lab.heal()
    streaming(ready_lab)
    query = "SELECT role, version, origin_node FROM users WHERE uuid = %s"
    for region in (cn, global_):
        eventually(lambda d=region.app_dsn: rows(d, query, user)[0] == ("node_global", 8, "node_global"))  # type: ignore[misc]


def test_a_hot_row_updated_at_full_speed_on_both_sides_ends_equal(ready_lab: Lab) -> None:
    cn, global_ = ready_lab.region("cn"), ready_lab.region("global")
    user = register(cn.app_dsn)
    arrived(global_.app_dsn, user)
    with connect(cn.app_dsn, autocommit=True) as a, connect(global_.app_dsn, autocommit=True) as b:
        for level in range(300):
            for conn in (a, b):
                conn.execute("UPDATE users SET level = %s WHERE uuid = %s", (level, user))
    eventually(lambda: len(level_everywhere(ready_lab, user)) == 1, what="equal rows")
    states = [s.state for region in ready_lab.regions for s in join_states(region.admin_dsn)]
    assert states == [State.REPLICATING, State.REPLICATING]


def join_states(dsn: str) -> tuple[Subscription, ...]:
    with connect(dsn, autocommit=True) as conn:
        return standing(conn).subscriptions
