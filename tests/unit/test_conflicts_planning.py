"""Plans are pure: which writes follow from which states."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from accountdb.catalog.tables import Column, Reference, Table, UniqueIndex
from accountdb.conflicts import planning
from accountdb.conflicts.folding import Fold, Move
from accountdb.conflicts.model import Action, Conflict, Copy, Request, Sighting, Write
from accountdb.errors import AccountdbError, UsageError

NOW = datetime(2031, 5, 5, tzinfo=UTC)
REFERENCE = Reference("children_user_fk", ("public", "children"), ("user_uuid",), ("public", "users"), ("uuid",), "c")


def column(name: str, type_: str = "text", *, not_null: bool = False, generated: bool = False) -> Column:
    return Column(name, type_, not_null, generated, identity=False, default=None, uses_sequence=False)


def index(name: str, *columns: str) -> UniqueIndex:
    return UniqueIndex(
        name, columns, (("pg_catalog", "="),) * len(columns), None, columns, nulls_equal=False, comment=None
    )


CONTRACT = (
    column("uuid", "uuid", not_null=True),
    column("created_at", "timestamp with time zone", not_null=True),
    column("updated_at", "timestamp with time zone", not_null=True),
    column("version", "bigint", not_null=True),
    column("origin_node", not_null=True),
)
USERS = Table(
    "public",
    "users",
    "account",
    (
        *CONTRACT,
        column("email"),
        column("username", not_null=True),
        column("meta", "jsonb"),
        column("g", generated=True),
    ),
    ("uuid",),
    (),
    (index("users_email_uk", "email"), index("users_username_uk", "username")),
    (),
    (REFERENCE,),
)
CHILDREN = Table(
    "public",
    "children",
    "account",
    (*CONTRACT, column("key", not_null=True), column("user_uuid", "uuid", not_null=True)),
    ("uuid",),
    (),
    (index("children_key_uk", "key"),),
    (REFERENCE,),
)


def copy(number: int, version: int = 0, seconds: int = 0, node: str = "node_cn") -> Copy:
    text = json.dumps({"uuid": str(UUID(int=number)), "version": version})
    return Copy(UUID(int=number), version, NOW, NOW + timedelta(seconds=seconds), node, text)


def conflict(**changes: Any) -> Conflict:
    made = Conflict(
        UUID(int=1),
        "unique_claim",
        "public",
        "users",
        UUID(int=9),
        "first_registration",
        "users_email_uk",
        json.dumps({"uuid": str(UUID(int=8))}),
        json.dumps({"uuid": str(UUID(int=9)), "version": 4, "email": "a@x"}),
        waiting=True,
        sightings=(Sighting("cn", "node_cn", NOW),),
    )
    return replace(made, **changes)


PARKED = conflict(table="children", detail="children_key_uk")


def asked(**values: str | None) -> Request:
    return Request(Action.SET, tuple(values.items()))


@pytest.mark.parametrize("name", [*sorted(planning.NEVER_SET), "g", "nosuch"])
def test_columns_that_may_not_be_set_are_usage_errors(name: str) -> None:
    with pytest.raises(UsageError, match=f"--set {name}"):
        planning.new_values(USERS, asked(**{name: "1"}))


def test_values_keep_their_text_json_is_read_and_nothing_is_null() -> None:
    values = planning.new_values(USERS, asked(email="007", meta='{"a": 1.5}', username=None))
    assert values == {"email": "007", "meta": {"a": 1.5}, "username": None}
    with pytest.raises(UsageError, match="no valid JSON"):
        planning.new_values(USERS, asked(meta="{"))
    with pytest.raises(UsageError, match="twice"):
        planning.new_values(USERS, Request(Action.SET, (("email", "a"), ("email", "b"))))


def test_what_is_set_must_be_what_the_conflict_is_about() -> None:
    planning.check_about(conflict(), USERS, asked(email="x", username="y"))
    with pytest.raises(UsageError, match="is about email"):
        planning.check_about(conflict(), USERS, asked(username="y"))
    planning.check_about(conflict(kind="unknown", detail="22001 too long"), USERS, asked(username="y"))
    with pytest.raises(UsageError, match="is about user_uuid"):
        planning.check_about(conflict(kind="orphan", detail=REFERENCE.name), CHILDREN, asked(key="y"))


def test_a_row_is_written_where_its_newest_copy_is() -> None:
    newest = {"cn": copy(9, 3), "global": copy(9, 3, seconds=1)}
    assert planning.where_to_write(newest, parked=False) == "global"
    assert planning.where_to_write({"cn": copy(9, 4), "global": copy(9, 3, seconds=9)}, parked=False) == "cn"
    assert planning.where_to_write({"cn": copy(9), "global": copy(9)}, parked=False) == "cn"
    assert planning.where_to_write({"cn": None, "global": copy(9)}, parked=False) == "global"
    assert planning.where_to_write({"cn": None, "global": None}, parked=False) == "cn"


def test_a_parked_row_comes_back_where_it_is_missing() -> None:
    assert planning.where_to_write({"cn": copy(9), "global": None}, parked=True) == "global"
    assert planning.where_to_write({"cn": copy(9), "global": copy(9, 2)}, parked=True) == "global"


def test_a_released_row_is_updated_in_the_version_that_was_seen() -> None:
    step = planning.set_step(conflict(), USERS, {"email": "b@x"}, "cn", {"cn": copy(9, 5)}, deleted=False)
    assert (step.write, step.uuid, step.version, step.values) == (Write.UPDATE, UUID(int=9), 5, (("email", "b@x"),))


def test_a_parked_row_is_made_again_above_every_copy() -> None:
    standing = {"cn": None, "global": copy(9, 7)}
    step = planning.set_step(PARKED, CHILDREN, {"key": "b"}, "cn", standing, deleted=False)
    assert step.write is Write.INSERT
    assert dict(step.values) == {"key": "b", "version": 8}
    step = planning.set_step(PARKED, CHILDREN, {"key": "b"}, "cn", {"cn": None}, deleted=False)
    assert dict(step.values)["version"] == 5
    content = json.dumps({"uuid": "x", "key": "a", "user_uuid": "u", "updated_at": "t", "origin_node": "n", "old": 1})
    names = planning.inserted_columns(CHILDREN, replace(step, text=content))
    assert names == ("uuid", "version", "key", "user_uuid")


def test_a_deleted_row_is_not_brought_back() -> None:
    with pytest.raises(AccountdbError, match="not there any more"):
        planning.set_step(conflict(), USERS, {"email": "b"}, "cn", {"cn": None}, deleted=False)
    with pytest.raises(AccountdbError, match="was deleted"):
        planning.set_step(PARKED, CHILDREN, {"key": "b"}, "cn", {"cn": None}, deleted=True)


def test_what_closes_with_a_new_value() -> None:
    email, username = conflict(), conflict(id=UUID(int=2), detail="users_username_uk")
    update = planning.set_step(email, USERS, {"email": "b"}, "cn", {"cn": copy(9)}, deleted=False)
    assert planning.closed_by_set(email, [email, username], USERS, asked(email="b"), update) == (email,)
    both = planning.closed_by_set(email, [email, username], USERS, asked(email="b", username="c"), update)
    assert both == (email, username)
    insert = planning.set_step(PARKED, CHILDREN, {"key": "b"}, "cn", {"cn": None}, deleted=False)
    other = replace(PARKED, id=UUID(int=3), detail="another_index")
    assert planning.closed_by_set(PARKED, [other], CHILDREN, asked(key="b"), insert) == (PARKED, other)


def test_a_merge_moves_children_takes_twins_out_and_deletes_the_loser_last() -> None:
    twin = Fold(CHILDREN, copy(22), copy(12), ())
    moves = (Move(CHILDREN, copy(21, 3), {"user_uuid": "w"}, None), Move(CHILDREN, copy(22), {"user_uuid": "w"}, twin))
    steps = list(planning.merge_steps(Fold(USERS, copy(2, 6), copy(1), moves)))
    assert [(s.write, s.uuid.int, s.version) for s in steps] == [
        (Write.UPDATE, 21, 3),
        (Write.DELETE, 22, 0),
        (Write.DELETE, 2, 6),
    ]
    assert steps[0].values == (("user_uuid", "w"),)
    # Only what others refer to tells its tombstone who took its place.
    assert [(s.into.int if s.into else None, s.tells) for s in steps] == [(None, False), (12, False), (1, True)]
