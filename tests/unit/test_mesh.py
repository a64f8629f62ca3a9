"""Three regions and more: the pure parts."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accountdb.cli import options
from accountdb.compare.model import Finding, Shape, TableResult
from accountdb.compare.shapes import common
from accountdb.compare.told import Told
from accountdb.compare.verdict import winner
from accountdb.contract.decide import Action, Copy, decide, parts, standing
from accountdb.contract.row_order import RowStamp
from accountdb.errors import UsageError
from accountdb.lab.lab import LabStatus, LinkStatus
from accountdb.lab.model import NAMES, REGIONS, RegionState, names_of, region_of, touches
from accountdb.lab.settings import settings
from accountdb.merge.heal import HealReport
from accountdb.merge.model import Counts, Receipt, Turn
from accountdb.merge.turns import Turns
from accountdb.replication.model import Waiting, meant_for
from accountdb.replication.native import slot_name
from proof.history import make

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


# -- the lab --


def test_a_lab_has_the_first_regions_of_a_fixed_list() -> None:
    assert names_of(2) == REGIONS == ("cn", "global")
    assert names_of(5) == NAMES
    for count in (1, 6, -1):
        with pytest.raises(UsageError, match="2 to 5"):
            names_of(count)
    assert region_of("apac", names_of(3)) == "apac"
    with pytest.raises(UsageError):
        region_of("eu", names_of(3))


@pytest.mark.parametrize(
    ("meant", "expected"),
    [
        ((), ["cn-global", "global-cn", "cn-apac"]),
        (("cn",), ["cn-global", "global-cn", "cn-apac"]),
        (("apac",), ["cn-apac"]),
        (("global", "cn"), ["cn-global", "global-cn"]),
        (("global", "apac"), []),
    ],
)
def test_a_cut_is_of_all_links_or_of_a_region_or_between_two(meant: tuple[str, ...], expected: list[str]) -> None:
    links = [("cn", "global"), ("global", "cn"), ("cn", "apac")]
    assert ["-".join(link) for link in links if touches(link, meant)] == expected


def test_a_link_is_as_its_worse_direction() -> None:
    links = (
        LinkStatus("cn", "apac", 1, "up"),
        LinkStatus("apac", "cn", 2, "cut"),
        LinkStatus("global", "cn", 3, "up"),
        LinkStatus("cn", "global", 4, "up"),
    )
    status = LabStatus(Path("/x"), "native", "17", 1, "partly", 0.0, (), links)
    assert status.between() == {("cn", "apac"): "cut", ("cn", "global"): "up"}


def test_the_record_of_a_lab_of_two_that_an_older_version_wrote_is_read() -> None:
    assert RegionState(1, 2, "a", "b").links == {}


def test_servers_of_two_regions_are_as_ever_and_more_have_room_for_more() -> None:
    two, five = settings("native", 1, {}), settings("native", 1, {}, 5)
    assert settings("native", 1, {}, 2) == two
    assert int(two["max_replication_slots"]) < int(five["max_replication_slots"])
    assert int(five["max_logical_replication_workers"]) >= 4


# -- who waits for whom --


def waiting(name: str, provider: str | None, node: str | None = None) -> Waiting:
    return Waiting(name, provider, node)


@pytest.mark.parametrize(
    ("these", "alone", "mine", "unknown"),
    [
        ([waiting("from_b", "1/b", "node_b"), waiting("from_c", "1/c", "node_c")], False, ("from_b",), ()),
        ([waiting("from_c", "1/c", "node_c")], True, (), ()),
        ([waiting("from_b", "1/b")], True, ("from_b",), ()),
        # A copy of a whole server bears the same identity.
        ([waiting("from_c", "1/b", "node_c")], True, (), ()),
        ([waiting("old", None)], True, ("old",), ()),
        ([waiting("old", None)], False, (), ("old",)),
        ([waiting("old", None), waiting("older", None)], True, (), ("old", "older")),
        ([waiting("old", None), waiting("from_b", "1/b")], True, ("from_b",), ("old",)),
    ],
)
def test_a_waiting_subscription_is_made_for_the_region_that_it_waits_for(
    these: list[Waiting], alone: bool, mine: tuple[str, ...], unknown: tuple[str, ...]
) -> None:
    assert meant_for(these, "1/b", "node_b", alone=alone) == (mine, unknown)


def test_two_followers_never_get_one_slot() -> None:
    assert slot_name("node_cn", "sub_from_global") == "node_cn_sub_from_global"
    names = [
        "node-apac",
        "node.apac",
        "Node_apac",
        "node_apac",
        "nodeéapac",
        "n" * 62 + "a",
        "n" * 62 + "b",
        'a"b',
        "a%b",
    ]
    slots = {slot_name(node, "sub") for node in names}
    assert len(slots) == len(names)
    assert all(re.fullmatch("[a-z0-9_]{1,63}", slot) for slot in slots)
    # By its beginning a slot is known as a follower's.
    assert all(slot_name(node, "sub").startswith(slot_name(node, "")) for node in names if len(node) < 40)


# -- whose turn it is --


def test_two_regions_take_one_turn_whatever_it_writes() -> None:
    for changed in (True, False):
        turns = Turns(["b"])
        assert turns.next() == "b"
        turns.done(hub_changed=changed)
        assert (turns.next(), turns.waiting) == (None, ())


def played(others: str, changes: str) -> list[str]:
    turns, order = Turns(list(others)), []
    rest = iter(changes)
    while (other := turns.next()) is not None:
        order.append(other)
        turns.done(hub_changed=next(rest, "-") == "+")
    assert not turns.waiting
    return order


@pytest.mark.parametrize(
    ("others", "changes", "order"),
    [
        ("bc", "--", "bc"),
        ("bc", "+-", "bc"),
        ("bc", "-+-", "bcb"),
        ("bc", "++-", "bcb"),
        ("bc", "-++-", "bcbc"),
        ("bcd", "-+--", "bcdb"),
        ("bcd", "--+--", "bcdbc"),
    ],
)
def test_who_was_merged_before_the_hub_changed_is_merged_again(others: str, changes: str, order: str) -> None:
    assert played(others, changes) == list(order)


@given(
    st.integers(1, 4).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.frozensets(st.integers(0, 30)), min_size=n + 1, max_size=n + 1))
    )
)
def test_when_nobody_waits_all_hold_the_same(given_: tuple[int, list[frozenset[int]]]) -> None:
    """Pairs as a merge leaves them: both hold what either had."""
    count, sets = given_
    names = [str(number) for number in range(1, count + 1)]
    held = {name: set(some) for name, some in zip(["0", *names], sets, strict=True)}
    turns = Turns(names)
    while (other := turns.next()) is not None:
        both = held["0"] | held[other]
        changed = both != held["0"]
        held["0"], held[other] = set(both), set(both)
        turns.done(hub_changed=changed)
    assert not turns.waiting
    assert all(found == held["0"] for found in held.values())


def test_there_is_an_end_where_users_write_all_the_time() -> None:
    turns = Turns(["b", "c"])
    count = 0
    while turns.next() is not None:
        turns.done(hub_changed=True)
        count += 1
    assert count == 12
    assert turns.waiting


# -- one row in many regions --


def copy(version: int, life: int = 0, node: str = "n", content: str = "") -> Copy:
    born = NOON + timedelta(days=life)
    # The hash of the content covers the life too.
    return Copy(UUID(int=1), born, RowStamp(version, NOON, node, f"{content}{life}"), (str(version), content))


COPIES = st.one_of(st.none(), st.builds(copy, st.integers(0, 3), st.integers(0, 1), st.sampled_from("ab")))


@given(st.lists(COPIES, min_size=2, max_size=5), st.sets(st.integers(0, 1)))
def test_every_region_ends_with_the_same_copy_in_whatever_order(copies: list[Copy | None], lives: set[int]) -> None:
    dead = {NOON + timedelta(days=life): None for life in lives}
    found = parts(copies, dead)
    assert {part.result for part in found} == {standing(copies, dead)} == {standing(copies[::-1], dead)}
    for one, part in zip(copies, found, strict=True):
        assert part.own == one
        assert (part.action is Action.KEEP) == (one == part.result)
    assert decide(copies[0], copies[1], dead) == type(decide(None, None, {}))(*parts(copies[:2], dead))


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ((1, 2, 3), ("c", "version 3 over 2")),
        ((3, 2, 3), ("a", "version 3 over 2")),
        ((None, 2, None), ("b", "only in b")),
        ((2, None, 2), ("a", "only in a, c")),
        ((None, 1, 2), ("c", "version 2 over 1")),
    ],
)
def test_the_winner_among_three_is_told(versions: tuple[int | None, ...], expected: tuple[str, str]) -> None:
    copies = [None if version is None else copy(version) for version in versions]
    assert winner("abc", copies, {}) == expected
    assert winner("abc", copies, {NOON: None}) == (None, "deleted: a tombstone says so")


@given(st.lists(st.tuples(st.text(), st.text())), st.lists(st.tuples(st.text(), st.text())))
def test_what_was_told_is_known_again_and_nothing_else(
    first: list[tuple[str, str]], later: list[tuple[str, str]]
) -> None:
    new = Told()
    for key in first:
        new.add(key)
    known = Told().with_more(new)
    assert all(key in known for key in first)
    assert [key for key in later if key in known] == [key for key in later if key in set(first)]


def test_keys_of_several_columns_do_not_run_together() -> None:
    new = Told()
    new.add(("a", "bc"))
    assert ("ab", "c") not in Told().with_more(new)


def test_the_shapes_of_several_pairs_are_one() -> None:
    shape = Shape("public", "t", (), (), ordered=True, partitioned=frozenset("a"))
    other = replace(shape, ordered=False, partitioned=frozenset("c"))
    assert common([[shape], [other]]) == (replace(shape, ordered=False, partitioned=frozenset("ac")),)


# -- what is told in the end --


def turn(written: dict[str, int], differing: int = 0, withheld: str = "") -> Turn:
    counts = {name: Counts(inserted=count) for name, count in written.items()}
    result = TableResult("t", dict.fromkeys(written, 5), differing, 0)
    found = tuple(Finding("t", {"uuid": str(n)}, (), (), {}, None, "") for n in range(differing))
    return Turn(1, (result,), found, 1, {"t": counts}, frozenset(withheld))


def receipt(*turns: Turn, unproved: tuple[str, ...] = ()) -> Receipt:
    return Receipt.of(turns, seconds=1.0, echo=False, undo=None, also=(), left_out=(), unproved=unproved)


def test_a_receipt_adds_up_pairs_and_the_last_proof_of_each_counts() -> None:
    ab = turn({"a": 1, "b": 2}).after(turn({"a": 10, "b": 20}, differing=3, withheld="x"))
    found = receipt(ab, turn({"a": 100, "c": 4}))
    assert found.by_region(["a", "b", "c"]) == {"a": 111, "b": 22, "c": 4}
    assert (found.rounds, found.healed, found.withheld, found.equal) == (3, 3, (), True)
    assert found.proof[0].rows == {"a": 5, "b": 5, "c": 5}
    different = receipt(ab, turn({"a": 0, "c": 0}, differing=2))
    assert (different.equal, len(different.different)) == (False, 2)
    assert not receipt(ab, unproved=("c",)).equal


def test_healing_passes_add_up() -> None:
    first = HealReport(4, 2, {"a": 1, "b": 2}, (("t", "1"),))
    again = HealReport(3, 1, {"a": 0, "b": 5}, ())
    other = HealReport(5, 1, {"a": 7, "c": 1}, (("t", "2"),))
    found = HealReport.of([again.after(first), other])
    assert (found.looked_at, found.rounds, found.written) == (5, 4, {"a": 8, "b": 7, "c": 1})
    assert found.different == (("t", "2"),)


# -- the environment, and the proof's histories --


def test_the_environment_names_more_regions_than_two(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CN_DSN", "GLOBAL_DSN", "EU_WEST_DSN"):
        monkeypatch.setenv(name, f"dbname={name.lower()}")
    monkeypatch.setenv("ACCOUNTDB_REGIONS", "cn, eu-west global")
    expected = {"cn": "dbname=cn_dsn", "eu-west": "dbname=eu_west_dsn", "global": "dbname=global_dsn"}
    assert options.regions(None, None, None) == options.some(None, None, None) == expected
    # What is on the command line comes first.
    assert options.regions("dbname=x", None, None) == {"cn": "dbname=x", "global": "dbname=global_dsn"}
    assert options.regions(None, None, ["a=dbname=a", "b=dbname=b"]) == {"a": "dbname=a", "b": "dbname=b"}
    monkeypatch.setenv("ACCOUNTDB_REGIONS", "cn apac")
    with pytest.raises(UsageError, match="ACCOUNTDB_REGIONS names apac, and APAC_DSN is not set"):
        options.regions(None, None, None)


def test_histories_of_two_regions_are_as_ever_and_three_have_cuts_of_some() -> None:
    assert make(5) == make(5, regions=REGIONS)
    assert all(not round_.apart for round_ in make(5, 50).rounds)
    three = make(5, 50, NAMES[:3])
    assert {len(round_.apart) for round_ in three.rounds} == {0, 1, 2}
    assert all(set(round_.transactions) == set(NAMES[:3]) for round_ in three.rounds)
