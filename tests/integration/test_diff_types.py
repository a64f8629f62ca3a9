"""No false equal and no false difference: every kind of value, between servers with different settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from accountdb.compare.columns import HashKind
from tests.conftest import Databases
from tests.integration.comparing import ODD_SETTINGS, A, B, Compared, Two

pytest_plugins = ("tests.integration.conftest_drift",)

TYPES = """
    CREATE EXTENSION citext;
    CREATE EXTENSION hstore;
    CREATE EXTENSION seg;
    CREATE TYPE two_texts AS (a text, b text);
    CREATE TYPE deep AS (t two_texts, n numeric, p bpchar);
    CREATE DOMAIN exact AS numeric CHECK (VALUE IS DISTINCT FROM 7);
    CREATE DOMAIN folded AS citext;
    CREATE DOMAIN deeper AS folded;
    CREATE DOMAIN listed AS numeric[];
    CREATE DOMAIN whole AS bigint;
    CREATE DOMAIN padded AS bpchar;
    CREATE DOMAIN paired AS two_texts;
    CREATE DOMAIN worded AS varchar(9) COLLATE "C";
    CREATE DOMAIN moment AS timestamptz;
    CREATE DOMAIN priced AS money;
    CREATE DOMAIN three AS char(3);
    CREATE TYPE "Odd.Type" AS (x citext);
    CREATE TYPE floats AS RANGE (subtype = float8);
"""
MOODS = ("CREATE TYPE mood AS ENUM ('sad', 'glad')", "CREATE TYPE mood AS ENUM ('glad', 'sad')")

# Name: type, what the first region has, what the second one has.
DIFFERENT = {
    "empty is not NULL": ("text", "NULL", "''"),
    "the word NULL is not NULL": ("text", "NULL", "'NULL'"),
    "text that looks like a pair": ("two_texts", "ROW('a|b', 'c')", "ROW('a', 'b|c')"),
    "a comma between two": ("two_texts", "ROW('a,b', 'c')", "ROW('a', 'b,c')"),
    "a trailing space in text": ("text", "'a'", "'a '"),
    "a trailing space in varchar(5)": ("varchar(5)", "'a'", "'a '"),
    "a trailing space in bpchar": ("bpchar", "'a'::bpchar", "'a '::bpchar"),
    "a trailing space in bpchar[]": ("bpchar[]", "ARRAY['a'::bpchar]", "ARRAY['a '::bpchar]"),
    "a trailing space below a domain": ("padded", "'a'::bpchar", "'a '::bpchar"),
    "a trailing space in a domain over varchar": ("worded", "'a'", "'a '"),
    "upper case in a domain over char": ("three", "'a'", "'A'"),
    "upper case in citext": ("citext", "'A'", "'a'"),
    "upper case in citext[]": ("citext[]", "'{A}'", "'{a}'"),
    "upper case two domains deep": ("deeper", "'A'", "'a'"),
    "upper case in a composite": ('"Odd.Type"', "ROW('A')", "ROW('a')"),
    "two ways to write é": ("text", "U&'\\00e9'", "U&'e\\0301'"),
    "a backslash": ("text", "E'\\\\n'", "E'\\n'"),
    "scale of a numeric": ("numeric", "1.0", "1.00"),
    "scale below a domain": ("exact", "1.0", "1.00"),
    "scale in numeric[]": ("numeric[]", "'{1.0}'", "'{1.00}'"),
    "scale in a domain over an array": ("listed", "'{1.0}'", "'{1.00}'"),
    "scale in an array of a domain": ("exact[]", "'{1.0}'", "'{1.00}'"),
    "scale in jsonb": ("jsonb", """'{"a": [1.0]}'""", """'{"a": [1.00]}'"""),
    "NaN and NULL": ("numeric", "'NaN'", "NULL"),
    "two infinities of numeric": ("numeric", "'Infinity'", "'-Infinity'"),
    "the last digit of a numeric": ("numeric", "1e30", "1e30 + 1"),
    "float NaN and NULL": ("float8", "'NaN'", "NULL"),
    "float NaN and infinity": ("float8", "'NaN'", "'Infinity'"),
    "two infinities": ("float8", "'Infinity'", "'-Infinity'"),
    "minus zero": ("float8", "'-0'", "'0'"),
    "minus zero of float4": ("float4", "'-0'", "'0'"),
    "minus zero in an array": ("float8[]", "'{-0}'", "'{0}'"),
    "the smallest float": ("float8", "5e-324", "0"),
    "two denormals": ("float8", "1e-310", "1.00000000000005e-310"),
    "the smallest float4": ("float4", "1e-45", "0"),
    "the last bit of a float": ("float8", "0.1", "0.10000000000000002"),
    "the last bit of a float4": ("float4", "1.1", "1.1000001"),
    "bigints whose halves cancel": ("bigint", "0", "4294967297"),
    "bigints whose halves cancel, below a domain": ("whole", "0", "4294967297"),
    "moments whose halves cancel": (
        "timestamptz",
        "'2000-01-01 00:00:00+00'",
        "'2000-01-01 00:00:00+00'::timestamptz + 4294967297 * interval '1 microsecond'",
    ),
    "times of a day whose halves cancel": ("time", "'00:00'", "'01:11:34.967297'"),
    "a microsecond": ("timestamptz", "'2026-01-02 03:04:05.000006+00'", "'2026-01-02 03:04:05.000007+00'"),
    "a microsecond without time zone": ("timestamp", "'2026-01-02 03:04:05.000006'", "'2026-01-02 03:04:05.000007'"),
    "a microsecond below a domain": ("moment", "'2026-01-02 03:04:05.000006+00'", "'2026-01-02 03:04:05.000007+00'"),
    "infinity of a moment": ("timestamptz", "'infinity'", "'-infinity'"),
    "before Christ": ("date", "'0044-03-15'", "'0044-03-15 BC'"),
    "two midnights": ("time", "'24:00'", "'00:00'"),
    "one moment in two zones": ("timetz", "'12:00+00'", "'20:00+08'"),
    "a day and 24 hours": ("interval", "'1 day'", "'24 hours'"),
    "a month and 30 days": ("interval", "'1 month'", "'30 days'"),
    "a day and 24 hours in an array": ("interval[]", "'{1 day}'", "'{24 hours}'"),
    "blanks in json": ("json", """'{"a":1}'""", """'{"a": 1}'"""),
    "order of keys in json": ("json", """'{"a":1,"b":2}'""", """'{"b":2,"a":1}'"""),
    "scale in jsonb[]": ("jsonb[]", "ARRAY['1.0'::jsonb]", "ARRAY['1.00'::jsonb]"),
    "null of jsonb": ("jsonb", "'null'", "NULL"),
    "number and text in jsonb": ("jsonb", "'1'", """'"1"'"""),
    "order of a jsonb array": ("jsonb", "'[1, 2]'", "'[2, 1]'"),
    "bytea with a zero": ("bytea", "''", "'\\x00'"),
    "bytea that reads like text": ("bytea", "'\\x5c78'", "'\\x5c7878'"),
    "an empty array": ("int[]", "NULL", "'{}'"),
    "NULL and the word in an array": ("text[]", "'{NULL}'", """'{"NULL"}'"""),
    "lower bound of an array": ("int[]", "'{1,2}'", "'[0:1]={1,2}'"),
    "dimensions of an array": ("int[]", "'{1,2}'", "'{{1,2}}'"),
    "form of an array": ("int[]", "'{{1},{2}}'", "'{{1,2}}'"),
    "a comma in an array": ("text[]", "'{a,b}'", """'{"a,b"}'"""),
    "a row of NULLs": ("two_texts", "NULL", "ROW(NULL, NULL)"),
    "a row of NULLs below a domain": ("paired", "NULL", "ROW(NULL, NULL)::two_texts"),
    "empty and NULL in a row": ("two_texts", "ROW('', NULL)", "ROW(NULL, '')"),
    "NULL deep in a row": ("deep", "ROW(NULL, 1, 'x')", "ROW(ROW(NULL, NULL)::two_texts, 1, 'x')"),
    "scale deep in a row": ("deep", "ROW(NULL, 1.0, 'x')", "ROW(NULL, 1.00, 'x')"),
    "a trailing space deep in a row": ("deep", "ROW(NULL, 1, 'x')", "ROW(NULL, 1, 'x ')"),
    "labels of an enum": ("mood", "'sad'", "'glad'"),
    "labels in an array": ("mood[]", "'{sad}'", "'{glad}'"),
    "a range": ("int4range", "'[1,3)'", "'[1,4)'"),
    "an empty range": ("int4range", "NULL", "'empty'"),
    "bounds of a range": ("numrange", "'[1,2)'", "'(1,2)'"),
    "scale in a range": ("numrange", "'[1.0,2)'", "'[1.00,2)'"),
    "minus zero in a range": ("floats", "'[-0,2)'", "'[0,2)'"),
    "a microsecond in a range": ("tstzrange", "'[2026-01-01 00:00:00.000001+00,)'", "'[2026-01-01 00:00+00,)'"),
    "a multirange": ("int4multirange", "'{[1,3),[5,6)}'", "'{[1,3),[5,7)}'"),
    "a leading zero bit": ("varbit", "B'01'", "B'1'"),
    "a bit": ("bit(3)", "B'101'", "B'100'"),
    "a netmask": ("inet", "'10.0.0.1'", "'10.0.0.1/24'"),
    "a network": ("cidr", "'10.0.0.0/8'", "'10.0.0.0/9'"),
    "a hardware address": ("macaddr", "'08:00:2b:01:02:03'", "'08:00:2b:01:02:04'"),
    "a cent": ("money", "1.01::numeric::money", "1.02::numeric::money"),
    "a cent below a domain": ("priced", "1.01::numeric::money", "1.02::numeric::money"),
    "a cent in an array of a domain": ("priced[]", "ARRAY[1.01::numeric::money]", "ARRAY[1.02::numeric::money]"),
    "a uuid": ("uuid", "'00000000-0000-4000-8000-000000000001'", "'00000000-0000-4000-8000-000000000002'"),
    "a truth": ("boolean", "false", "NULL"),
    "a single byte": ('"char"', "'a'", "'A'"),
    "a name": ("name", "'a'", "'A'"),
    "an oid": ("oid", "0", "4294967295"),
    "xml": ("xml", "'<a/>'", "'<a></a>'"),
    "a point": ("point", "'(0,0)'", "'(0,-0)'"),
    "a lexeme": ("tsvector", "'a:1'", "'a:2'"),
    "hstore": ("hstore", "'a=>NULL'", "'a=>\"NULL\"'"),
    "a type whose equality is loose": ("seg", "'1.0'", "'1.00'"),
}

# What both regions have, whatever their settings say.
SAME = {
    "a moment": ("timestamptz", "'2026-06-01 00:00:00.000001+00'"),
    "moments in an array": ("timestamptz[]", "ARRAY['2026-06-01 00:00+00', '-infinity']::timestamptz[]"),
    "moments in a range": ("tstzrange", "'[2026-06-01 00:00+00,2026-06-02 00:00+00)'"),
    "a day": ("date", "'2026-02-01'"),
    "days in a range": ("daterange", "'[2026-02-01,2026-02-03)'"),
    "an interval": ("interval", "'1 year -2 days 03:04:05.000006'"),
    "a float": ("float8", "pi()"),
    "a float4": ("float4", "pi()"),
    "floats in a range": ("floats", "'[0.1,0.2)'"),
    "bytes": ("bytea", "'\\x00ff5c27'"),
    "bytes in an array": ("bytea[]", "ARRAY['\\x00ff'::bytea]"),
    "money": ("money", "1234.56::numeric::money"),
    "money in an array": ("money[]", "ARRAY[1234.56::numeric::money]"),
    "an enum made in another order": ("mood", "'glad'"),
    "a char(5)": ("char(5)", "'ab'"),
    "a class": ("regclass", "'pg_catalog.pg_class'::regclass"),
    "xml content": ("xml", "'a<b/>'::xml"),
    "text of every kind": ("text", "E'a''\"\\\\% {}\\n\\t\\x01 \u202e中文 \U0001f600'"),
}
# jsonb: the same object, told in two orders.
KEY_ORDER = ("""'{"a": 1, "bb": {"d": 1, "c": null}}'""", """'{"bb": {"c": null, "d": 1}, "a": 1}'""")


@dataclass(frozen=True)
class Case:
    """One row of the table, with a column of its own: what each region has in it."""

    type: str
    here: str
    there: str


CASES = {
    **{name: Case(*case) for name, case in DIFFERENT.items()},
    **{name: Case(type_, text, text) for name, (type_, text) in SAME.items()},
    "order of keys in jsonb": Case("jsonb", *KEY_ORDER),
}


def script(moods: str, values: Callable[[Case], str]) -> str:
    """What makes one region. All columns of a row but its own are NULL."""
    types = (f"c{n} {case.type}" for n, case in enumerate(CASES.values()))
    inserts = (
        f"INSERT INTO kinds (id, c{n}) VALUES ('{name}', {values(case)})"
        for n, (name, case) in enumerate(CASES.items())
    )
    return ";".join((moods, TYPES, f"CREATE TABLE kinds (id text PRIMARY KEY, {', '.join(types)})", *inserts))


def compared(two: Two) -> dict[HashKind, Compared]:
    """All cases compared, by both hashes."""
    two.here(script(MOODS[0], lambda case: case.here))
    two.there(script(MOODS[1], lambda case: case.there))
    two.set_on_second(ODD_SETTINGS)
    assert two.kind() is HashKind.RECORD
    return {kind: two.compare(hash_kind=kind) for kind in HashKind}


@pytest.fixture(scope="module")
def on_one_release(databases: Databases) -> dict[HashKind, Compared]:
    """Two databases of PostgreSQL 17."""
    return compared(Two(databases.empty(), databases.empty()))


@pytest.fixture(scope="module")
def on_two_releases(databases: Databases, databases_15: Databases) -> dict[HashKind, Compared]:
    """PostgreSQL 17 and 15."""
    return compared(Two(databases.empty(), databases_15.empty()))


@pytest.mark.parametrize("kind", HashKind)
@pytest.mark.parametrize("name", DIFFERENT)
def test_different_is_never_equal(on_one_release: dict[HashKind, Compared], kind: HashKind, name: str) -> None:
    (finding,) = (finding for finding in on_one_release[kind].findings if finding.key == {"id": name})
    (texts,) = finding.values.values()
    assert texts[A] != texts[B]


@pytest.mark.parametrize("kind", HashKind)
def test_equal_is_equal_whatever_is_set(on_one_release: dict[HashKind, Compared], kind: HashKind) -> None:
    assert {finding.key["id"] for finding in on_one_release[kind].findings} - DIFFERENT.keys() == set()


@pytest.mark.pglogical
@pytest.mark.parametrize("kind", HashKind)
def test_two_releases_compare_like_one(
    on_one_release: dict[HashKind, Compared], on_two_releases: dict[HashKind, Compared], kind: HashKind
) -> None:
    assert on_two_releases[kind].findings == on_one_release[kind].findings
