"""Updates, deletes and large values in two regions at once."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from accountdb.lab import Lab
from accountdb.pg.connect import connect
from tests.acceptance.guarding import Pair, Row, Side, assert_lawful, assert_running, heal, lawful

both_ways = pytest.mark.parametrize("first", ["cn", "global"])
# The guards are the same on both engines, and so are the regions.
pytestmark = pytest.mark.by_hand(ready_lab="pglogical", first="global")
LATER = datetime(2027, 1, 1, tzinfo=UTC)


def session_of(side: Side, user: UUID) -> UUID:
    return side.add("sessions", token=uuid4().hex, expires_at=LATER, user_uuid=user)


def kinds(side: Side, *keys: UUID) -> list[str]:
    return sorted(one["kind"] for one in side.conflicts(*keys))


def recorded(pair: Pair, key: UUID) -> list[Row]:
    return [one["loser"] for one in pair.all_conflicts(key)]


# -- deletes --


@both_ways
def test_update_against_delete(ready_lab: Lab, first: str) -> None:
    with lawful(ready_lab) as pair:
        user = pair.shared()
        here, there = pair.first_and_second(first)
        with pair.apart():
            for level in (7, 8, 9):
                there.run("UPDATE users SET level = %s WHERE uuid = %s", level, user)
            here.run("DELETE FROM users WHERE uuid = %s", user)
        assert pair.same("users", user) is None
        # Where it was deleted the engine has nothing to apply the update to, and no trigger fires.
        (conflict,) = there.conflicts(user)
        assert (conflict["kind"], conflict["rule"], conflict["state"]) == ("update_delete", "delete_wins", "settled")
        assert (conflict["loser"]["level"], conflict["loser"]["password"]) == (9, "secret")
        assert here.conflicts(user) == []


def test_an_update_after_which_the_row_was_deleted_is_no_conflict(ready_lab: Lab) -> None:
    with lawful(ready_lab) as pair:
        user = pair.shared()
        with pair.apart():
            pair.cn.run("UPDATE users SET level = 9 WHERE uuid = %s", user)
            pair.cn.run("DELETE FROM users WHERE uuid = %s", user)
        assert pair.same("users", user) is None
        assert pair.all_conflicts(user) == []


def test_both_delete(ready_lab: Lab) -> None:
    with lawful(ready_lab) as pair:
        user = pair.shared()
        session = session_of(pair.cn, user)
        pair.meet()
        with pair.apart():
            for side in pair.sides:
                side.run("DELETE FROM users WHERE uuid = %s", user)
        assert pair.same("users", user) is None
        assert pair.same("sessions", session) is None
        assert pair.all_conflicts(user, session) == []


@both_ways
@pytest.mark.parametrize("backup", [False, True], ids=["new", "out of a backup"])
def test_delete_and_reinsert(ready_lab: Lab, first: str, backup: bool) -> None:
    """The row begins a new life under the same uuid; what the other side wrote to the old one is on record."""
    with lawful(ready_lab) as pair:
        user = pair.shared()
        old = pair.same("users", user)
        assert old is not None
        here, there = pair.first_and_second(first)
        with pair.apart():
            there.run("UPDATE users SET level = 99 WHERE uuid = %s", user)
            here.run("DELETE FROM users WHERE uuid = %s", user)
            here.run(
                "INSERT INTO users (uuid, created_at, username, password, level) VALUES (%s, %s, %s, 'again', 5)",
                user,
                old["created_at"] if backup else datetime.now(UTC),
                old["username"],
            )
        new = pair.same("users", user)
        assert new is not None
        assert (new["password"], new["level"], new["version"]) == ("again", 5, 0)
        assert new["created_at"] > old["created_at"]
        assert kinds(there, user) == ["update_delete"]
        assert kinds(here, user) == ["dead_row"]
        assert [loser["level"] for loser in recorded(pair, user)] == [99, 99]


@both_ways
def test_children_inserted_while_their_parent_is_deleted(ready_lab: Lab, first: str) -> None:
    """A new session and a new identity of a user whom the other side deletes."""
    with lawful(ready_lab) as pair:
        user = pair.shared()
        known = session_of(pair.cn, user)
        pair.meet()
        here, there = pair.first_and_second(first)
        with pair.apart():
            session = session_of(there, user)
            identity = there.add("identities", provider="github", external_id=uuid4().hex, user_uuid=user)
            here.run("DELETE FROM users WHERE uuid = %s", user)
        for table, key in (("users", user), ("sessions", known), ("sessions", session), ("identities", identity)):
            assert pair.same(table, key) is None
        for key in (session, identity):
            assert kinds(here, key) == ["orphan"]
            assert kinds(there, key) == ["child_of_deleted"]
            states = {one["state"] for one in pair.all_conflicts(key)}
            assert states == {"settled"}
            assert {loser["uuid"] for loser in recorded(pair, key)} == {str(key)}
            assert all(key in side.dead(key) for side in pair.sides)
        assert {loser.get("external_id") for loser in recorded(pair, identity)} != {None}
        assert pair.all_conflicts(known) == []


@both_ways
def test_a_child_changed_while_its_parent_is_deleted(ready_lab: Lab, first: str) -> None:
    with lawful(ready_lab) as pair:
        user = pair.shared()
        session = session_of(pair.cn, user)
        pair.meet()
        here, there = pair.first_and_second(first)
        with pair.apart():
            there.run("UPDATE sessions SET token = token || '-renewed' WHERE uuid = %s", session)
            here.run("DELETE FROM users WHERE uuid = %s", user)
        assert pair.same("sessions", session) is None
        (conflict,) = there.conflicts(session)
        assert conflict["kind"] == "update_delete"
        assert conflict["loser"]["token"].endswith("-renewed")


def test_a_deleted_user_and_a_new_one_with_that_email(ready_lab: Lab) -> None:
    """The email becomes free on one side while its holder is only changed on the other."""
    with lawful(ready_lab) as pair:
        email = f"{uuid4().hex}@example.cn"
        old = pair.shared(email=email)
        with pair.apart():
            pair.cn.run("DELETE FROM users WHERE uuid = %s", old)
            new = pair.cn.register(email=email)
            pair.global_.run("UPDATE users SET level = 3 WHERE uuid = %s", old)
        row = pair.same("users", new)
        assert row is not None
        assert (row["email"], row["version"]) == (email, 0)
        assert pair.same("users", old) is None


def test_truncate_on_one_side_is_refused(ready_lab: Lab) -> None:
    with lawful(ready_lab) as pair:
        user = pair.shared()
        session = session_of(pair.cn, user)
        pair.meet()
        for side in pair.sides:
            for statement in ("TRUNCATE sessions", "TRUNCATE users CASCADE"):
                with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="would make the regions differ"):
                    side.run(statement)
        assert pair.same("sessions", session) is not None
        for side in pair.sides:
            side.run("SET accountdb.allow_truncate = on; TRUNCATE sessions")
        pair.meet()
        assert pair.same("sessions", session) is None
        assert pair.same("users", user) is not None


# -- two updates of one row --


def test_equal_version_and_equal_time(ready_lab: Lab) -> None:
    """Everything that is compared first is equal, even the node: the content decides, on both sides alike."""
    with lawful(ready_lab) as pair:
        user = pair.shared()
        with pair.apart():
            for side in pair.sides:
                write_with_a_stamp(side, user, side.region.name)
        row = pair.same("users", user)
        assert row is not None
        assert row["role"] in ("cn", "global")
        (conflict,) = pair.same_conflicts(user)
        assert (conflict["kind"], conflict["rule"], conflict["state"]) == ("update_update", "row_order", "settled")
        assert {conflict["winner"]["role"], conflict["loser"]["role"]} == {"cn", "global"}
        assert conflict["winner"]["role"] == row["role"]


def write_with_a_stamp(side: Side, user: UUID, role: str) -> None:
    """A write that carries its own stamp, as a sync does."""
    with connect(side.region.app_dsn) as conn:
        conn.execute("SET LOCAL accountdb.apply = 'on'")
        conn.execute(
            "UPDATE users SET role = %s, version = 8, origin_node = 'node_x',"
            " updated_at = '2031-05-05 05:05:05.000005Z' WHERE uuid = %s",
            (role, user),
        )


def big() -> str:
    """Text that is stored out of line: it does not compress below a page."""
    return random.Random(uuid4().int).randbytes(40_000).hex()


def toasted(pair: Pair) -> tuple[UUID, str]:
    text = big()
    user = pair.cn.register()
    found = pair.cn.add(
        "subscriptions",
        user_uuid=user,
        provider="stripe",
        payment_method="card",
        external_id=uuid4().hex,
        payment_qr=text,
    )
    pair.meet()
    stored = pair.cn.found("SELECT pg_column_size(payment_qr) FROM subscriptions WHERE uuid = %s", found)
    assert stored[0][0] > 8192
    return found, text


STATUS = "UPDATE subscriptions SET status = 'paused' WHERE uuid = %s"
LARGE = "UPDATE subscriptions SET payment_qr = %s WHERE uuid = %s"


@both_ways
def test_a_toasted_value_changed_on_the_side_that_wins(ready_lab: Lab, first: str) -> None:
    with lawful(ready_lab) as pair:
        key, _ = toasted(pair)
        text = big()
        here, there = pair.first_and_second(first)
        with pair.apart():
            here.run(STATUS, key)
            there.run(LARGE, text, key)
        row = pair.same("subscriptions", key)
        assert row is not None
        assert (row["status"], row["payment_qr"] == text) == ("active", True)
        assert {loser["status"] for loser in recorded(pair, key)} == {"paused"}


@both_ways
def test_a_toasted_value_changed_on_the_side_that_loses(ready_lab: Lab, first: str) -> None:
    """Both engines leave an unchanged large value out of the change and fill in what the receiver holds.

    So the winner's copy takes up the loser's large value there, and only there: one stamp, two contents. The row
    order has the content hash for this case, and healing makes the rows equal. Nothing is lost: the loser is on
    record with its value.
    """
    pair = Pair(ready_lab)
    key, old = toasted(pair)
    text = big()
    here, there = pair.first_and_second(first)
    with pair.apart():
        here.run(LARGE, text, key)
        there.run(STATUS, key)
    assert_running(pair)
    copies = [side.row("subscriptions", key) for side in (here, there)]
    assert [copy and copy["status"] for copy in copies] == ["paused", "paused"]
    assert [copy and copy["payment_qr"] == expected for copy, expected in zip(copies, (text, old), strict=True)] == [
        True,
        True,
    ]
    assert any(loser["payment_qr"] == text and loser["status"] == "active" for loser in recorded(pair, key))
    heal(ready_lab)
    pair.meet()
    row = pair.same("subscriptions", key)
    assert row is not None
    assert (row["status"], row["payment_qr"] in (old, text)) == ("paused", True)
    assert_lawful(pair)


def test_a_toasted_value_that_nobody_changed_stays(ready_lab: Lab) -> None:
    with lawful(ready_lab) as pair:
        key, text = toasted(pair)
        with pair.apart():
            pair.cn.run(STATUS, key)
            pair.global_.run("UPDATE subscriptions SET plan_id = 'gold' WHERE uuid = %s", key)
        row = pair.same("subscriptions", key)
        assert row is not None
        assert (row["plan_id"], row["status"], row["payment_qr"] == text) == ("gold", "active", True)


# -- the swap --


def swap(side: Side, a: UUID, b: UUID, emails: tuple[str, str]) -> None:
    with connect(side.region.app_dsn) as conn:
        conn.execute("UPDATE users SET email = %s WHERE uuid = %s", (f"{uuid4().hex}@swap", a))
        conn.execute("UPDATE users SET email = %s WHERE uuid = %s", (emails[0], b))
        conn.execute("UPDATE users SET email = %s WHERE uuid = %s", (emails[1], a))


@both_ways
@pytest.mark.parametrize("updates", [1, 2, 3])
def test_swap_of_two_emails_against_updates_of_one_of_them(ready_lab: Lab, first: str, updates: int) -> None:
    """Only one side has cause for some of what follows: healing makes both equal, and no email belongs to two."""
    pair = Pair(ready_lab)
    emails = f"{uuid4().hex}@example.cn", f"{uuid4().hex}@example.cn"
    a, b = pair.cn.register(email=emails[0]), pair.shared(email=emails[1])
    here, there = pair.first_and_second(first)
    with pair.apart():
        swap(here, a, b, emails)
        for level in range(updates):
            there.run("UPDATE users SET level = %s WHERE uuid = %s", level, a)
    assert_running(pair)
    heal(ready_lab)
    pair.meet()
    rows = [pair.same("users", key) for key in (a, b)]
    assert_lawful(pair)
    held = {row["email"] for row in rows if row}
    assert held <= {*emails, None}
    assert len(held) == 2
    assert_on_record(pair, (a, b), emails, held)


def assert_on_record(pair: Pair, keys: tuple[UUID, ...], emails: tuple[str, ...], held: set[Any]) -> None:
    """An email that nobody holds any more is in the record of one who lost it."""
    lost = {loser["email"] for key in keys for loser in recorded(pair, key)}
    assert {email for email in emails if email not in held} <= lost


@both_ways
def test_swap_of_two_emails_on_both_sides(ready_lab: Lab, first: str) -> None:
    """The same swap twice: each row was changed twice on one side and once on the other, and ends swapped."""
    pair = Pair(ready_lab)
    emails = f"{uuid4().hex}@example.cn", f"{uuid4().hex}@example.cn"
    a, b = pair.cn.register(email=emails[0]), pair.shared(email=emails[1])
    here, there = pair.first_and_second(first)
    with pair.apart():
        swap(here, a, b, emails)
        swap(there, b, a, emails[::-1])
    assert_running(pair)
    heal(ready_lab)
    pair.meet()
    assert_lawful(pair)


# -- many at once --


def test_ten_thousand_conflicts_in_one_transaction(ready_lab: Lab) -> None:
    tag, count = uuid4().hex[:10], 10_000
    bulk = (
        "INSERT INTO users (username, email, password)"
        " SELECT %s || n, %s || n || '@bulk', 'secret' FROM generate_series(1, %s) AS n"
    )
    with lawful(ready_lab) as pair:
        with pair.apart():
            for side in pair.sides:
                side.run(bulk, f"Bulk-{tag}-", f"bulk-{tag}-", count)
            began = datetime.now(UTC)
        assert datetime.now(UTC) - began < timedelta(seconds=60)
        mine = f"bulk-{tag}-%"
        for side in pair.sides:
            query = "SELECT count(*), count(email), count(*) FILTER (WHERE username LIKE '%%~%%') FROM users"
            assert side.found(query + " WHERE lower(username) LIKE %s", mine) == [(2 * count, count, count)]
        query = "SELECT id FROM accountdb.conflict WHERE loser ->> 'username' ILIKE %s ORDER BY id"
        ids = [side.found(query, mine) for side in pair.sides]
        assert ids[0] == ids[1]
        assert len(ids[0]) == 2 * count, "one for the name and one for the email of each"
