"""Unique claims: one order decides them, and what a loser holds instead is short enough and still its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accountdb.contract.claims import Claimant, keeps, released_value

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LOW = UUID("00000000-0000-4000-8000-000000000001")
HIGH = UUID("ffffffff-ffff-4fff-bfff-ffffffffffff")
SIGNED = UUID("80000000-0000-4000-8000-000000000000")

# Few times on purpose: the tie, which the uuid decides, is the interesting case.
times = st.sampled_from([NOON, NOON + timedelta(microseconds=1), NOON - timedelta(days=1)])
uuids = st.one_of(st.sampled_from([LOW, HIGH, SIGNED]), st.uuids())
claimants = st.builds(Claimant, times, uuids)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)


@given(claimants, claimants)
@example(Claimant(NOON, SIGNED), Claimant(NOON, LOW))
def test_of_two_rows_exactly_one_keeps_the_value(a: Claimant, b: Claimant) -> None:
    assert keeps(a, b) + keeps(b, a) + (a == b) == 1


@given(claimants, claimants, claimants)
def test_the_order_is_transitive(a: Claimant, b: Claimant, c: Claimant) -> None:
    for x, y, z in permutations((a, b, c)):
        if keeps(x, y) and keeps(y, z):
            assert keeps(x, z)


@given(st.lists(claimants, min_size=1, max_size=6, unique=True))
def test_among_any_number_of_rows_there_is_one_that_keeps_it_against_all(rows: list[Claimant]) -> None:
    assert len([row for row in rows if all(keeps(row, other) for other in rows if other != row)]) == 1


@pytest.mark.parametrize(
    ("keeper", "loser"),
    [
        (Claimant(NOON, HIGH), Claimant(NOON + timedelta(microseconds=1), LOW)),
        (Claimant(NOON, LOW), Claimant(NOON, HIGH)),
        (Claimant(NOON, UUID(int=SIGNED.int - 1)), Claimant(NOON, SIGNED)),
    ],
)
def test_the_first_registration_keeps_it_then_the_smaller_uuid(keeper: Claimant, loser: Claimant) -> None:
    assert keeps(keeper, loser)
    assert not keeps(loser, keeper)


@given(texts, uuids)
def test_without_a_limit_the_whole_value_stays_readable(value: str, uuid: UUID) -> None:
    assert released_value(value, uuid) == f"{value}~{str(uuid)[:8]}"
    assert released_value(value, uuid, whole=True) == f"{value}~{uuid}"


@given(texts, uuids, st.integers(37, 80), st.booleans())
def test_the_released_value_keeps_within_the_limit_and_bears_the_uuid(
    value: str, uuid: UUID, limit: int, whole: bool
) -> None:
    released = released_value(value, uuid, limit, whole=whole)
    kept, _, suffix = released.rpartition("~")
    assert len(released) <= limit
    assert suffix == (str(uuid) if whole else str(uuid)[:8])
    assert value.startswith(kept)
    assert len(released) == min(limit, len(value) + 1 + len(suffix))


@given(texts, uuids, st.integers(9, 36))
def test_the_short_form_fits_where_nine_characters_fit(value: str, uuid: UUID, limit: int) -> None:
    assert len(released_value(value, uuid, limit)) <= limit


@given(texts, uuids, uuids, st.one_of(st.none(), st.integers(37, 80)))
def test_two_losers_of_one_value_never_meet_again_with_the_whole_uuid(
    value: str, one: UUID, other: UUID, limit: int | None
) -> None:
    same = released_value(value, one, limit, whole=True) == released_value(value, other, limit, whole=True)
    assert same == (one == other)
