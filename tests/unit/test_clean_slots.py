"""Which replication slots and origins are left-overs: by proof only, a slot too many costs less than one too few."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accountdb.errors import Refused, UsageError
from accountdb.replication.model import Mode, Standing, State, Subscription
from accountdb.setup.cleaning.model import Action, Care, Leftover
from accountdb.setup.cleaning.streams import Facts, Slot, check_named, plan

HOUR = 3600.0
SLOT = Slot("node_cn_sub_from_global", "pgoutput", False, False, False, "0/1", 5_000_000, HOUR)


def facts(node: str | None, *slots: Slot, users: dict[str, str] | None = None) -> Facts:
    """A region with a node name, slots, and subscriptions by the slot that each reads."""
    users = users or {}
    subscriptions = tuple(Subscription(name, State.REPLICATING, slot) for slot, name in users.items())
    standing = Standing(node, Mode.NATIVE, subscriptions, ())
    return Facts(standing, slots, users, frozenset({16400}), (), "account", ("account",), False, (), True, True, True)


def judged(here: Facts, other: Facts | None = None, *named: str) -> Leftover:
    """The one slot of ``here``, as it is judged."""
    (found,) = plan("global", {"global": here} | ({"cn": other} if other else {}), named)
    return found


CN = facts("node_cn")


def test_a_slot_of_a_region_that_was_asked_and_has_left_goes() -> None:
    found = judged(facts("node_global", SLOT), CN)
    assert (found.action, found.care) == (Action.REMOVE, Care.NONE)
    assert "inactive for 60 min, keeps 4.8 MB of log; cn, whose name it bears" in found.why


def test_without_the_other_region_it_may_only_be_away() -> None:
    found = judged(facts("node_global", SLOT))
    assert found.action is Action.KEEP
    assert "--slot node_cn_sub_from_global removes it" in found.note
    assert found.statement == ""


@pytest.mark.parametrize(
    ("slot", "other"),
    [
        (SLOT, facts("node_cn", users={SLOT.name: "sub_from_global"})),
        (SLOT, facts("node_c")),
        (SLOT, facts(None)),
        (SLOT, replace(CN, standing=None)),
        (replace(SLOT, away_s=5), CN),
        (replace(SLOT, name="debezium"), CN),
        (replace(SLOT, name="node_cn_"), CN),
        (replace(SLOT, name="node_cnx_sub"), CN),
        (replace(SLOT, plugin="pglogical_output"), CN),
        (replace(SLOT, synced=True), CN),
        (replace(SLOT, name="pg_16400_sync_1_2"), facts("pg_16400_sync")),
        (replace(SLOT, name="x" * 63), facts("x" * 63)),
    ],
)
def test_a_slot_without_proof_stays(slot: Slot, other: Facts) -> None:
    assert judged(facts("node_global", slot), other).action is Action.KEEP


def test_a_copy_of_the_region_proves_nothing() -> None:
    """It bears the node name, and has neither the subscription nor the slot that this region reads from."""
    here = facts("node_global", SLOT, users={"node_global_sub_from_cn": "sub_from_cn"})
    assert judged(here, CN).action is Action.KEEP
    partner = facts("node_cn", replace(SLOT, name="node_global_sub_from_cn", active=True))
    assert judged(here, partner).action is Action.REMOVE


def test_a_slot_that_nobody_knows_the_age_of_is_watched() -> None:
    found = judged(facts("node_global", replace(SLOT, away_s=None)), CN)
    assert (found.action, found.care) == (Action.REMOVE, Care.WATCH)


def test_a_lost_slot_goes_unless_its_subscription_is_known() -> None:
    lost = replace(SLOT, lost=True, name="anything")
    assert judged(facts("node_global", lost)).action is Action.REMOVE
    user = facts("node_cn", users={"anything": "sub"})
    assert judged(facts("node_global", lost), user).action is Action.KEEP


def test_a_person_may_name_a_slot() -> None:
    here = facts("node_global", replace(SLOT, name="debezium", away_s=None))
    found = judged(here, CN, "debezium")
    assert (found.action, found.care) == (Action.REMOVE, Care.NONE)
    assert judged(replace(here, may_drop_slot=False), CN, "debezium").action is Action.BY_HAND


def test_a_slot_that_is_in_use_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="is active"):
        check_named({"global": facts("node_global", replace(SLOT, active=True))}, [SLOT.name])
    user = facts("node_cn", users={SLOT.name: "sub_from_global"})
    with pytest.raises(Refused, match="used by subscription sub_from_global of cn"):
        check_named({"global": facts("node_global", SLOT), "cn": user}, [SLOT.name])
    with pytest.raises(UsageError, match="there is no slot nowhere"):
        check_named({"global": facts("node_global", SLOT)}, ["nowhere"])


def test_an_active_slot_is_not_listed() -> None:
    assert plan("global", {"global": facts("node_global", replace(SLOT, active=True)), "cn": CN}, []) == ()


@pytest.mark.parametrize(
    ("origin", "left"),
    [
        ("pg_16400", False),
        ("pg_16400_2608", False),
        ("pg_16401", True),
        ("pg_16401_2608", True),
        ("pg_mine", False),
        ("accountdb_merge", False),
        ("pgl_account_node_cn_sub", True),
        ("pgl_account_node_cn_live", False),
        ("pgl_account_eu_node_cn_sub", False),
        ("pgl_other_node_cn_sub", False),
    ],
)
def test_an_origin_goes_without_its_subscription(origin: str, left: bool) -> None:
    """Those of pglogical are told by the database that they are named after: subscriptions elsewhere are not seen."""
    here = replace(
        facts("node_cn", users={"pgl_account_node_cn_live": "live"}),
        origins=((1, origin),),
        databases=("account", "account_eu", "other"),
        pglogical=True,
    )
    found = plan("cn", {"cn": here}, [])
    assert [one.kind for one in found] == ["replication origin"] * left
    for blind in (replace(here, nodes=None), replace(here, standing=None), replace(here, pglogical=False)):
        if origin.startswith("pgl_"):
            assert [one for one in plan("cn", {"cn": blind}, []) if one.kind == "replication origin"] == []


def test_what_an_ordinary_role_may_not_drop_is_told() -> None:
    here = replace(
        facts("node_cn"), origins=((1, "pg_9"),), nodes=((2, "old"),), may_drop_origin=False, superuser=False
    )
    found = plan("cn", {"cn": here}, [])
    assert [one.action for one in found] == [Action.BY_HAND, Action.BY_HAND]
    assert all("an administrator runs it" in one.note and one.statement for one in found)
