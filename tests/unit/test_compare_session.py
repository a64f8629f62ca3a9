"""Several things at once: what comes back, in which order, and whose error is told."""

from __future__ import annotations

import threading

import pytest

from accountdb.compare.session import together


@pytest.mark.parametrize("given", [[], [3], [3, 1, 2]])
def test_what_is_found_comes_in_the_order_that_was_given(given: list[int]) -> None:
    assert together(lambda number: number * 10, given) == [number * 10 for number in given]


def test_they_do_run_at_once() -> None:
    meeting = threading.Barrier(3, timeout=30)
    assert sorted(together(lambda _: meeting.wait(), range(3))) == [0, 1, 2]


def test_the_first_error_in_the_order_given_is_told() -> None:
    def fails(name: str) -> None:
        raise ValueError(name)

    with pytest.raises(ValueError, match="one"):
        together(fails, ["one", "two"])
