"""What pgsync decides without a database: limits, watermarks, groups, and what it tells Prometheus."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accountdb.catalog.tables import Column, Reference, Table
from accountdb.errors import Refused, UsageError
from accountdb.sync.capture import Capture
from accountdb.sync.config import Policy
from accountdb.sync.grouping import groups
from accountdb.sync.limit import Limit, parse
from accountdb.sync.metrics import text
from accountdb.sync.model import Counts, Receipt, SyncTable
from accountdb.sync.watermark import Identity, Reach, Watermark, check_history, shape_of, why_full

ROWS = st.integers(0, 10**15)


# Limits


@pytest.mark.parametrize(
    ("written", "rows", "most"),
    [
        ("0", 10, 0),
        ("0%", 10, 0),
        ("1", 10, 1),
        ("7", 3, 7),
        ("1%", 10, 1),
        ("20%", 1, 1),
        ("20%", 0, 1),
        ("20%", 9, 1),
        ("20%", 10, 2),
        ("20%", 99, 19),
        ("100%", 10, 10),
        (" 50% ", 3, 1),
        ("99999999999999999999", 10, 10**20 - 1),
        ("1%", 10**18, 10**16),
    ],
)
def test_the_most_that_a_limit_allows(written: str, rows: int, most: int) -> None:
    limit = parse(written)
    assert limit.allows(most, rows)
    assert not limit.allows(most + 1, rows)


@pytest.mark.parametrize("written", ["", "-1", "101%", "1.5%", "1e3", "20 %", "%", "all", "0x10", "1000%"])
def test_what_is_no_limit_is_refused(written: str) -> None:
    with pytest.raises(UsageError, match="--max-delete") as refused:
        parse(written)
    assert refused.value.hint


@given(st.builds(Limit, st.integers(0, 100), percent=st.just(True)) | st.builds(Limit, ROWS, percent=st.just(False)))
def test_a_limit_reads_as_it_is_written(limit: Limit) -> None:
    assert parse(str(limit)) == limit


@given(st.integers(1, 100), ROWS, ROWS)
def test_a_table_that_need_not_be_counted_has_room(percent: int, doomed: int, more: int) -> None:
    """From ``rows_for`` on the answer is yes, whatever the exact number is."""
    limit = Limit(percent, percent=True)
    assert limit.allows(doomed, limit.rows_for(doomed) + more)


@given(ROWS, ROWS)
def test_of_no_percent_every_row_is_counted(doomed: int, rows: int) -> None:
    assert Limit(0, percent=True).rows_for(doomed) > rows


# Watermarks

NAME = ("public", "item")
HERE = Identity("7/1", 3)
FINE = Reach(end=100, distance=50, now=200, logged=True, forgotten=False)


def a_table(name: str = "item", capture: Capture = Capture.LOG, **changes: Any) -> SyncTable:
    column = Column("id", "integer", True, False, False, None, False)
    table = Table("public", name, "me", (column,), ("id",), (), **changes)
    return SyncTable(table, table, ("id",), True, capture, "binary")


def a_mark(capture: Capture = Capture.LOG, source: Identity = HERE) -> Watermark:
    shape = shape_of(a_table(), Policy.MIRROR)
    return Watermark(capture, "90:100:90,95", source, shape, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("mark", "source", "reach", "told"),
    [
        (a_mark(), HERE, FINE, None),
        (a_mark(), HERE, replace(FINE, end=200), None),
        (a_mark(), HERE, replace(FINE, logged=False), None),
        (a_mark(), HERE, replace(FINE, end=201), "has been restored or has failed over"),
        (a_mark(), HERE, replace(FINE, forgotten=True), "has been restored or has failed over"),
        (a_mark(), Identity("7/1", 4), FINE, "has been restored or has failed over"),
        (a_mark(), Identity("7/1", 2), FINE, "has been restored or has failed over"),
        (a_mark(), Identity("7/2", 3), FINE, "was synced from another database"),
        (a_mark(), Identity("8/1", 9), replace(FINE, end=201), "was synced from another database"),
    ],
)
def test_a_source_that_is_not_what_it_was_is_refused(
    mark: Watermark, source: Identity, reach: Reach, told: str | None
) -> None:
    if told is None:
        check_history("j", {NAME: mark}, source, {NAME: reach})
        return
    with pytest.raises(Refused, match=told) as refused:
        check_history("j", {NAME: mark}, source, {NAME: reach})
    assert "job j: " in refused.value.message
    assert "public.item" in refused.value.message
    assert "pgsync --once" in (refused.value.hint or "")
    # One such table among others is enough, and one that is not about to be synced is no matter.
    other = ("public", "other")
    with pytest.raises(Refused):
        check_history("j", {other: a_mark(source=source), NAME: mark}, source, {other: FINE, NAME: reach})
    check_history("j", {other: a_mark(source=source), NAME: mark}, source, {other: FINE})


@pytest.mark.parametrize(
    ("table", "mark", "reach", "why"),
    [
        (a_table(), a_mark(), FINE, None),
        (a_table(), None, None, "first pass"),
        (a_table(), a_mark(), None, "first pass"),
        (replace(a_table(), columns=("id", "v")), a_mark(), FINE, "the job has changed"),
        (replace(a_table(), delete=False), a_mark(), FINE, "the job has changed"),
        (a_table(), replace(a_mark(), shape=shape_of(a_table(), Policy.MERGE)), FINE, "the job has changed"),
        (a_table(capture=Capture.XMIN), a_mark(), FINE, "capture is xmin now"),
        (a_table(), a_mark(Capture.XMIN), FINE, "capture is log now"),
        (a_table(), a_mark(), replace(FINE, logged=False), "the change log does not reach back"),
        (a_table(), a_mark(), replace(FINE, distance=1 << 40), None),
        (a_table(capture=Capture.XMIN), a_mark(Capture.XMIN), replace(FINE, logged=False), None),
        (a_table(capture=Capture.XMIN), a_mark(Capture.XMIN), replace(FINE, distance=(1 << 30) - 1), None),
        (a_table(capture=Capture.XMIN), a_mark(Capture.XMIN), replace(FINE, distance=1 << 30), "too many transactions"),
    ],
)
def test_why_a_table_is_compared_whole(
    table: SyncTable, mark: Watermark | None, reach: Reach | None, why: str | None
) -> None:
    found = why_full(table, Policy.MIRROR, mark, reach)
    assert (found is None) == (why is None)
    assert (why or "") in (found or "")


@given(st.integers(0, 1 << 40), st.booleans(), st.sampled_from(Capture), st.sampled_from(Capture))
def test_a_pass_follows_only_what_can_be_told_apart(distance: int, logged: bool, now: Capture, then: Capture) -> None:
    why = why_full(a_table(capture=now), Policy.MIRROR, a_mark(then), replace(FINE, distance=distance, logged=logged))
    followed = now is then and (logged if now is Capture.LOG else distance < 1 << 30)
    assert (why is None) == followed


# Groups


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[SyncTable], set[tuple[int, int]]]:
    """Some tables, and which refers to which: also to themselves, to each other, and to tables of no job."""
    count = draw(st.integers(1, 8))
    edges = draw(st.sets(st.tuples(st.integers(0, count - 1), st.integers(0, count + 1)), max_size=14))
    found = []
    for number in draw(st.permutations(range(count))):
        references = [_reference(child, parent) for child, parent in sorted(edges)]
        found.append(
            a_table(
                f"t{number}",
                references=tuple(r for r in references if r.child == ("public", f"t{number}")),
                referenced_by=tuple(r for r in references if r.parent == ("public", f"t{number}")),
            )
        )
    return found, {(child, parent) for child, parent in edges if parent < count}


def _reference(child: int, parent: int) -> Reference:
    return Reference(f"f{child}_{parent}", ("public", f"t{child}"), ("id",), ("public", f"t{parent}"), ("id",), "a")


def _leads(start: int, end: int, edges: set[tuple[int, int]]) -> bool:
    seen: set[int] = set()
    waiting = [start]
    while waiting:
        one = waiting.pop()
        if one == end:
            return True
        if one not in seen:
            seen.add(one)
            waiting += [parent for child, parent in edges if child == one]
    return False


@given(graphs())
def test_tables_that_are_tied_change_together_parents_first(
    graph: tuple[list[SyncTable], set[tuple[int, int]]],
) -> None:
    tables, edges = graph
    found = groups(tables)
    assert sorted(table.name for group in found for table in group) == sorted(table.name for table in tables)
    place = {table.name[1]: (n, k) for n, group in enumerate(found) for k, table in enumerate(group)}
    for child, parent in edges:
        one, other = place[f"t{child}"], place[f"t{parent}"]
        assert one[0] == other[0]
        # In a cycle no order serves.
        assert other < one or _leads(parent, child, edges)
    # Nothing is in a group that need not be: its tables hang together.
    both = edges | {(parent, child) for child, parent in edges}
    for group in found:
        numbers = [int(table.name[1][1:]) for table in group]
        assert all(_leads(numbers[0], number, both) for number in numbers)


# Metrics

SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\{(?P<labels>[^\n]*)\} (?P<value>[0-9.e+-]+)")
LABEL = re.compile(r'(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)="(?P<value>(?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')


def _unescaped(escape: re.Match[str]) -> str:
    return {"\\\\": "\\", '\\"': '"', "\\n": "\n"}[escape[0]]


def parsed(document: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The samples of a document, by the rules of Prometheus' text format."""
    assert document.endswith("\n")
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    family = ""
    seen: set[str] = set()
    for line in document[:-1].split("\n"):
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            assert family not in seen
            seen.add(family)
            continue
        if line.startswith("# TYPE "):
            assert line.split(" ")[2:] == [family, "gauge"]
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        assert match["name"] == family
        labels = list(LABEL.finditer(match["labels"]))
        assert "".join(label[0] for label in labels) == match["labels"]
        key = tuple((label["name"], re.sub(r"\\.", _unescaped, label["value"])) for label in labels)
        assert (family, key) not in found
        found[family, key] = float(match["value"])
    return found


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.sampled_from(
    ['a"b', "a\\b", "a\nb", '\\"', "\\n", "团 %s", "{}", "a\r\u2028b", 'x="y"', ","]
)
receipts = st.builds(
    lambda tables, seconds, lag: Receipt("j", "mirror", False, tables, seconds, lag, False),
    st.dictionaries(names, st.builds(Counts, *[st.integers(0, 10**18)] * 6), max_size=3),
    st.floats(0, 1e9),
    st.floats(-1, 1e9),
)


@given(st.dictionaries(names, receipts, max_size=3), st.floats(0, 4e9))
def test_what_prometheus_reads_is_what_was_done(passes: dict[str, Receipt], finished: float) -> None:
    found = parsed(text(passes, finished))
    expected: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for job, receipt in passes.items():
        label = ("job", job)
        expected["accountdb_pgsync_last_pass_timestamp_seconds", (label,)] = finished
        expected["accountdb_pgsync_pass_seconds", (label,)] = receipt.seconds
        expected["accountdb_pgsync_lag_seconds", (label,)] = receipt.lag_seconds
        for table, counts in receipt.tables.items():
            for what, count in vars(counts).items():
                expected["accountdb_pgsync_rows", (label, ("table", table), ("what", what))] = float(count)
    assert found == expected
