"""Rows that differ: found among the rows of a part, and kept on disk where they are many."""

from __future__ import annotations

import os
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accountdb.compare import spool as spools
from accountdb.compare.rows import unequal
from accountdb.compare.spool import Spool

parts = st.dictionaries(st.tuples(st.sampled_from("abcdé")), st.integers(0, 2), max_size=5)


@given(parts, parts)
def test_unequal_rows_are_named_once_in_the_order_of_their_keys(
    a: dict[tuple[str, ...], int], b: dict[tuple[str, ...], int]
) -> None:
    found = list(unequal(a, b))
    keys = [pair.key for pair in found]
    assert keys == sorted({key for key in {**a, **b} if a.get(key) != b.get(key)})
    assert all((pair.a, pair.b) == (a.get(pair.key), b.get(pair.key)) for pair in found)


def filled(count: int) -> Spool[tuple[int, str]]:
    """A spool of so many items."""
    spool = Spool[tuple[int, str]]()
    for n in range(count):
        spool.add((n, "x" * (n % 50)))
    return spool


def numbers(spool: Spool[tuple[int, str]]) -> list[int]:
    """What it gives."""
    return [n for batch in spool.batches() for n, _ in batch]


@pytest.mark.parametrize("count", [0, 1, 1999, 2000, 2001, 10_007])
def test_a_spool_gives_back_what_it_got_as_often_as_it_is_asked(count: int) -> None:
    with closing(filled(count)) as spool:
        assert spool.count == count
        assert numbers(spool) == numbers(spool) == list(range(count))
        assert all(len(batch) <= 2000 for batch in spool.batches())


def test_a_spool_can_be_added_to_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "_BATCH", 10)
    with closing(filled(25)) as spool:
        reading = spool.batches()
        first = next(reading)
        spool.add((25, ""))
        assert [n for n, _ in first] == list(range(10))
        assert numbers(spool) == list(range(26))
        assert [n for batch in reading for n, _ in batch][:15] == list(range(10, 25))


def test_a_short_list_has_no_file_and_a_long_one_gives_it_back() -> None:
    before = len(os.listdir("/proc/self/fd"))
    short = [filled(10) for _ in range(50)]
    assert len(os.listdir("/proc/self/fd")) == before
    long = filled(2000)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    for spool in (*short, long):
        spool.close()
    assert len(os.listdir("/proc/self/fd")) == before
