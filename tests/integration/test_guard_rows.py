"""Guards on odd tables: two copies of one row, generated columns, types, and rows that cannot be stored."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from psycopg.types.range import Range

from accountdb.catalog.tables import read_tables
from accountdb.guards.install import GuardState, install, states
from tests.integration.test_guard_tables import (
    NAME,
    NOON,
    UNIQUE_NAME,
    Region,
    Row,
    in_both_orders,
    key,
    made,
    things,
)

pytest_plugins = ("tests.integration.test_guard_tables",)


def kinds(region: Region) -> list[str]:
    return sorted(one["kind"] for one in region.conflicts())


def names(region: Region) -> list[tuple[Any, ...]]:
    return [(row["name"], row["version"]) for row in region.rows()]


# -- two copies of one row --


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (made(1, version=2, changed=5, name="two"), made(1, version=1, changed=9, name="one")),
        (made(1, version=1, changed=9, name="late"), made(1, version=1, changed=5, name="early")),
        (made(1, version=1, node="node_global", name="g"), made(1, version=1, node="node_cn", name="c")),
    ],
)
@pytest.mark.parametrize("operation", ["insert", "update"])
def test_the_row_order_decides_whatever_comes_first(
    pair: tuple[Region, Region], operation: str, first: Row, second: Row
) -> None:
    for region, order in zip(pair, ((first, second), (second, first)), strict=True):
        region.make(*things(NAME, UNIQUE_NAME))
        region.insert("thing", order[0])
        getattr(region, operation)("thing", order[1])
        assert names(region) == [(first["name"], first["version"])]
    # Where the winner came last and bears a higher version it was an ordinary change on top.
    assert all(kinds(region) in ([], ["update_update"]) for region in pair)
    assert kinds(pair[0]) == ["update_update"]


def test_equal_stamps_are_decided_by_the_content(pair: tuple[Region, Region]) -> None:
    rows = [made(1, version=3, name=name) for name in ("here", "there")]
    (kept,) = in_both_orders(pair, things(NAME, UNIQUE_NAME), *rows)
    assert kept["name"] in ("here", "there")
    assert kinds(pair[0]) == ["update_update"]


def test_the_same_row_again_is_nothing(region: Region) -> None:
    region.make(*things(f"{NAME}, loud text GENERATED ALWAYS AS (upper(name)) STORED", UNIQUE_NAME))
    for operation in (region.insert, region.insert, region.update):
        operation("thing", made(1, name="x"))
    assert len(region.rows()) == 1
    assert region.conflicts() == []


def test_one_event_that_arrives_twice_is_one_conflict(region: Region) -> None:
    region.make(*things(NAME, UNIQUE_NAME))
    region.insert("thing", made(1, name="x"))
    for _ in (1, 2, 3):
        region.insert("thing", made(2, name="x"))
    assert names(region) == [("x", 0), ("x~00000002", 1)]
    recorded = kinds(region)
    assert recorded.count("unique_claim") == 1
    assert len(recorded) <= 2, "the change itself lost against its own released copy, once"


def test_a_row_that_loses_the_same_value_again_later_is_a_new_conflict(region: Region) -> None:
    """The claim was given up and taken again: another event, which must be on record with its content too."""
    region.make(*things(f"{NAME}, note text", UNIQUE_NAME))
    region.insert("thing", made(1, name="x"))
    region.insert("thing", made(2, name="x", note="first"))
    region.update("thing", made(2, version=2, changed=20, name="free", note="first"))
    region.update("thing", made(2, version=3, changed=30, name="x", note="second"))
    assert names(region) == [("x", 0), ("x~00000002", 4)]
    losers = [one["loser"] for one in region.conflicts() if one["kind"] == "unique_claim"]
    assert {loser["note"] for loser in losers} == {"first", "second"}


# -- deletes --


def test_a_deleted_row_does_not_come_back(region: Region) -> None:
    region.make(*things(NAME, UNIQUE_NAME))
    region.insert("thing", made(1, name="x"))
    region.delete("thing", 1)
    region.insert("thing", made(1, version=7, changed=99, name="y"))
    assert region.rows() == []
    assert kinds(region) == ["dead_row"]
    assert region.conflicts()[0]["loser"]["name"] == "y"


def test_a_later_life_of_a_deleted_row_is_a_row_of_its_own(region: Region) -> None:
    region.make(*things(NAME, UNIQUE_NAME))
    region.insert("thing", made(1, version=9, name="x"))
    region.delete("thing", 1)
    again = made(1, name="again") | {"created_at": NOON + timedelta(days=1)}
    region.insert("thing", again)
    region.insert("thing", made(1, version=8, name="late"))
    assert names(region) == [("again", 0)]
    region.delete("thing", 1)  # without a tombstone of this life: it comes from one who saw the first one
    assert names(region) == [("again", 0)]


def test_a_local_row_out_of_a_backup_begins_a_new_life(region: Region) -> None:
    region.make(*things(NAME, UNIQUE_NAME))
    insert = "INSERT INTO public.thing (uuid, created_at, name) VALUES (%s, %s, 'x')"
    region.local.execute(insert, (key(1), NOON))
    region.local.execute("DELETE FROM public.thing")
    region.local.execute(insert, (key(1), NOON))
    assert region.rows()[0]["created_at"] > NOON + timedelta(days=1)
    region.local.execute("DELETE FROM public.thing")
    dead = region.admin.execute("SELECT count(*) FROM accountdb.tombstone WHERE row_key = %s", (key(1),)).fetchone()
    assert dead == (2,)


def test_truncate_is_refused_unless_it_is_allowed(region: Region) -> None:
    region.make(*things(NAME, UNIQUE_NAME))
    region.local.execute("INSERT INTO public.thing (name) VALUES ('x')")
    for statement in (b"TRUNCATE public.thing CASCADE", b"TRUNCATE public.part", b"TRUNCATE public.users CASCADE"):
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="would make the regions differ") as error:
            region.local.execute(statement)
        assert "accountdb.allow_truncate" in (error.value.diag.message_hint or "")
    with region.local.transaction():
        region.local.execute("SET LOCAL accountdb.allow_truncate = on")
        region.local.execute("TRUNCATE public.thing CASCADE")
    assert region.rows() == []


# -- generated columns --

TWO_GENERATED = f"""
    {NAME}, n integer NOT NULL DEFAULT 1,
    loud text GENERATED ALWAYS AS (upper(name)) STORED,
    label text GENERATED ALWAYS AS (name || ':' || n::text) STORED,
    fixed text GENERATED ALWAYS AS ('f'::text) STORED
"""


@pytest.mark.parametrize("row", [made(1, version=1, name="y"), made(1, version=1, n=5), made(1, version=1, name="x")])
def test_generated_columns_follow_an_update(region: Region, row: Row) -> None:
    region.make(*things(TWO_GENERATED, "CREATE UNIQUE INDEX uk ON public.thing (lower(name))"))
    region.insert("thing", made(1, name="x", n=1))
    region.update("thing", row)
    kept = region.rows()[0]
    assert kept["version"] == 1
    assert (kept["loud"], kept["label"], kept["fixed"]) == (kept["name"].upper(), f"{kept['name']}:{kept['n']}", "f")


def test_generated_columns_follow_a_release(pair: tuple[Region, Region]) -> None:
    _, loser = in_both_orders(pair, things(TWO_GENERATED, UNIQUE_NAME), made(1, name="x", n=1), made(2, name="x", n=2))
    assert (loser["loud"], loser["label"]) == ("X~00000002", "x~00000002:2")


def test_a_unique_generated_column_is_a_claim_too(pair: tuple[Region, Region]) -> None:
    """What it is made of is what can be released; at the least both regions end equal and the row is on record."""
    columns = f"{NAME}, low text GENERATED ALWAYS AS (lower(name)) STORED"
    ddl = things(columns, "CREATE UNIQUE INDEX uk ON public.thing (low)")
    found = in_both_orders(pair, ddl, made(1, name="x"), made(2, name="X"))
    assert found[0]["name"] == "x"


# -- every type keeps its value, by an insert that the guard writes and by an update that it lets through --

TYPES = [
    ("public.mood", "wild"),
    ("text[]", ["a", None, "c d"]),
    ("integer[][]", [[1, 2], [3, 4]]),
    ("jsonb", Jsonb({"节": [1, None, "'%s' {x}"]})),
    ("bytea", bytes(range(256))),
    ("public.positive", 5),
    ("numeric", Decimal("12345678901234567890.000100")),
    ("double precision", 0.1 + 0.2),
    ("real", 1e30),
    ("timestamptz", NOON),
    ("interval", timedelta(days=400, microseconds=1)),
    ("public.citext", "MiXed"),
    ("char(5)", "ab   "),
    ("xid8", "12345678901234567890"),
    ("int4range", Range(1, 5)),
    ("public.pairs", "(1,x)"),
]


@pytest.mark.parametrize(("type_", "value"), TYPES, ids=[name for name, _ in TYPES])
def test_a_column_of_any_type_keeps_its_value(region: Region, type_: str, value: Any) -> None:
    region.local.execute(
        "CREATE TYPE public.mood AS ENUM ('calm', 'wild');"
        "CREATE DOMAIN public.positive AS integer CHECK (VALUE > 0);"
        "CREATE TYPE public.pairs AS (a integer, b text)"
    )
    region.make(*things(f"{NAME}, v {type_}", UNIQUE_NAME))
    cast = f"SELECT %s::text::{type_}" if isinstance(value, str) else f"SELECT %s::{type_}"
    expected = region.admin.execute(cast.encode(), (value,)).fetchone()
    assert expected is not None
    region.insert("thing", made(1, name="x", v=None))
    region.update("thing", made(1, version=1, changed=2, name="x", v=value))  # let through
    region.insert("thing", made(2, name="x", v=value))  # released
    region.insert("thing", made(3, name="z", v=value))  # plain
    assert [row["v"] for row in region.rows()] == [expected[0]] * 3
    region.update("thing", made(1, version=1, changed=1, name="x", v=None))  # loses
    assert region.rows()[0]["v"] == expected[0]
    assert sorted(kinds(region)) == ["unique_claim", "update_update"]


def test_an_identity_column_keeps_the_value_that_it_carries(region: Region) -> None:
    region.make(*things(f"{NAME}, n integer GENERATED ALWAYS AS IDENTITY", UNIQUE_NAME))
    region.insert("thing", made(1, name="x", n=77))
    assert region.rows()[0]["n"] == 77


# -- a row that cannot be stored is parked, and replication goes on --

UNFIT = [
    pytest.param(f"{NAME}, n integer CHECK (n > 0)", "", {"n": -1}, id="check"),
    pytest.param(f"{NAME}, n integer NOT NULL", "", {"n": None}, id="not null"),
    pytest.param(
        f"{NAME}, n int4range",
        "ALTER TABLE public.thing ADD EXCLUDE USING gist (n WITH &&)",
        {"n": Range(1, 9)},
        id="exclusion",
    ),
]


# An UPDATE that empties a NOT NULL column is left to the engine: it takes a column that is NOT NULL on one
# side alone, which a join refuses, and a look at every column would cost every update.
CASES = [("insert", fit) for fit in UNFIT] + [("update", fit) for fit in UNFIT if fit.id != "not null"]


@pytest.mark.parametrize(
    ("operation", "columns", "more", "values"),
    [pytest.param(operation, *fit.values, id=f"{operation} {fit.id}") for operation, fit in CASES],
)
def test_a_row_that_cannot_be_stored_is_parked(
    region: Region, operation: str, columns: str, more: str, values: Row
) -> None:
    region.make(*things(columns, UNIQUE_NAME, *([more] if more else [])))
    fits = {"n": Range(5, 6)} if "range" in columns else {"n": 1}
    region.insert("thing", made(1, name="x", **fits))
    if operation == "update":
        region.insert("thing", made(2, name="z", n=Range(20, 30) if "range" in columns else 2))
    arrives = made(2, version=1, changed=9, name="z", **values)
    getattr(region, operation)("thing", arrives)
    (conflict,) = region.conflicts()
    assert (conflict["kind"], conflict["rule"], conflict["state"]) == ("unknown", "parked", "open")
    assert (conflict["row_key"], conflict["loser"]["name"]) == (key(2), "z")
    assert conflict["detail"]
    region.insert("thing", made(3, name="next", n=Range(40, 50) if "range" in columns else 3))
    assert region.row(3) is not None


def test_a_deferrable_unique_constraint_is_guarded_as_any_other(pair: tuple[Region, Region]) -> None:
    ddl = things("name text NOT NULL UNIQUE DEFERRABLE INITIALLY DEFERRED")
    found = in_both_orders(pair, ddl, made(1, name="x"), made(2, name="x"), made(3, name="y"))
    assert [(row["name"], row["version"]) for row in found] == [("x", 0), ("x~00000002", 1), ("y", 0)]


# -- who owns what --


def test_the_table_of_another_ordinary_role(region: Region) -> None:
    region.admin.execute("DROP ROLE IF EXISTS guard_other")
    region.admin.execute("CREATE ROLE guard_other")
    try:
        region.admin.execute("GRANT CREATE, USAGE ON SCHEMA public TO guard_other")
        region.local.execute("GRANT REFERENCES ON public.users TO guard_other")
        for statement in things(f"{NAME}, owner uuid REFERENCES public.users ON DELETE CASCADE", UNIQUE_NAME):
            region.admin.execute("SET ROLE guard_other")
            region.admin.execute(statement.encode())
            region.admin.execute("RESET ROLE")
        region.admin.execute("SET ROLE guard_other; CREATE TABLE public.mine (id integer); RESET ROLE")
        install(region.admin, [t for t in read_tables(region.admin) if t.name != "mine"])
        region.insert("users", made(9, username="ann", password="x"))
        region.insert("thing", made(1, name="x"))
        region.insert("thing", made(2, name="x", owner=key(9)))
        assert names(region) == [("x", 0), ("x~00000002", 1)]
        region.delete("users", 9)
        assert region.row(2) is None
        region.delete("thing", 1)
        assert region.rows() == []
        assert set(kinds(region)) <= {"unique_claim", "child_of_deleted"}
        region.admin.execute("SET ROLE guard_other")
        region.admin.execute("INSERT INTO public.thing (name) VALUES ('local')")
        region.admin.execute("DELETE FROM public.thing")
        region.admin.execute("RESET ROLE")
    finally:
        region.admin.execute("RESET ROLE; DROP OWNED BY guard_other CASCADE; DROP ROLE guard_other")


def test_guards_are_installed_once_and_replaced_where_the_table_changed(region: Region) -> None:
    region.make(*things(NAME, UNIQUE_NAME))
    tables = read_tables(region.local)
    assert {guard.state for guard in states(region.local, tables)} == {GuardState.INSTALLED}
    assert install(region.local, tables) == ()
    region.local.execute("ALTER TABLE public.thing ADD more integer")
    changed = read_tables(region.local)
    found = {guard.table: guard.state for guard in states(region.local, changed)}
    assert {name for name, state in found.items() if state is GuardState.OUTDATED} == {"thing"}
    assert [guard.table for guard in install(region.local, changed)] == ["thing"]
    region.local.execute("ALTER TABLE public.thing DISABLE TRIGGER accountdb_guard")
    assert [g.state for g in states(region.local, changed) if g.table == "thing"] == [GuardState.DISABLED]
    region.local.execute("DROP TRIGGER accountdb_bury ON public.thing")
    assert [g.state for g in states(region.local, changed) if g.table == "thing"] == [GuardState.MISSING]
    assert [guard.table for guard in install(region.local, changed)] == ["thing"]
    assert {guard.state for guard in states(region.local, changed)} == {GuardState.INSTALLED}
