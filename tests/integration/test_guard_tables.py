"""Guards on odd tables: unique claims of every kind. One region, or two that get the same rows in opposite order.

There is no replication here: a superuser's session in replica mode plays the apply worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from accountdb.catalog.tables import read_tables
from accountdb.guards.install import install
from accountdb.pg.connect import connect
from tests.conftest import CONTRACT, Databases

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
# What makes the rows of thing release instead of being parked.
PART = f"CREATE TABLE public.part (thing uuid REFERENCES public.thing ON DELETE CASCADE, {CONTRACT})"

Row = dict[str, Any]


def key(number: int) -> UUID:
    """A uuid whose first eight characters tell it."""
    return UUID(f"{number:08x}-0000-4000-8000-{number:012x}")


def made(number: int, *, version: int = 0, changed: int | None = None, node: str = "node_x", **values: Any) -> Row:
    """A whole row: number decides its uuid and when it was made, so smaller ones were first."""
    at = NOON + timedelta(seconds=number)
    later = NOON + timedelta(seconds=number if changed is None else changed)
    stamp = {"created_at": at, "updated_at": later, "version": version, "origin_node": node}
    return {"uuid": key(number), **stamp, **values}


def quoted(*names: str) -> sql.SQL:
    """An identifier for a statement with parameters, where a percent sign must be doubled."""
    return sql.SQL(sql.Identifier(*names).as_string().replace("%", "%%"))


class Region:
    """One database with guards: written by its owner, and by a worker that applies."""

    def __init__(self, dsn: str, name: str) -> None:
        """``dsn`` is a superuser's, of a migrated database."""
        self.name = name
        self.admin = connect(dsn, autocommit=True)
        self.local = connect(dsn, autocommit=True)
        self.local.execute("SET ROLE account")
        self.worker = connect(dsn, autocommit=True)
        self.worker.execute("SET session_replication_role = replica; SET search_path = ''")

    def close(self) -> None:
        for conn in (self.admin, self.local, self.worker):
            conn.close()

    def make(self, *statements: str) -> None:
        """Make tables as the owner, put them under the row contract and install their guards."""
        self.admin.execute("CREATE EXTENSION IF NOT EXISTS citext")
        for statement in statements:
            self.local.execute(statement.encode())
        tables = read_tables(self.local)
        for table in tables:
            for function in ("set_updated_at", "bump_version") if not table.row_triggers else ():
                self.local.execute(
                    sql.SQL("CREATE TRIGGER {} BEFORE UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION {}()").format(
                        sql.Identifier(function), table.identifier, sql.Identifier("public", function)
                    )
                )
        install(self.admin, read_tables(self.admin))

    def insert(self, table: str, row: Row) -> None:
        """A remote INSERT arrives."""
        columns = sql.SQL(", ").join(map(quoted, row))
        marks = sql.SQL(", ").join(sql.Placeholder() * len(row))
        query = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})")
        self.worker.execute(query.format(quoted("public", table), columns, marks), list(row.values()))

    def update(self, table: str, row: Row) -> None:
        """A remote UPDATE arrives; columns that ``row`` lacks did not change."""
        changed = {name: value for name, value in row.items() if name != "uuid"}
        pairs = sql.SQL(", ").join(sql.SQL("{} = %s").format(quoted(name)) for name in changed)
        query = sql.SQL("UPDATE {} SET {} WHERE uuid = %s").format(quoted("public", table), pairs)
        self.worker.execute(query, [*changed.values(), row["uuid"]])

    def delete(self, table: str, number: int) -> None:
        """A remote DELETE arrives, without the tombstone that the deleter would have sent."""
        query = sql.SQL("DELETE FROM {} WHERE uuid = %s").format(quoted("public", table))
        self.worker.execute(query, (key(number),))

    def rows(self, table: str = "thing") -> list[Row]:
        query = sql.SQL("SELECT * FROM {} ORDER BY uuid").format(sql.Identifier("public", table))
        return self.admin.cursor(row_factory=dict_row).execute(query).fetchall()

    def row(self, number: int, table: str = "thing") -> Row | None:
        return next((row for row in self.rows(table) if row["uuid"] == key(number)), None)

    def conflicts(self) -> list[Row]:
        query = "SELECT * FROM accountdb.conflict ORDER BY id"
        return self.admin.cursor(row_factory=dict_row).execute(query).fetchall()

    def dead(self) -> set[UUID]:
        return {uuid for (uuid,) in self.admin.execute("SELECT row_key FROM accountdb.tombstone")}


@pytest.fixture
def region(databases: Databases) -> Iterator[Region]:
    """A migrated database on its own."""
    one = Region(databases.migrated(), "cn")
    yield one
    one.close()


@pytest.fixture
def pair(databases: Databases) -> Iterator[tuple[Region, Region]]:
    """Two migrated databases that know nothing of each other."""
    two = Region(databases.migrated(), "cn"), Region(databases.migrated(), "global")
    yield two
    for one in two:
        one.close()


def in_both_orders(pair: tuple[Region, Region], ddl: list[str], *rows: Row, table: str = "thing") -> list[Row]:
    """The rows that both regions hold after one got ``rows`` in order and the other in reverse. They are equal."""
    for region, order in zip(pair, (rows, rows[::-1]), strict=True):
        region.make(*ddl)
        for row in order:
            region.insert(table, row)
    assert pair[0].rows(table) == pair[1].rows(table), [region.conflicts() for region in pair]
    assert pair[0].dead() == pair[1].dead()
    ids = [{one["id"] for one in region.conflicts()} for region in pair]
    assert ids[0] == ids[1]
    assert not [one for region in pair for one in region.conflicts() if one["kind"] == "unknown"]
    return pair[0].rows(table)


def things(columns: str, *more: str, children: bool = True) -> list[str]:
    return [f"CREATE TABLE public.thing ({columns}, {CONTRACT})", *([PART] if children else []), *more]


NAME = "name text NOT NULL"
UNIQUE_NAME = "CREATE UNIQUE INDEX uk ON public.thing (name)"

RELEASED = [
    pytest.param(NAME, UNIQUE_NAME, "x", "x~00000002", id="plain"),
    pytest.param("name text", UNIQUE_NAME, "x", None, id="plain nullable"),
    pytest.param("name text NOT NULL UNIQUE", None, "x", "x~00000002", id="constraint"),
    pytest.param(NAME, "CREATE UNIQUE INDEX uk ON public.thing (lower(name))", "X", "X~00000002", id="expression"),
    pytest.param(
        "deleted_at timestamptz, name text NOT NULL",
        "CREATE UNIQUE INDEX uk ON public.thing (name) WHERE deleted_at IS NULL",
        "x",
        "x~00000002",
        id="soft delete",
    ),
    pytest.param(
        "active boolean NOT NULL DEFAULT true, name text NOT NULL",
        "CREATE UNIQUE INDEX uk ON public.thing (lower(name)) WHERE active",
        "x",
        "x~00000002",
        id="expression and predicate",
    ),
    pytest.param(
        "name text",
        "CREATE UNIQUE INDEX uk ON public.thing (name) NULLS NOT DISTINCT",
        "x",
        "x~00000002",
        id="nulls not distinct",
    ),
    pytest.param(
        f"{NAME}, tenant integer NOT NULL DEFAULT 7",
        "CREATE UNIQUE INDEX uk ON public.thing (tenant, name)",
        "x",
        "x~00000002",
        id="composite",
    ),
    pytest.param("name public.citext NOT NULL", UNIQUE_NAME, "x", "x~00000002", id="citext"),
    pytest.param("name varchar(12) NOT NULL", UNIQUE_NAME, "abcdefghijkl", "abc~00000002", id="varchar"),
    pytest.param("name varchar(12) NOT NULL", UNIQUE_NAME, "节" * 12, "节节节~00000002", id="varchar of wide letters"),
    pytest.param("name varchar(9) NOT NULL", UNIQUE_NAME, "abcdefghi", "~00000002", id="varchar(9)"),
    pytest.param("name char(12) NOT NULL", UNIQUE_NAME, "abcdefghijkl", "abc~00000002", id="char"),
    pytest.param("name integer", UNIQUE_NAME, 5, None, id="integer"),
    pytest.param("name jsonb", UNIQUE_NAME, Jsonb({"a": 1}), None, id="jsonb"),
    pytest.param("name bytea", UNIQUE_NAME, b"\x00\xff", None, id="bytea"),
    pytest.param("name text[]", UNIQUE_NAME, ["a", "b"], None, id="array"),
    pytest.param('name text COLLATE "C" NOT NULL', UNIQUE_NAME, "x", "x~00000002", id="collated column"),
    pytest.param(
        NAME, 'CREATE UNIQUE INDEX uk ON public.thing (name COLLATE "C")', "x", "x~00000002", id="collated index"
    ),
    pytest.param(
        NAME, "CREATE UNIQUE INDEX uk ON public.thing (name text_pattern_ops)", "x", "x~00000002", id="pattern"
    ),
    pytest.param(
        NAME, "CREATE UNIQUE INDEX uk ON public.thing (name) INCLUDE (version)", "x", "x~00000002", id="include"
    ),
]


@pytest.mark.parametrize(("columns", "index", "claimed", "released"), RELEASED)
def test_the_later_row_releases_the_value_in_either_order(
    pair: tuple[Region, Region], columns: str, index: str | None, claimed: Any, released: Any
) -> None:
    ddl = things(columns, *([index] if index else []))
    keeper, loser = in_both_orders(pair, ddl, made(1, name=claimed), made(2, name=claimed))
    assert keeper["version"] == 0
    assert (loser["name"], loser["version"]) == (released, 1)
    assert loser["updated_at"] == NOON + timedelta(seconds=2)
    (conflict,) = pair[0].conflicts()
    assert (conflict["kind"], conflict["state"], conflict["rule"]) == ("unique_claim", "open", "first_registration")
    assert (conflict["row_key"], conflict["winner"]["uuid"]) == (key(2), str(key(1)))
    assert conflict["loser"]["name"] is not None


@pytest.mark.parametrize("domain_null", ["NULL", "NOT NULL"])
@pytest.mark.parametrize("column_null", ["", "NOT NULL"])
def test_a_domain_over_text_releases_as_text_does(
    pair: tuple[Region, Region], domain_null: str, column_null: str
) -> None:
    for region in pair:
        region.local.execute(f"CREATE DOMAIN public.handle AS varchar(12) {domain_null} CHECK (VALUE <> '')".encode())
    ddl = things(f"name public.handle {column_null}", UNIQUE_NAME)
    _, loser = in_both_orders(pair, ddl, made(1, name="abcdefghijkl"), made(2, name="abcdefghijkl"))
    assert loser["name"] == (None if (domain_null, column_null) == ("NULL", "") else "abc~00000002")


PARKED = [
    pytest.param(NAME, UNIQUE_NAME, False, "x", id="nothing refers to it"),
    pytest.param("name integer NOT NULL", UNIQUE_NAME, True, 5, id="no way out"),
    pytest.param("name text[] NOT NULL", UNIQUE_NAME, True, ["a", "b"], id="array"),
    pytest.param("name bytea NOT NULL", UNIQUE_NAME, True, b"\x00\xff", id="bytea"),
    pytest.param("name jsonb NOT NULL", UNIQUE_NAME, True, Jsonb([1]), id="jsonb"),
    pytest.param("name public.mood NOT NULL", UNIQUE_NAME, True, "calm", id="enum"),
    pytest.param("name tstzrange NOT NULL", UNIQUE_NAME, False, "[2026-01-01,2026-02-01)", id="range"),
]


@pytest.mark.parametrize(("columns", "index", "children", "claimed"), PARKED)
def test_the_later_row_is_parked_in_either_order(
    pair: tuple[Region, Region], columns: str, index: str, children: bool, claimed: Any
) -> None:
    for region in pair:
        region.local.execute("CREATE TYPE public.mood AS ENUM ('calm', 'wild')")
    ddl = things(columns, index, children=children)
    (keeper,) = in_both_orders(pair, ddl, made(1, name=claimed), made(2, name=claimed))
    assert keeper["uuid"] == key(1)
    assert pair[0].dead() == {key(2)}
    (conflict,) = pair[0].conflicts()
    assert (conflict["kind"], conflict["state"], conflict["row_key"]) == ("unique_claim", "open", key(2))
    assert set(conflict["loser"]) == set(keeper), "its whole content"


@pytest.mark.parametrize(
    ("comment", "children", "expected"),
    [
        ("accountdb: park", True, []),
        ("accountdb: release", False, [("x~00000002", "y")]),
        ("accountdb: release other", False, [("x", "y~00000002")]),
        ("accountdb: release other", True, [("x", "y~00000002")]),
    ],
)
def test_a_comment_on_the_index_decides(
    pair: tuple[Region, Region], comment: str, children: bool, expected: list[tuple[str, str]]
) -> None:
    ddl = things(
        f"{NAME}, other text NOT NULL",
        "CREATE UNIQUE INDEX uk ON public.thing (name, other)",
        f"COMMENT ON INDEX public.uk IS '{comment}'",
        children=children,
    )
    found = in_both_orders(pair, ddl, made(1, name="x", other="y"), made(2, name="x", other="y"))
    assert [(row["name"], row["other"]) for row in found] == [("x", "y"), *expected]


def test_a_squatter_on_the_released_value_makes_it_longer(pair: tuple[Region, Region]) -> None:
    rows = [made(1, name="x"), made(2, name="x"), made(3, name="x~00000002")]
    for region, order in zip(pair, (rows, [rows[2], rows[1], rows[0]]), strict=True):
        region.make(*things(NAME, UNIQUE_NAME))
        region.insert("thing", rows[2])
        for row in order:
            region.insert("thing", row)
    assert pair[0].rows() == pair[1].rows()
    assert [row["name"] for row in pair[0].rows()] == ["x", f"x~{key(2)}", "x~00000002"]


THREE = things(
    "a text NOT NULL, b text, c text NOT NULL",
    "CREATE UNIQUE INDEX uk_a ON public.thing (a)",
    "CREATE UNIQUE INDEX uk_b ON public.thing (lower(b)) WHERE b IS NOT NULL",
    "CREATE UNIQUE INDEX uk_c ON public.thing (c text_pattern_ops)",
)


def test_several_claims_lost_to_one_row(pair: tuple[Region, Region]) -> None:
    _, loser = in_both_orders(pair, THREE, made(1, a="x", b="y", c="z"), made(2, a="x", b="Y", c="z"))
    assert [loser[name] for name in ("a", "b", "c", "version")] == ["x~00000002", None, "z~00000002", 3]
    assert len(pair[0].conflicts()) == 3


@pytest.mark.parametrize("late", [1, 2, 3, 4])
def test_several_claims_against_different_rows(region: Region, late: int) -> None:
    """The row that arrives last wins some claims and loses others, all at once."""
    region.make(*THREE)
    kept = {1: ("1", "b1", "c1"), 2: ("2", "B1", "c2"), 3: ("1", "b3", "c2"), 4: ("4", "b3", "c1")}
    rows = {n: made(n, a=a, b=b, c=c) for n, (a, b, c) in kept.items()}
    for number in [n for n in rows if n != late] + [late]:
        region.insert("thing", rows[number])
    found = [(row["a"], row["b"], row["c"], row["version"]) for row in region.rows()]
    assert found == [
        ("1", "b1", "c1", 0),
        ("2", None, "c2", 1),
        # 3 lost a to 1 and c to 2; nobody else held b3 before it.
        ("1~00000003", "b3", "c2~00000003", 2),
        ("4", None, "c1~00000004", 2),
    ]


def test_null_is_a_value_where_nulls_are_not_distinct(pair: tuple[Region, Region]) -> None:
    ddl = things("name text, n integer NOT NULL", "CREATE UNIQUE INDEX uk ON public.thing (name) NULLS NOT DISTINCT")
    found = in_both_orders(pair, ddl, made(1, name=None, n=1), made(2, name=None, n=2))
    assert found[0] == {**found[0], "uuid": key(1), "name": None}
    assert [one["kind"] for one in pair[0].conflicts()] == ["unique_claim"]


def test_nulls_that_are_distinct_claim_nothing(pair: tuple[Region, Region]) -> None:
    rows = [made(n, name=None) for n in (1, 2, 3)]
    assert len(in_both_orders(pair, things("name text", UNIQUE_NAME), *rows)) == 3
    assert pair[0].conflicts() == []


def test_rows_outside_the_predicate_claim_nothing(pair: tuple[Region, Region]) -> None:
    index = "CREATE UNIQUE INDEX uk ON public.thing (name) WHERE NOT closed"
    rows = [made(1, name="x", closed=True), made(2, name="x", closed=False), made(3, name="x", closed=True)]
    found = in_both_orders(pair, things(f"{NAME}, closed boolean NOT NULL", index), *rows)
    assert [row["name"] for row in found] == ["x", "x", "x"]


def test_an_update_that_enters_the_predicate_claims(region: Region) -> None:
    index = "CREATE UNIQUE INDEX uk ON public.thing (name) WHERE NOT closed"
    region.make(*things(f"{NAME}, closed boolean NOT NULL", index))
    region.insert("thing", made(1, name="x", closed=True))
    region.insert("thing", made(2, name="x", closed=False))
    region.update("thing", made(1, version=1, changed=9, name="x", closed=False))
    assert [(row["name"], row["version"]) for row in region.rows()] == [("x", 1), ("x~00000002", 1)]
