"""The row order is total, and the merge of copies by it is commutative, associative and idempotent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from functools import reduce
from itertools import permutations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accountdb.contract.row_order import RowStamp, merge, wins

# Small ranges on purpose: ties in the leading fields are the interesting case.
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
times = st.one_of(
    st.sampled_from([NOON, NOON + timedelta(microseconds=1), NOON - timedelta(microseconds=1)]),
    st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=8))])),
)
nodes = st.one_of(
    st.sampled_from(["node_cn", "node_global", "Node_cn", "node_CN", "节点", "nöde", "", "local"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
)
hashes = st.one_of(st.sampled_from(["", "a", "b"]), st.text("0123456789abcdef", min_size=32, max_size=32))
versions = st.one_of(st.integers(0, 2), st.integers(-(2**63), 2**63 - 1))
stamps = st.builds(RowStamp, versions, times, nodes, hashes)


@given(stamps, stamps)
@example(RowStamp(1, NOON, "a", "h"), RowStamp(1, NOON.astimezone(timezone(timedelta(hours=8))), "a", "h"))
def test_of_two_different_copies_exactly_one_wins(a: RowStamp, b: RowStamp) -> None:
    assert wins(a, b) + wins(b, a) + (a == b) == 1


@given(stamps)
def test_no_copy_wins_over_itself(a: RowStamp) -> None:
    assert not wins(a, a)


@given(stamps, stamps, stamps)
def test_the_order_is_transitive(a: RowStamp, b: RowStamp, c: RowStamp) -> None:
    for x, y, z in permutations((a, b, c)):
        if wins(x, y) and wins(y, z):
            assert wins(x, z)


@given(stamps, stamps)
def test_merge_is_commutative_and_keeps_one_of_the_two(a: RowStamp, b: RowStamp) -> None:
    assert merge(a, b) == merge(b, a)
    assert merge(a, b) in (a, b)
    assert not wins(a, merge(a, b))
    assert not wins(b, merge(a, b))


@given(stamps, stamps, stamps)
def test_merge_is_associative(a: RowStamp, b: RowStamp, c: RowStamp) -> None:
    assert merge(merge(a, b), c) == merge(a, merge(b, c))


@given(stamps, stamps)
def test_merge_is_idempotent(a: RowStamp, b: RowStamp) -> None:
    assert merge(a, a) == a
    assert merge(merge(a, b), b) == merge(a, b)


@given(st.lists(stamps, min_size=1, max_size=5), st.data())
def test_every_order_of_arrival_and_any_repetition_ends_in_the_same_copy(
    copies: list[RowStamp], data: st.DataObject
) -> None:
    arrived = data.draw(st.permutations(copies)) + data.draw(st.lists(st.sampled_from(copies), max_size=5))
    assert reduce(merge, arrived) == reduce(merge, copies)


@pytest.mark.parametrize(
    ("winner", "loser"),
    [
        (RowStamp(2, NOON, "a", "a"), RowStamp(1, NOON + timedelta(days=1), "z", "z")),
        (RowStamp(1, NOON + timedelta(microseconds=1), "a", "a"), RowStamp(1, NOON, "z", "z")),
        (RowStamp(1, NOON, "node_global", "a"), RowStamp(1, NOON, "node_cn", "z")),
        (RowStamp(1, NOON, "node_cn", "a"), RowStamp(1, NOON, "Node_cn", "z")),
        (RowStamp(1, NOON, "节点", "a"), RowStamp(1, NOON, "zzz", "z")),
        (RowStamp(1, NOON, "\U00020000", "a"), RowStamp(1, NOON, "\uffee", "z")),
        (RowStamp(1, NOON, "a", "b"), RowStamp(1, NOON, "a", "a")),
    ],
)
def test_version_then_time_then_node_then_content_decide(winner: RowStamp, loser: RowStamp) -> None:
    assert wins(winner, loser)
    assert not wins(loser, winner)
