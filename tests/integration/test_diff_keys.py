"""Rows found by keys of every type, in tables cut into parts: with few differences, with many, at both ends."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

from accountdb.compare import parts, rows
from tests.conftest import Databases
from tests.conftest import rows as found_in
from tests.integration.comparing import ODD_SETTINGS, A, B, Two

ROWS = 1500

# The regions that have a row, and the columns in which it differs.
Where = tuple[tuple[str, ...], tuple[str, ...]]

TYPES = """
    CREATE EXTENSION citext;
    CREATE EXTENSION ltree;
    CREATE TYPE pair AS (a int, b text);
    CREATE DOMAIN token AS uuid;
    CREATE DOMAIN inner_token AS token;
    CREATE FUNCTION public.even(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1 % 2 = 0';
    CREATE FUNCTION public.fine(int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS
        'BEGIN RETURN even($1) OR NOT even($1); END';
    CREATE DOMAIN checked AS int CHECK (fine(VALUE));
"""
SIZES = ("small", "large", "huge")

# Columns of the key, and their values in row n.
KEYS = {
    "uuid": ("a uuid", "md5(n::text)::uuid"),
    "int": ("a int", "n - 750"),
    "bigint": ("a bigint", "(n - 750) * 4294967297"),
    "text by bytes": ('a text COLLATE "C"', "md5(n::text)"),
    "text by the database": ("a text", "md5(n::text) || n"),
    "odd text": ("a text", "E'\\\\{\"%s\\'é中 \\n' || chr(n % 40 + 30) || '}$1' || n"),
    "varchar": ("a varchar(40)", "md5(n::text)"),
    "char(12)": ("a char(12)", "n::text"),
    "citext": ("a citext", "'Key' || n"),
    "numeric": ("a numeric", "trim_scale(n / 7.0)"),
    "float": ("a float8", "n / 7.0::float8"),
    "moment": ("a timestamptz", "'2026-01-01 00:00+00'::timestamptz + n * interval '1 hour 1 microsecond'"),
    "moment without zone": ("a timestamp", "'2026-01-01'::timestamp + n * interval '1 hour 1 microsecond'"),
    "day": ("a date", "'2026-01-01'::date + n"),
    "bytes": ("a bytea", "decode(md5(n::text), 'hex')"),
    "interval": ("a interval", "n * interval '1 hour'"),
    "address": ("a cidr", "('10.0.0.0'::inet + n)::cidr"),
    "path": ("a ltree", "('a.b' || n)::ltree"),
    "composite type": ("a pair", "ROW(n % 7, 'x,\"' || n)::pair"),
    "jsonb": ("a jsonb", "jsonb_build_object('n', n)"),
    "array": ("a int[]", "ARRAY[n % 7, n]"),
    "domain": ("a token", "md5(n::text)::uuid"),
    "domain of a domain": ("a inner_token", "md5(n::text)::uuid"),
    "domain that checks": ("a checked", "n"),
    "uuid and text": ("a uuid, b text", "md5((n % 200)::text)::uuid, 'x' || n"),
    "few leading values": ("a int, b int", "n % 3, n"),
    "enum and int": ("a size, b int", "(ARRAY['small', 'large', 'huge']::size[])[n % 3 + 1], n"),
    "text and moment": (
        "a text, b timestamptz",
        "'x' || n % 5, '2026-01-01 00:00+00'::timestamptz + n * '1s'::interval",
    ),
    "all else": (
        'a oid, b name, c "char", d money, e timetz, f bit(8), g smallint, h time',
        """n::oid, 'x' || n, chr(65 + n % 26)::"char", (n / 100.0)::money, '12:00+08'::timetz, n::bit(8), n % 2,"""
        " '00:00'::time + n * '1s'::interval",
    ),
    "three": ('"A_%s" int, "b""c" date, "é" uuid', "n % 2, '2026-01-01'::date + n % 5, md5(n::text)::uuid"),
}
BY_INDEX = {"uuid", "int", "bigint", "numeric", "moment", "moment without zone", "day", "bytes", "domain"} | {
    "domain that checks",
    "few leading values",
    "three",
}


@dataclass(frozen=True)
class Keyed:
    """One table in both databases, by the columns of its key."""

    two: Two
    table: str
    columns: tuple[str, ...]

    @property
    def key(self) -> str:
        """The key's columns for SQL."""
        return ", ".join(self.columns)

    def at(self, where: str) -> set[tuple[str, ...]]:
        """The keys of some rows of the first region, as text."""
        texts = ", ".join(f"format('%s', {name})" for name in self.columns)
        return set(found_in(self.two.a, f"SELECT {texts} FROM {self.table} WHERE {where}"))

    def found(self, **options: Any) -> dict[tuple[str, ...], Where]:
        """Key, and the regions and columns that a comparison names."""
        findings = self.two.compare(self.table, **options).findings
        named = {tuple(f.key.values()): (f.regions, f.columns) for f in findings}
        assert len(named) == len(findings)
        return named


@pytest.fixture(scope="module")
def two(databases: Databases) -> Two:
    """Two databases in which an enum was made in two orders and the settings differ."""
    made = Two(databases.empty(), databases.empty())
    made.here(f"CREATE TYPE size AS ENUM {SIZES}")
    made.there(f"CREATE TYPE size AS ENUM {SIZES[::-1]}")
    made.both(TYPES)
    made.set_on_first({"IntervalStyle": "iso_8601"})
    made.set_on_second(ODD_SETTINGS | {"default_transaction_read_only": "off", "search_path": "public"})
    return made


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of few rows, so that a table of thousands has many."""
    monkeypatch.setattr(parts, "_ROWS_A_PART", 10)


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How rows were looked for."""
    seen: list[str] = []
    original = rows._by_index
    monkeypatch.setattr(rows, "_by_index", lambda *args: seen.append("index") or original(*args))  # type: ignore[func-returns-value]
    return seen


def keyed(two: Two, table: str, columns: str, values: str, count: int = ROWS) -> Keyed:
    """A table with ``count`` equal rows in both."""
    found = tuple(re.split(r"(?<=\") |(?<=\w) ", column)[0] for column in columns.split(", "))
    two.both(f"CREATE TABLE {table} ({columns}, n int, v text, PRIMARY KEY ({', '.join(found)}))")
    two.both(f"INSERT INTO {table} SELECT {values}, n, repeat('x', 250) FROM generate_series(1, {count}) AS n")
    two.both(f"ANALYZE {table}")
    return Keyed(two, table, found)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("name", KEYS)
def test_rows_are_found_by_any_key(two: Two, ways: list[str], name: str) -> None:
    one = keyed(two, f"k{list(KEYS).index(name)}", *KEYS[name])
    assert one.found() == {}
    (low,), (high,) = (
        found_in(two.a, f"SELECT n FROM {one.table} ORDER BY {', '.join(f'{c} {way}' for c in one.columns)} LIMIT 1")[0]
        for way in ("ASC", "DESC")
    )
    touched = f"n IN (702, {low}, {high})"
    few: dict[tuple[str, ...], Where] = dict.fromkeys(one.at(touched), ((A, B), ("v",)))
    few |= dict.fromkeys(one.at("n = 700"), ((A,), ()))
    few |= dict.fromkeys(one.at("n = 701"), ((B,), ()))
    assert len(few) == 5
    two.there(f"UPDATE {one.table} SET v = '' WHERE {touched}")
    two.there(f"DELETE FROM {one.table} WHERE n = 700")
    two.here(f"DELETE FROM {one.table} WHERE n = 701")
    assert one.found() == few
    assert bool(ways) is (name in BY_INDEX)
    ways.clear()
    two.here(f"UPDATE {one.table} SET v = 'many' WHERE n % 3 = 0")
    many = few | dict.fromkeys(one.at("n % 3 = 0"), ((A, B), ("v",)))
    assert one.found() == many
    assert not ways
