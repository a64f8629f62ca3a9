"""Guards on tables, columns, indexes and constraints whose names are hard to write."""

from __future__ import annotations

from uuid import UUID

import pytest
from psycopg import sql

from accountdb.catalog.tables import read_tables
from accountdb.guards.install import GuardState, states
from tests.conftest import CONTRACT
from tests.integration.test_guard_tables import Region, key, made

pytest_plugins = ("tests.integration.test_guard_tables",)

NAMES = [
    "用户",
    "Mixed Case",
    'with "quotes"',
    "it's",
    "100%",
    "%s %(name)s",
    "{table} {}",
    "back\\slash",
    "select",
    "a\nbreak",
    "-- comment",
    "*/ comment /*",
    "$guard$",
    "$capture$",
    "x" * 63,
    "节" * 21,
    # The guard's own variables and aliases.
    "incoming",
    "here",
    "rival",
    "heir",
    "seen",
    "step",
    "attempt",
    "stands",
    "is_new",
    "claimed",
    "here_wins",
    "incoming_row",
    "value",
    "r",
    "p",
    "c",
    "t",
    "new",
    "old",
]


def made_of(name: str) -> list[str]:
    """Two tables, a column, indexes and a constraint of that name (they may not all share one)."""
    thing, part = sql.Identifier("public", name), sql.Identifier("public", f"{name[:12]}_part")
    column = sql.Identifier(name)
    marks = {
        "thing": thing,
        "part": part,
        "column": column,
        "index": sql.Identifier(f"{name[:12]} uk"),
        "constraint": sql.Identifier(f"{name[:12]} fk"),
        "low": sql.Identifier(f"low_{name[:12]}"),
        "contract": sql.SQL(CONTRACT),
        "remark": sql.SQL("COMMENT ON INDEX public.{} IS {}").format(
            sql.Identifier(f"{name[:12]} uk"), sql.Literal(f"accountdb: release {name}")
        ),
    }
    ddl = (
        "CREATE TABLE {thing} ({column} text NOT NULL, {low} text GENERATED ALWAYS AS (lower({column})) STORED,"
        " {contract})",
        "CREATE TABLE {part} ({column} uuid NOT NULL, {contract},"
        " CONSTRAINT {constraint} FOREIGN KEY ({column}) REFERENCES {thing} ON DELETE CASCADE)",
        "CREATE UNIQUE INDEX {index} ON {thing} (lower({column})) WHERE {column} <> ''",
        "{remark}",
    )
    return [sql.SQL(statement).format(**marks).as_string() for statement in ddl]


@pytest.mark.parametrize("name", NAMES)
def test_a_guard_works_whatever_the_names_are(region: Region, name: str) -> None:
    region.make(*made_of(name))
    assert {guard.state for guard in states(region.local, read_tables(region.local))} == {GuardState.INSTALLED}
    part = f"{name[:12]}_part"
    region.insert(name, made(1) | {name: "x"})
    region.insert(name, made(2) | {name: "X"})
    region.update(name, made(2, version=2, changed=9) | {name: "free"})
    region.insert(part, made(3) | {name: key(2)})
    region.insert(part, made(4) | {name: key(7)})
    assert [(row[name], row[f"low_{name[:12]}"]) for row in region.rows(name)] == [("x", "x"), ("free", "free")]
    assert len(region.rows(part)) == 1
    region.delete(name, 2)
    assert region.rows(part) == []
    recorded = sorted((one["kind"], one["table_name"]) for one in region.conflicts())
    assert recorded == sorted([("unique_claim", name), ("orphan", part), ("child_of_deleted", part)])
    region.local.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier("public", name)))
    assert region.dead() == {key(1), key(2), key(3)}


@pytest.mark.parametrize("name", ["attempt", "heir", "incoming", "rival", "seen"])
def test_a_released_row_and_an_inherited_child_mind_no_column_names(region: Region, name: str) -> None:
    """A release in place, and a child that follows a merged parent: both read the guard's variables beside columns."""
    column = sql.Identifier(name).as_string()
    region.make(
        f"CREATE TABLE public.boss (name text NOT NULL UNIQUE, {column} text, {CONTRACT})",
        f"CREATE TABLE public.kid (boss uuid REFERENCES public.boss ON DELETE CASCADE, {column} uuid, {CONTRACT})",
    )
    region.insert("boss", made(2, name="x") | {name: "a"})
    region.insert("boss", made(1, name="x") | {name: "b"})
    assert [row["name"] for row in region.rows("boss")] == ["x", "x~00000002"], region.conflicts()
    region.insert("kid", made(4, boss=key(2)) | {name: UUID(int=0)})
    region.worker.execute(
        "INSERT INTO accountdb.tombstone (row_key, table_schema, table_name, created_at, node, version, updated_at,"
        " origin_node, winner) VALUES (%s, 'public', 'boss', %s, 'node_y', 0, %s, 'node_x', %s)",
        (key(2), made(2)["created_at"], made(2)["updated_at"], key(1)),
    )
    region.delete("boss", 2)
    region.insert("kid", made(5, boss=key(2)) | {name: UUID(int=0)})
    assert [row["boss"] for row in region.rows("kid")] == [key(1), key(1)]
