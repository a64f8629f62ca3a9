"""Guards and foreign keys of every kind: what goes with a parent, and what becomes of a child without one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import CONTRACT
from tests.integration.test_guard_tables import NOON, Region, key, made

pytest_plugins = ("tests.integration.test_guard_tables",)

BOSS = f"CREATE TABLE public.boss (name text, {CONTRACT})"


def kid(reference: str, *, column: str = "boss uuid", more: str = "") -> str:
    return f"CREATE TABLE public.kid ({column} REFERENCES public.boss {reference}, {more} note text, {CONTRACT})"


def kinds(region: Region) -> list[tuple[Any, ...]]:
    return sorted((one["kind"], one["table_name"], one["state"]) for one in region.conflicts())


def bury(region: Region, table: str, number: int, winner: int | None = None) -> None:
    """The tombstone that the deleter sends before its delete."""
    region.worker.execute(
        "INSERT INTO accountdb.tombstone (row_key, table_schema, table_name, created_at, node, version, updated_at,"
        " origin_node, winner) SELECT %s, 'public', %s, %s, 'node_y', 0, %s, 'node_x', %s",
        (key(number), table, made(number)["created_at"], made(number)["updated_at"], winner and key(winner)),
    )


# -- children that the deleter did not know of --


@pytest.mark.parametrize("rule", ["CASCADE", "RESTRICT", "NO ACTION"])
def test_a_delete_takes_unknown_children_along_and_records_them(region: Region, rule: str) -> None:
    region.make(BOSS, kid(f"ON DELETE {rule}"))
    region.insert("boss", made(1))
    region.insert("kid", made(2, boss=key(1), note="kept on record"))
    region.insert("kid", made(3, boss=None))
    bury(region, "boss", 1)
    region.delete("boss", 1)
    assert region.rows("boss") == []
    assert [row["uuid"] for row in region.rows("kid")] == [key(3)]
    assert kinds(region) == [("child_of_deleted", "kid", "settled")]
    assert region.conflicts()[0]["loser"]["note"] == "kept on record"
    assert region.dead() == {key(1), key(2)}


def test_a_delete_takes_everything_along_three_levels_deep(region: Region) -> None:
    region.make(
        BOSS,
        kid("ON DELETE CASCADE"),
        f"CREATE TABLE public.toy (kid uuid REFERENCES public.kid ON DELETE CASCADE, {CONTRACT})",
        f"CREATE TABLE public.wheel (toy uuid REFERENCES public.toy ON DELETE NO ACTION, {CONTRACT})",
    )
    region.insert("boss", made(1))
    region.insert("kid", made(2, boss=key(1)))
    region.insert("toy", made(3, kid=key(2)))
    region.insert("wheel", made(4, toy=key(3)))
    region.delete("boss", 1)
    assert [region.rows(table) for table in ("boss", "kid", "toy", "wheel")] == [[]] * 4
    assert {(kind, table) for kind, table, _ in kinds(region)} == {
        ("child_of_deleted", table) for table in ("kid", "toy", "wheel")
    }


def test_a_local_delete_writes_the_tombstones_of_all_that_goes_along(region: Region) -> None:
    region.make(
        BOSS,
        kid("ON DELETE CASCADE", more="elder uuid REFERENCES public.kid ON DELETE CASCADE,"),
        f"CREATE TABLE public.toy (kid uuid REFERENCES public.kid ON DELETE CASCADE, {CONTRACT})",
    )
    region.insert("boss", made(1))
    region.insert("kid", made(2, boss=key(1)))
    for number in (3, 4, 5):
        region.insert("kid", made(number, elder=key(number - 1)))
    region.insert("toy", made(6, kid=key(5)))
    region.local.execute("DELETE FROM public.boss")
    assert region.rows("kid") == region.rows("toy") == []
    assert region.dead() == {key(number) for number in range(1, 7)}


def test_set_null_empties_the_child(region: Region) -> None:
    region.make(BOSS, kid("ON DELETE SET NULL"))
    region.insert("boss", made(1))
    region.insert("kid", made(2, boss=key(1)))
    region.delete("boss", 1)
    assert [(row["boss"], row["version"]) for row in region.rows("kid")] == [(None, 0)]


def test_set_null_of_a_column_that_cannot_be_null_takes_the_child_along(region: Region) -> None:
    """The deleter had no child, or its delete would have failed: nothing that arrives may stop the stream."""
    region.make(BOSS, kid("ON DELETE SET NULL", column="boss uuid NOT NULL"))
    region.insert("boss", made(1))
    region.insert("kid", made(2, boss=key(1)))
    region.delete("boss", 1)
    assert region.rows("boss") == []
    assert region.rows("kid") == []
    assert region.conflicts()[0]["row_key"] == key(2)


COMPOSITE_BOSS = (
    f"CREATE TABLE public.boss (tenant integer NOT NULL, code text NOT NULL, {CONTRACT}, UNIQUE (tenant, code))"
)


def composite_kid(action: str) -> str:
    return (
        f"CREATE TABLE public.kid (tenant integer NOT NULL, code text, note text, {CONTRACT},"
        f" FOREIGN KEY (tenant, code) REFERENCES public.boss (tenant, code) {action})"
    )


def test_a_composite_reference_is_followed_by_all_its_columns(region: Region) -> None:
    region.make(COMPOSITE_BOSS, composite_kid("ON DELETE CASCADE"))
    for number in (1, 2):
        region.insert("boss", made(number, tenant=number, code="x"))
        region.insert("kid", made(10 + number, tenant=number, code="x"))
    region.insert("kid", made(13, tenant=3, code="x"))  # no such parent
    region.insert("kid", made(14, tenant=3, code=None))  # MATCH SIMPLE: it refers to nothing
    region.delete("boss", 1)
    assert [row["uuid"] for row in region.rows("kid")] == [key(12), key(14)]
    assert kinds(region) == [("child_of_deleted", "kid", "settled"), ("orphan", "kid", "open")]


def test_set_null_of_some_columns_empties_only_those(region: Region) -> None:
    region.make(COMPOSITE_BOSS, composite_kid("ON DELETE SET NULL (code)"))
    region.insert("boss", made(1, tenant=1, code="x"))
    region.insert("kid", made(2, tenant=1, code="x"))
    region.delete("boss", 1)
    assert [(row["tenant"], row["code"]) for row in region.rows("kid")] == [(1, None)]
    region.insert("kid", made(3, tenant=1, code="x"))
    assert [(row["tenant"], row["code"]) for row in region.rows("kid")] == [(1, None), (1, None)]


SET_DEFAULT = kid("ON DELETE SET DEFAULT", column=f"boss uuid DEFAULT '{key(9)}'")


def test_set_default_takes_an_unknown_child_along(region: Region) -> None:
    """The deleter has moved the children that it knew of by itself: one that is still here it did not know."""
    region.make(BOSS, SET_DEFAULT)
    for number in (1, 9):
        region.insert("boss", made(number))
    region.insert("kid", made(2, boss=key(1)))
    region.delete("boss", 1)
    assert region.rows("kid") == []
    assert [(one["kind"], one["row_key"]) for one in region.conflicts()] == [("child_of_deleted", key(2))]


def test_set_default_without_the_default_parent_leaves_no_orphan(region: Region) -> None:
    region.make(BOSS, SET_DEFAULT)
    region.insert("boss", made(1))
    region.insert("kid", made(2, boss=key(1)))
    region.delete("boss", 1)
    region.insert("kid", made(3, boss=key(1)))
    assert orphans(region) == 0
    assert {one["row_key"] for one in region.conflicts()} == {key(2), key(3)}


def orphans(region: Region) -> int:
    query = """
        SELECT count(*) FROM public.kid AS k WHERE k.boss IS NOT NULL
        AND NOT EXISTS (SELECT FROM public.boss AS p WHERE p.uuid = k.boss)
    """
    row = region.admin.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("rule", ["CASCADE", "RESTRICT", "NO ACTION", "SET NULL", "SET DEFAULT"])
def test_child_and_delete_of_its_parent_end_equal_in_either_order(pair: tuple[Region, Region], rule: str) -> None:
    default = f" DEFAULT '{key(9)}'" if rule == "SET DEFAULT" else ""
    for region, child_first in zip(pair, (True, False), strict=True):
        region.make(BOSS, kid(f"ON DELETE {rule}", column=f"boss uuid{default}"))
        for number in (1, 9):
            region.insert("boss", made(number))
        if child_first:
            region.insert("kid", made(2, boss=key(1)))
        bury(region, "boss", 1)
        region.delete("boss", 1)
        if not child_first:
            region.insert("kid", made(2, boss=key(1)))
    assert pair[0].rows("kid") == pair[1].rows("kid")
    if pair[0].rows("kid") == []:
        assert pair[0].dead() == pair[1].dead() == {key(1), key(2)}
        assert all(one["loser"]["uuid"] == str(key(2)) for region in pair for one in region.conflicts())
        assert all(region.conflicts() for region in pair)


# -- children whose parent is not here --


def test_a_child_whose_parent_is_not_here_waits_in_the_record(region: Region) -> None:
    region.make(BOSS, kid("ON DELETE CASCADE", column="boss uuid NOT NULL"))
    region.insert("kid", made(2, boss=key(1), note="whole"))
    assert region.rows("kid") == []
    (conflict,) = region.conflicts()
    assert (conflict["kind"], conflict["rule"], conflict["state"]) == ("orphan", "parent_missing", "open")
    assert conflict["loser"]["note"] == "whole"
    region.insert("boss", made(1))
    region.insert("kid", made(2, boss=key(1), note="whole"))  # what merge does: it is tried again
    assert len(region.rows("kid")) == 1


def test_a_child_whose_parent_is_dead_is_dead_too(region: Region) -> None:
    region.make(BOSS, kid("ON DELETE CASCADE"))
    bury(region, "boss", 1)
    region.insert("kid", made(2, boss=key(1), note="whole"))
    assert kinds(region) == [("orphan", "kid", "settled")]
    assert region.conflicts()[0]["loser"]["note"] == "whole"
    assert region.dead() == {key(1), key(2)}


def test_a_child_that_moves_to_a_dead_parent_dies(region: Region) -> None:
    region.make(BOSS, kid("ON DELETE CASCADE"))
    region.insert("boss", made(1))
    region.insert("kid", made(3, boss=key(1)))
    bury(region, "boss", 2)
    region.update("kid", made(3, version=1, changed=9, boss=key(2)))
    assert region.rows("kid") == []
    assert ("orphan", "kid", "settled") in kinds(region)


def test_a_child_of_a_merged_account_follows_the_winner(region: Region) -> None:
    region.make(BOSS, kid("ON DELETE CASCADE"))
    region.insert("boss", made(5))
    bury(region, "boss", 1, winner=2)
    bury(region, "boss", 2, winner=5)  # merged again since
    region.insert("kid", made(7, boss=key(1)))
    assert [row["boss"] for row in region.rows("kid")] == [key(5)]


def test_children_that_a_merge_did_not_know_of_follow_the_winner(region: Region) -> None:
    region.make(BOSS, kid("ON DELETE CASCADE", more="code text, UNIQUE (boss, code),"))
    for number in (1, 5):
        region.insert("boss", made(number))
        region.insert("kid", made(10 + number, boss=key(number), code="same"))
    region.insert("kid", made(12, boss=key(1), code="other"))
    bury(region, "boss", 1, winner=5)
    region.delete("boss", 1)
    assert [(row["uuid"], row["boss"]) for row in region.rows("kid")] == [(key(12), key(5)), (key(15), key(5))]
    assert key(11) in region.dead()


# -- rows that refer to each other --

TREE = f"CREATE TABLE public.tree (parent uuid REFERENCES public.tree ON DELETE CASCADE, {CONTRACT})"


def test_a_row_may_refer_to_itself(region: Region) -> None:
    region.make(TREE)
    region.insert("tree", made(1, parent=key(1)))
    assert len(region.rows("tree")) == 1, region.conflicts()
    region.update("tree", made(1, version=1, changed=5, parent=None))
    region.update("tree", made(1, version=2, changed=6, parent=key(1)))
    assert [(row["parent"], row["version"]) for row in region.rows("tree")] == [(key(1), 2)]
    region.delete("tree", 1)
    assert region.rows("tree") == []


def test_a_tree_goes_with_its_root(region: Region) -> None:
    region.make(TREE)
    region.insert("tree", made(1, parent=None))
    for number in range(2, 40):
        region.insert("tree", made(number, parent=key(number // 2)))
    region.delete("tree", 1)
    assert region.rows("tree") == []
    assert region.dead() == {key(number) for number in range(1, 40)}


CYCLE = (
    f"CREATE TABLE public.a (b uuid, {CONTRACT})",
    f"CREATE TABLE public.b (a uuid REFERENCES public.a ON DELETE CASCADE, {CONTRACT})",
    "ALTER TABLE public.a ADD FOREIGN KEY (b) REFERENCES public.b ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED",
)


def test_a_cycle_goes_as_a_whole(region: Region) -> None:
    region.make(*CYCLE)
    region.insert("a", made(1, b=None))
    region.insert("b", made(2, a=key(1)))
    region.update("a", made(1, version=1, changed=5, b=key(2)))
    assert region.rows("a")[0]["b"] == key(2)
    region.delete("b", 2)
    assert region.rows("a") == region.rows("b") == []


def test_rows_that_a_deferred_constraint_let_in_before_their_parent_are_not_lost(region: Region) -> None:
    """One transaction wrote the child first: it must not wait in the record for ever."""
    region.make(*CYCLE)
    with region.worker.transaction():
        region.insert("a", made(1, b=key(2)))
        region.insert("b", made(2, a=key(1)))
    for conflict in region.conflicts():
        assert (conflict["kind"], conflict["state"]) == ("orphan", "open")
    stored = {row["uuid"] for table in ("a", "b") for row in region.rows(table)}
    assert stored | {one["row_key"] for one in region.conflicts()} == {key(1), key(2)}
    assert stored == {key(1), key(2)}, "neither is in, and each waits for the other for ever"


def test_a_reference_between_citext_columns_does_not_mind_the_case(region: Region) -> None:
    region.make(
        f"CREATE TABLE public.boss (code public.citext NOT NULL UNIQUE, {CONTRACT})",
        f"CREATE TABLE public.kid (code public.citext REFERENCES public.boss (code) ON DELETE CASCADE, {CONTRACT})",
    )
    region.insert("boss", made(1, code="Ann"))
    region.insert("kid", made(2, code="ANN"))
    assert len(region.rows("kid")) == 1, region.conflicts()
    region.delete("boss", 1)
    assert region.rows("kid") == []


def test_a_child_in_another_schema_goes_too(region: Region) -> None:
    region.local.execute("CREATE SCHEMA elsewhere")
    region.make(BOSS, f"CREATE TABLE elsewhere.kid (boss uuid REFERENCES public.boss ON DELETE CASCADE, {CONTRACT})")
    region.insert("boss", made(1))
    region.admin.execute("INSERT INTO elsewhere.kid (boss, created_at) VALUES (%s, %s)", (key(1), NOON))
    region.delete("boss", 1)
    assert region.admin.execute("SELECT count(*) FROM elsewhere.kid").fetchone() == (0,)
