"""What becomes of each kind of difference, in two regions that no stream ties, whoever merges them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from accountdb.lab import Lab
from tests.conftest import Databases
from tests.integration.merging import ACCOUNT, Apart, Row, Side, regions_apart

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = datetime(2027, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def two(databases: Databases, native_lab: Lab) -> Iterator[Apart]:
    """Two regions for all tests: each uses rows of its own."""
    with regions_apart(databases, native_lab) as found:
        yield found


@pytest.fixture(params=["admin", "owner"])
def apart(two: Apart, request: pytest.FixtureRequest) -> Apart:
    """The same, emptied, to be merged by an administrator or by the ordinary role that owns the tables."""
    two.empty(*ACCOUNT)
    return two.by(request.param)


def register(*sides: Side, uuid: UUID | None = None, **values: Any) -> UUID:
    """A user, in both regions alike where both are given. What is not given is unlike any other."""
    tag = uuid4().hex
    chosen = {"uuid": uuid or uuid4(), "username": f"u-{tag}", "email": f"{tag}@example.cn", "password": "secret"}
    return add("users", *sides, **{**chosen, **values})


def add(table: str, *sides: Side, **values: Any) -> UUID:
    """A row, the same in each of ``sides`` where they are two."""
    chosen: dict[str, Any] = {"uuid": uuid4(), **values}
    if len(sides) == 2:
        chosen = {"created_at": NOON, "updated_at": NOON, "origin_node": "node_x", **chosen}
    names, marks = ", ".join(chosen), ", ".join(["%s"] * len(chosen))
    for side in sides:
        side.run(f"INSERT INTO {table} ({names}) VALUES ({marks})", *chosen.values())
    uuid: UUID = chosen["uuid"]
    return uuid


def session_of(user: UUID, *sides: Side, **values: Any) -> UUID:
    return add("sessions", *sides, **{"token": uuid4().hex, "expires_at": LATER, "user_uuid": user, **values})


def identity_of(user: UUID, *sides: Side, **values: Any) -> UUID:
    return add("identities", *sides, **{"provider": "github", "external_id": uuid4().hex, "user_uuid": user, **values})


def here_and_there(apart: Apart) -> tuple[Side, Side]:
    """Where something happens first: in CN when the administrator merges, else in Global."""
    return apart.sides if apart.role == "admin" else apart.sides[::-1]


def equal(apart: Apart) -> None:
    """Merge, find every law kept, merge again and find that nothing moves."""
    receipt = apart.merge()
    assert receipt.equal, receipt.different
    apart.assert_lawful()
    before = [side.found("SELECT uuid, xmin, ctid FROM users ORDER BY uuid") for side in apart.sides]
    again = apart.merge()
    assert again.written == {}
    assert [side.found("SELECT uuid, xmin, ctid FROM users ORDER BY uuid") for side in apart.sides] == before


def claims_of(side: Side, *keys: UUID) -> list[Row]:
    return [one for one in side.conflicts() if one["kind"] == "unique_claim" and one["row_key"] in keys]


# -- rows --


def assert_no_collision(apart: Apart) -> None:
    """Nothing on record but copies that were replaced by newer ones."""
    assert {one["kind"] for side in apart.sides for one in side.conflicts()} <= {"update_update"}


def test_each_region_gets_what_it_lacks_and_what_is_newer_there(apart: Apart) -> None:
    cn, global_ = apart.sides
    mine, yours = register(cn), register(global_)
    session = session_of(yours, global_)
    changed = register(cn, global_)
    for level in (7, 8):
        cn.run("UPDATE users SET level = %s WHERE uuid = %s", level, changed)
    global_.run("UPDATE users SET level = 99 WHERE uuid = %s", changed)
    equal(apart)
    assert apart.same("users", mine)
    assert apart.same("users", yours)
    assert apart.same("sessions", session)
    row = apart.one("users", changed)
    assert (row["level"], row["version"], row["origin_node"]) == (8, 2, "node_cn"), "the higher version, not the later"


def test_a_copy_that_the_other_region_may_never_have_seen_is_on_record(apart: Apart) -> None:
    """Both changed the row while no stream ran: the one with more changes wins, and the other one is kept."""
    user = register(*apart.sides)
    apart.global_.run("UPDATE users SET level = 7 WHERE uuid = %s", user)
    for level in (1, 2):
        apart.cn.run("UPDATE users SET level = %s WHERE uuid = %s", level, user)
    assert apart.merge().equal
    assert apart.one("users", user)["level"] == 2
    (event,) = [one for one in apart.global_.conflicts() if one["row_key"] == user]
    assert (event["kind"], event["rule"], event["state"]) == ("update_update", "row_order", "settled")
    assert (event["winner"]["level"], event["loser"]["level"]) == (2, 7)
    assert [one for one in apart.cn.conflicts() if one["row_key"] == user] == []


def test_equal_rows_are_not_touched(apart: Apart) -> None:
    cn, global_ = apart.sides
    user = register(cn, global_)
    session = session_of(user, cn, global_)
    tuples = "SELECT xmin, ctid, xmax FROM {} WHERE uuid = %s"
    before = [
        side.found(tuples.format(table), key)
        for side in apart.sides
        for table, key in (("users", user), ("sessions", session))
    ]
    register(cn)
    register(global_)
    cn.run("UPDATE users SET level = 2 WHERE uuid = %s", register(cn, global_))
    equal(apart)
    after = [
        side.found(tuples.format(table), key)
        for side in apart.sides
        for table, key in (("users", user), ("sessions", session))
    ]
    assert after == before


def test_equal_stamps_are_decided_by_the_content_alike_from_either_side(apart: Apart) -> None:
    cn, global_ = apart.sides
    user = register(cn, global_)
    for side, role in ((cn, "one"), (global_, "other")):
        side.run(
            f"SET LOCAL accountdb.apply = 'on'; UPDATE users SET role = '{role}', version = 8, origin_node = 'node_x',"
            f" updated_at = '2031-05-05Z' WHERE uuid = '{user}'"
        )
    equal(apart)
    row = apart.one("users", user)
    assert row["role"] in ("one", "other")
    events = [one for side in apart.sides for one in side.conflicts() if one["row_key"] == user]
    assert [one["kind"] for one in events] == ["update_update"], "the copy that lost is on record where it lost"
    assert {events[0]["winner"]["role"], events[0]["loser"]["role"]} == {"one", "other"}


# -- unique claims --


def test_the_first_registration_keeps_email_and_name(apart: Apart) -> None:
    here, there = here_and_there(apart)
    keeper = register(here, username="Ann", email="ann@example.cn")
    loser = register(there, username="ANN", email="ANN@example.cn")
    session = session_of(loser, there)
    equal(apart)
    kept, lost = apart.one("users", keeper), apart.one("users", loser)
    assert (kept["username"], kept["email"], kept["version"]) == ("Ann", "ann@example.cn", 0)
    assert (lost["username"], lost["email"], lost["version"]) == (f"ANN~{str(loser)[:8]}", None, 2)
    assert apart.same("sessions", session), "the loser keeps its children"
    for side in apart.sides:
        events = claims_of(side, loser)
        assert {one["detail"] for one in events} == {"users_email_lower_uk", "users_username_lower_uk"}
        assert {one["state"] for one in events} == {"open"}
        assert {one["winner"]["uuid"] for one in events} == {str(keeper)}


@pytest.mark.parametrize("table", ["identities", "sessions", "admin_settings", "subscriptions"])
def test_what_means_nothing_without_its_value_is_parked(apart: Apart, table: str) -> None:
    here, there = here_and_there(apart)
    user = register(here, there)
    values: dict[str, dict[str, Any]] = {
        "identities": {"provider": "github", "external_id": "x", "user_uuid": user},
        "sessions": {"token": "x", "expires_at": LATER, "user_uuid": user},
        "admin_settings": {"module_key": "x", "role": "admin"},
        "subscriptions": {"user_uuid": user, "provider": "p", "payment_method": "card", "external_id": "x"},
    }
    keeper = add(table, here, **values[table])
    loser = add(table, there, **values[table])
    equal(apart)
    assert apart.same(table, keeper)
    assert apart.same(table, loser) is None
    events = [event for side in apart.sides for event in claims_of(side, loser)]
    assert {(event["state"], event["loser"]["uuid"]) for event in events} == {("open", str(loser))}
    for side in apart.sides:
        assert (table, loser) in {(name, key) for name, key, _ in side.dead()}


def test_two_users_that_exchanged_their_emails_in_one_region_have_exchanged_them_in_both(apart: Apart) -> None:
    here, _ = here_and_there(apart)
    a, b = register(*apart.sides, email="a@x"), register(*apart.sides, email="b@x")
    here.run(
        f"UPDATE users SET email = NULL WHERE uuid = '{a}'; UPDATE users SET email = 'a@x' WHERE uuid = '{b}';"
        f" UPDATE users SET email = 'b@x' WHERE uuid = '{a}'"
    )
    equal(apart)
    rows = [apart.same("users", key) for key in (a, b)]
    assert [row and row["email"] for row in rows] == ["b@x", "a@x"]
    assert_no_collision(apart)


def test_tokens_that_went_round_in_one_region_have_gone_round_in_both(apart: Apart) -> None:
    """A value that is the row's meaning: nothing may be parked because another row is only behind."""
    user = register(*apart.sides)
    keys = [session_of(user, *apart.sides, token=f"t{number}") for number in range(1200)]
    apart.global_.run(
        "UPDATE sessions SET token = 'x' || token; UPDATE sessions"
        " SET token = 't' || (substr(token, 3)::int + 1) % 1200"
    )
    equal(apart)
    assert [apart.one("sessions", key)["token"] for key in keys[:2]] == ["t1", "t2"]
    assert_no_collision(apart)


def test_a_chain_of_new_names_ends_as_where_it_was_written(apart: Apart) -> None:
    here, _ = here_and_there(apart)
    keys = [register(*apart.sides, username=f"n{number}") for number in range(5)]
    for number in reversed(range(5)):
        here.run("UPDATE users SET username = %s WHERE uuid = %s", f"N{number + 1}", keys[number])
    newest = register(here, username="n0")
    equal(apart)
    assert [apart.one("users", key)["username"] for key in keys] == ["N1", "N2", "N3", "N4", "N5"]
    row = apart.one("users", newest)
    assert row["username"] == "n0"
    assert_no_collision(apart)


def test_an_email_that_was_freed_by_a_delete_belongs_to_who_took_it(apart: Apart) -> None:
    """The other region still has the deleted user, whose registration was the first."""
    here, _ = here_and_there(apart)
    old = register(*apart.sides, email="ann@example.cn")
    here.run("DELETE FROM users WHERE uuid = %s", old)
    new = register(here, email="ann@example.cn")
    session = session_of(new, here)
    equal(apart)
    assert apart.same("users", old) is None
    row = apart.one("users", new)
    assert row["email"] == "ann@example.cn"
    assert apart.same("sessions", session)
    assert_no_collision(apart)


def test_a_claim_of_three_rows_is_decided_alike(apart: Apart) -> None:
    """The oldest of three that want one email keeps it, whichever two meet first."""
    cn, global_ = apart.sides
    oldest = register(cn, email="old@x")
    middle = register(global_, email="middle@x")
    youngest = register(cn, email="want@x")
    cn.run("UPDATE users SET email = NULL WHERE uuid = %s", youngest)
    cn.run("UPDATE users SET email = 'want@x' WHERE uuid = %s", oldest)
    global_.run("UPDATE users SET email = 'Want@x' WHERE uuid = %s", middle)
    equal(apart)
    row = apart.one("users", oldest)
    assert row["email"] == "want@x"
    row = apart.one("users", middle)
    assert row["email"] is None


# -- deletes --


def test_a_delete_wins_over_an_update_and_stays(apart: Apart) -> None:
    here, there = here_and_there(apart)
    user = register(here, there)
    session = session_of(user, here, there)
    for level in (1, 2, 3):
        there.run("UPDATE users SET level = %s WHERE uuid = %s", level, user)
    here.run("DELETE FROM users WHERE uuid = %s", user)
    equal(apart)
    assert apart.same("users", user) is None
    assert apart.same("sessions", session) is None
    (event,) = [one for one in there.conflicts() if one["row_key"] == user]
    assert (event["kind"], event["loser"]["level"]) == ("update_delete", 3)


def test_children_that_the_deleter_did_not_know_go_along_and_are_on_record(apart: Apart) -> None:
    here, there = here_and_there(apart)
    user = register(here, there)
    here.run("DELETE FROM users WHERE uuid = %s", user)
    session, identity = session_of(user, there), identity_of(user, there)
    equal(apart)
    for table, key in (("sessions", session), ("identities", identity)):
        assert apart.same(table, key) is None
        kept = [one["loser"] for side in apart.sides for one in side.conflicts() if one["row_key"] == key]
        assert {row["uuid"] for row in kept} == {str(key)}


def test_a_child_that_moved_before_its_parent_was_deleted_is_kept(apart: Apart) -> None:
    here, there = here_and_there(apart)
    old = register(here, there)
    session, identity = session_of(old, here, there), identity_of(old, here, there)
    new = register(here)
    for table, key in (("sessions", session), ("identities", identity)):
        here.run(f"UPDATE {table} SET user_uuid = %s WHERE uuid = %s", new, key)
    here.run("DELETE FROM users WHERE uuid = %s", old)
    there.run("UPDATE users SET level = 77 WHERE uuid = %s", old)
    equal(apart)
    assert apart.same("users", old) is None
    for table, key in (("sessions", session), ("identities", identity)):
        row = apart.one(table, key)
        assert row["user_uuid"] == new


@pytest.mark.parametrize("backup", [False, True], ids=["new", "out of a backup"])
def test_a_row_that_began_a_new_life_keeps_its_new_children(apart: Apart, backup: bool) -> None:
    here, there = here_and_there(apart)
    user = register(here, there, username="ann", email="ann@x")
    known = session_of(user, here, there)
    for level in (1, 2, 3):
        there.run("UPDATE users SET level = %s WHERE uuid = %s", level, user)
    here.run("DELETE FROM users WHERE uuid = %s", user)
    register(
        here,
        uuid=user,
        username="ann",
        email="ann@x",
        created_at=NOON if backup else NOON + timedelta(hours=1),
        level=5,
    )
    session = session_of(user, here)
    equal(apart)
    row = apart.one("users", user)
    assert (row["level"], row["version"], row["email"]) == (5, 0, "ann@x")
    assert row["created_at"] > NOON
    assert apart.same("sessions", session)
    assert apart.same("sessions", known) is None


def test_children_follow_an_account_that_was_merged_into_another(apart: Apart) -> None:
    here, there = here_and_there(apart)
    loser, winner = register(here, there), register(here, there)
    late = session_of(loser, there)
    here.run(f"SELECT set_config('accountdb.merged_into', '{winner}', true); DELETE FROM users WHERE uuid = '{loser}'")
    equal(apart)
    assert apart.same("users", loser) is None
    row = apart.one("sessions", late)
    assert row["user_uuid"] == winner


def test_one_uuid_registered_twice_is_one_row(apart: Apart) -> None:
    cn, global_ = apart.sides
    user = uuid4()
    register(cn, uuid=user, level=1)
    register(global_, uuid=user, level=2)
    global_.run("UPDATE users SET level = 3 WHERE uuid = %s", user)
    equal(apart)
    row = apart.one("users", user)
    assert (row["level"], row["version"]) == (3, 1)
