"""Random rows and random changes: every change of a single value is found, and nothing else is told."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from accountdb.compare.columns import HashKind
from accountdb.compare.diff import Comparison, comparison, diff
from accountdb.compare.model import Finding, Options
from accountdb.pg.connect import connect
from tests.conftest import Databases
from tests.integration.comparing import ODD_SETTINGS, A, B, Two

Values = dict[str, str | None]

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
odd_text = st.one_of(
    st.sampled_from(["", " ", "a", "A", "a ", "NULL", "é", "e\u0301", "a|b", "a,b", "{}", "\\", "%s"]), text
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), odd_text)
objects = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_text, inner, max_size=3)
)


def single(value: float) -> float:
    """The nearest float of 4 bytes."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def array(items: Sequence[str | None]) -> str:
    """The literal of an array of texts."""
    quoted = ("NULL" if item is None else '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items)
    return "{" + ",".join(quoted) + "}"


# Type, and literals of it: two that are not the same text are not the same value.
COLUMNS: dict[str, tuple[str, st.SearchStrategy[str]]] = {
    "a": ("text", odd_text),
    "b": ("text", odd_text),
    "folded": ("citext", odd_text),
    "n": ("bigint", st.integers(-(2**63), 2**63 - 1).map(str)),
    "m": ("bigint", st.integers(0, 9).map(lambda x: str(x * (2**32 + 1)))),
    "exact": (
        "numeric",
        st.tuples(st.integers(-(10**20), 10**20), st.integers(0, 5)).map(lambda p: f"{p[0]}.{'0' * p[1]}"),
    ),
    "double": ("float8", st.floats().map(repr)),
    "single": ("float4", st.floats(width=32).map(lambda x: repr(single(x)))),
    "moment": (
        "timestamptz",
        st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(lambda d: d.replace(tzinfo=UTC).isoformat()),
    ),
    "span": ("interval", st.tuples(*[st.integers(-40, 40)] * 3).map(lambda p: "{} mons {} days {} us".format(*p))),
    "bytes": ("bytea", st.binary(max_size=6).map(lambda x: f"\\x{x.hex()}")),
    "texts": ("text[]", st.lists(st.none() | odd_text, max_size=3).map(array)),
    "document": ("jsonb", objects.map(lambda x: json.dumps(x, sort_keys=True))),
    "literal": ("json", objects.map(json.dumps)),
    "flag": ("boolean", st.sampled_from(["true", "false"])),
    "id4": ("uuid", st.uuids().map(str)),
    "days": ("int4range", st.tuples(st.integers(0, 5), st.integers(6, 9)).map(lambda p: f"[{p[0]},{p[1]})")),
}
NAMES = sorted(COLUMNS)
pools = st.fixed_dictionaries(
    {
        name: st.lists(st.none() | literals, min_size=2, max_size=4, unique=True)
        for name, (_, literals) in COLUMNS.items()
    }
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, Values], dict[str, Values]]:
    """What both regions have: three rows for each column, of which two are changed in it."""
    pool, random, prefix = draw(pools), draw(st.randoms(use_true_random=False)), draw(odd_text)

    def row() -> Values:
        return {name: random.choice(pool[name]) for name in NAMES}

    here = {f"{prefix}{n}": row() for n in range(3 * len(NAMES))}
    there = {key: dict(values) for key, values in here.items()}
    for n, key in enumerate(here):
        name = NAMES[n // 3]
        if n % 3:
            there[key][name] = random.choice([text for text in pool[name] if text != here[key][name]])
    for _ in range(draw(st.integers(0, 3))):
        change(there, random.choice(list(there)), random.choice(list(there)), random.choice(NAMES))
        there.pop(random.choice(list(there)))
        there[f"{prefix} new {random.random()}"] = row()
    return here, there


def change(table: dict[str, Values], key: str, other: str, name: str) -> None:
    """Values that change places: between two rows, and between two columns."""
    one, two = table[key], table[other]
    one[name], two[name] = two[name], one[name]
    one["a"], one["b"] = one["b"], one["a"]


@pytest.fixture(scope="module")
def two(databases: Databases) -> Two:
    """One table, with its columns in two orders and other settings in the second region."""
    made = Two(databases.empty(), databases.empty())
    made.both("CREATE EXTENSION citext")
    for run, names in ((made.here, NAMES), (made.there, NAMES[::-1])):
        columns = ", ".join(f"{name} {COLUMNS[name][0]}" for name in names)
        run(f"CREATE TABLE random (key text PRIMARY KEY, {columns})")
    made.set_on_second({**ODD_SETTINGS, "default_transaction_read_only": "off"})
    return made


def fill(dsn: str, table: dict[str, Values], *, other_way: bool) -> None:
    """Make the table hold these rows."""
    with connect(dsn) as conn, conn.cursor() as cursor:
        # The literals are read alike everywhere.
        cursor.execute("SET search_path = public; SET IntervalStyle = postgres; SET DateStyle = 'ISO'")
        cursor.execute("SET standard_conforming_strings = on; TRUNCATE random")
        marks = sql.SQL(", ").join(sql.SQL("%s::" + COLUMNS[name][0]) for name in NAMES)
        names = sql.SQL(", ").join(map(sql.Identifier, NAMES))
        statement = sql.SQL("INSERT INTO random (key, {}) VALUES (%s, {})").format(names, marks)
        cursor.executemany(statement, [[key, *_literals(row, other_way)] for key, row in table.items()])


def _literals(row: Values, other_way: bool) -> list[str | None]:
    """The second region is given its jsonb with the keys in another order."""
    return [_turned(row[n]) if n == "document" and other_way else row[n] for n in NAMES]


def _turned(document: str | None) -> str | None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(inner) for key, inner in reversed(value.items())}
        return [turned(inner) for inner in value] if isinstance(value, list) else value

    return None if document is None else json.dumps(turned(json.loads(document)))


@pytest.fixture(scope="module")
def opened(two: Two) -> Iterator[dict[HashKind, Comparison]]:
    """The two connected once, for all examples."""
    with ExitStack() as stack:
        dsns = {A: two.a, B: two.b}
        yield {kind: stack.enter_context(comparison(dsns, Options(hash_kind=kind))) for kind in HashKind}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(tables(), st.sampled_from(HashKind))
def test_exactly_what_was_changed_is_told(
    two: Two, opened: dict[HashKind, Comparison], pair: tuple[dict[str, Values], dict[str, Values]], kind: HashKind
) -> None:
    here, there = pair
    fill(two.a, here, other_way=False)
    fill(two.b, there, other_way=True)
    expected: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for key in here.keys() | there.keys():
        if key not in there or key not in here:
            expected[key] = ((A,) if key in here else (B,), ())
        elif here[key] != there[key]:
            expected[key] = ((A, B), tuple(name for name in NAMES if here[key][name] != there[key][name]))
    findings: list[Finding] = []
    (result,) = diff(opened[kind], Options(jobs=1), lambda _: None, findings.append)
    assert {finding.key["key"]: (finding.regions, finding.columns) for finding in findings} == expected
    assert result.differing == len(findings) == len(expected)
