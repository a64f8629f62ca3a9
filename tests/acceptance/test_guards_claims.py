"""Unique claims in two regions at once: the first registration keeps the value, on both sides alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from accountdb.lab import Lab
from tests.acceptance.guarding import Pair, Row, lawful

both_ways = pytest.mark.parametrize("first", ["cn", "global"])
# The guards are the same on both engines, and so are the regions.
pytestmark = pytest.mark.by_hand(ready_lab="pglogical", first="global")


def tag() -> str:
    return uuid4().hex[:12]


def suffixed(value: str, uuid: UUID) -> str:
    return f"{value}~{str(uuid)[:8]}"


def user(pair: Pair, uuid: UUID) -> Row:
    row = pair.same("users", uuid)
    assert row is not None
    return row


def released(pair: Pair, loser: UUID, winner: UUID, **lost: str) -> Row:
    """Both regions recorded the claim alike, open, with both rows whole. Returns the loser's row on record."""
    found = [one for one in pair.same_conflicts(loser) if one["kind"] == "unique_claim"]
    (conflict,) = [one for one in found if one["winner"]["uuid"] == str(winner)]
    assert (conflict["rule"], conflict["state"]) == ("first_registration", "open")
    assert conflict["loser"].items() >= lost.items()
    row: Row = conflict["loser"]
    return row


@both_ways
def test_same_email_twice(ready_lab: Lab, first: str) -> None:
    email = f"{tag()}@example.cn"
    with lawful(ready_lab) as pair:
        here, there = pair.first_and_second(first)
        with pair.apart():
            keeper = here.register(email=email)
            loser = there.register(email=email)
            session = there.add("sessions", token=tag(), expires_at=datetime.now(UTC), user_uuid=loser)
        assert (user(pair, keeper)["email"], user(pair, keeper)["version"]) == (email, 0)
        assert (user(pair, loser)["email"], user(pair, loser)["version"]) == (None, 1)
        assert released(pair, loser, keeper, email=email)["password"] == "secret", "the row is whole"
        assert pair.same("sessions", session), "the loser keeps its children"


@both_ways
def test_same_username_in_other_case(ready_lab: Lab, first: str) -> None:
    name = f"Ann-{tag()}"
    with lawful(ready_lab) as pair:
        here, there = pair.first_and_second(first)
        with pair.apart():
            keeper = here.register(name)
            loser = there.register(name.upper())
        assert user(pair, keeper)["username"] == name
        assert user(pair, loser)["username"] == suffixed(name.upper(), loser)
        released(pair, loser, keeper, username=name.upper())


@both_ways
def test_same_email_and_username_as_one_other_row(ready_lab: Lab, first: str) -> None:
    name, email = tag(), f"{tag()}@example.cn"
    with lawful(ready_lab) as pair:
        here, there = pair.first_and_second(first)
        with pair.apart():
            keeper = here.register(name, email)
            loser = there.register(name.upper(), email.upper())
        row = user(pair, loser)
        assert (row["username"], row["email"], row["version"]) == (suffixed(name.upper(), loser), None, 2)
        assert [one["kind"] for one in pair.same_conflicts(loser, keeper)] == ["unique_claim"] * 2


@both_ways
@pytest.mark.parametrize("three_first", [False, True])
def test_same_email_and_same_username_against_two_different_rows(ready_lab: Lab, first: str, three_first: bool) -> None:
    """One person holds the email of one and the username of another; either is older, or younger."""
    name, email = tag(), f"{tag()}@example.cn"
    with lawful(ready_lab) as pair:
        here, there = pair.first_and_second(first)
        with pair.apart():
            if three_first:
                both = there.register(name, email)
            of_name, of_email = here.register(name.title()), here.register(email=email.title())
            if not three_first:
                both = there.register(name, email)
        row = user(pair, both)
        if three_first:
            assert (row["username"], row["email"], row["version"]) == (name, email, 0)
            assert user(pair, of_name)["username"] == suffixed(name.title(), of_name)
            assert user(pair, of_email)["email"] is None
            released(pair, of_name, both), released(pair, of_email, both)
        else:
            assert (row["username"], row["email"], row["version"]) == (suffixed(name, both), None, 2)
            assert user(pair, of_name)["username"] == name.title()
            assert user(pair, of_email)["email"] == email.title()
            assert {one["winner"]["uuid"] for one in pair.all_conflicts(both)} == {str(of_name), str(of_email)}
            for side in pair.sides:
                assert len(side.conflicts(both)) == 2


@both_ways
def test_email_change_onto_an_email_taken_meanwhile(ready_lab: Lab, first: str) -> None:
    """The older account moves onto an email that a newer one has just registered: it was there first."""
    email = f"{tag()}@example.cn"
    with lawful(ready_lab) as pair:
        older = pair.shared()
        here, there = pair.first_and_second(first)
        with pair.apart():
            newer = here.register(email=email)
            there.run("UPDATE users SET email = %s WHERE uuid = %s", email.upper(), older)
        assert (user(pair, older)["email"], user(pair, older)["version"]) == (email.upper(), 1)
        assert (user(pair, newer)["email"], user(pair, newer)["version"]) == (None, 1)
        released(pair, newer, older, email=email)


@both_ways
def test_two_accounts_change_onto_one_email(ready_lab: Lab, first: str) -> None:
    email = f"{tag()}@example.cn"
    with lawful(ready_lab) as pair:
        older, newer = pair.cn.register(), pair.shared()
        here, there = pair.first_and_second(first)
        with pair.apart():
            here.run("UPDATE users SET email = %s WHERE uuid = %s", email, newer)
            there.run("UPDATE users SET email = %s WHERE uuid = %s", email, older)
        assert user(pair, older)["email"] == email
        assert (user(pair, newer)["email"], user(pair, newer)["version"]) == (None, 2)
        released(pair, newer, older, email=email)


def test_equal_times_of_registration_are_decided_by_the_uuid(ready_lab: Lab) -> None:
    email = f"{tag()}@example.cn"
    low, high = sorted((uuid4(), uuid4()), key=lambda one: one.int)
    at = datetime.now(UTC) - timedelta(days=1)
    insert = "INSERT INTO users (uuid, created_at, username, email, password) VALUES (%s, %s, %s, %s, 'x')"
    with lawful(ready_lab) as pair:
        with pair.apart():
            pair.cn.run(insert, high, at, tag(), email)
            pair.global_.run(insert, low, at, tag(), email)
        assert user(pair, low)["email"] == email
        assert user(pair, high)["email"] is None
        released(pair, high, low, email=email)


@both_ways
@pytest.mark.parametrize(
    ("table", "values", "other"),
    [
        ("identities", {"provider": "github", "external_id": ""}, {}),
        ("sessions", {"token": "", "expires_at": datetime(2027, 1, 1, tzinfo=UTC)}, {}),
        ("admin_settings", {"module_key": "", "role": "admin", "enabled": True}, {"enabled": False}),
        (
            "subscriptions",
            {"external_id": "", "provider": "stripe", "payment_method": "card", "plan_id": "a"},
            {"plan_id": "b"},
        ),
    ],
)
def test_what_means_nothing_without_its_value_is_parked(
    ready_lab: Lab, first: str, table: str, values: Row, other: Row
) -> None:
    """Identity, session token, setting and subscription twice: the first one stays, the other waits in the record."""
    values = {name: value if value != "" else tag() for name, value in values.items()}
    with lawful(ready_lab) as pair:
        users = {} if table == "admin_settings" else {"user_uuid": pair.shared()}
        here, there = pair.first_and_second(first)
        with pair.apart():
            keeper = here.add(table, **values, **users)
            loser = there.add(table, **values | other, **users)
        assert pair.same(table, keeper) is not None
        assert pair.same(table, loser) is None
        assert all(side.dead(keeper, loser) == {loser} for side in pair.sides)
        (conflict,) = pair.same_conflicts(keeper, loser)
        assert (conflict["kind"], conflict["state"], conflict["row_key"]) == ("unique_claim", "open", loser)
        lost = {name: value for name, value in (values | other).items() if isinstance(value, str | bool)}
        assert conflict["loser"].items() >= lost.items()
        there.run(f"UPDATE {table} SET origin_node = origin_node WHERE uuid = %s", loser)  # it is gone: nothing


@both_ways
def test_a_parked_row_that_its_writer_changed_meanwhile_stays_parked(ready_lab: Lab, first: str) -> None:
    token = tag()
    with lawful(ready_lab) as pair:
        users = {"user_uuid": pair.shared(), "expires_at": datetime(2027, 1, 1, tzinfo=UTC)}
        here, there = pair.first_and_second(first)
        with pair.apart():
            keeper = here.add("sessions", token=token, **users)
            loser = there.add("sessions", token=token, **users)
            there.run("UPDATE sessions SET expires_at = '2030-01-01Z' WHERE uuid = %s", loser)
        assert pair.same("sessions", keeper) is not None
        assert pair.same("sessions", loser) is None
        contents = [str(one["loser"]["expires_at"]) for one in pair.all_conflicts(loser)]
        assert any(text.startswith("2030") for text in contents), "its last content is on record"


@both_ways
def test_an_identity_moves_onto_one_that_was_taken_meanwhile(ready_lab: Lab, first: str) -> None:
    external = tag()
    with lawful(ready_lab) as pair:
        person = pair.shared()
        older = pair.cn.add("identities", provider="github", external_id=tag(), user_uuid=person)
        newer = pair.cn.add("identities", provider="github", external_id=tag(), user_uuid=person)
        pair.meet()
        here, there = pair.first_and_second(first)
        with pair.apart():
            here.run("UPDATE identities SET external_id = %s WHERE uuid = %s", external, newer)
            there.run("UPDATE identities SET external_id = %s WHERE uuid = %s", external, older)
        kept = pair.same("identities", older)
        assert kept is not None
        assert kept["external_id"] == external
        assert pair.same("identities", newer) is None
        (conflict,) = pair.same_conflicts(older, newer)
        assert (conflict["row_key"], conflict["loser"]["external_id"]) == (newer, external)
