"""Beats that only one side has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from accountdb.doctor.gaps import Gap, forgotten, passed_over

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(*seconds: int) -> list[datetime]:
    return [START + timedelta(seconds=one) for one in seconds]


def test_all_arrived() -> None:
    assert passed_over(at(0, 10, 20), at(0, 10, 20), None) is None
    assert forgotten(at(0, 10, 20), at(0, 10, 20), None) is None


def test_what_is_still_under_way_is_no_gap() -> None:
    assert passed_over(at(0, 10, 20, 30), at(0, 10), None) is None
    # Committed in the other order: the later one is there first.
    assert passed_over(at(0, 10, 12), at(0, 12), None) is None


def test_what_was_sent_before_the_stream_is_no_gap() -> None:
    assert passed_over(at(0, 10, 100, 200), at(100, 200), None) is None
    assert passed_over(at(0, 10), [], None) is None


def test_a_stretch_that_was_passed_over() -> None:
    assert passed_over(at(0, 10, 20, 30, 100), at(0, 100), None) == Gap(3, *at(10, 30))


def test_a_region_that_was_put_back() -> None:
    assert forgotten(at(0, 10, 100), at(0, 10, 20, 30), None) == Gap(2, *at(20, 30))


def test_a_merge_that_found_both_equal_settles_what_came_before() -> None:
    (proved,) = at(25)
    assert passed_over(at(0, 10, 20, 100), at(0, 100), proved) is None
    assert passed_over(at(0, 10, 20, 30, 100), at(0, 100), proved) == Gap(1, *at(30, 30))
    assert forgotten(at(0), at(0, 20), proved) is None


@given(st.sets(st.integers(0, 500)), st.sets(st.integers(0, 500)))
def test_a_gap_is_never_made_up(sent: set[int], arrived: set[int]) -> None:
    lost = passed_over(at(*sent), at(*arrived), None)
    if lost:
        assert lost.beats <= len(sent - arrived)
        assert {lost.first, lost.last} <= set(at(*(sent - arrived)))
    unknown = forgotten(at(*sent), at(*arrived), None)
    assert (unknown.beats if unknown else 0) == len(arrived - sent)
