"""Tables of every kind under the row contract are merged like the account tables, by either role."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from accountdb.lab import Lab
from tests.conftest import Databases
from tests.integration.merging import CONTRACT, Apart, Side, regions_apart

ODD = '100 %s "odd" 团队\'s'
ODD_SQL = ODD.replace('"', '""')
DDL = (
    "CREATE EXTENSION IF NOT EXISTS citext",
    "CREATE TYPE public.mood AS ENUM ('sad', 'it''s 100 %')",
    "CREATE TYPE public.place AS (street text, number integer)",
    "CREATE DOMAIN public.nick AS public.citext CHECK (VALUE <> '')",
    f'CREATE TABLE public."{ODD_SQL}" ("%s" text NOT NULL, "a ""b""" text, label text GENERATED ALWAYS AS ("%s" || %L)'
    f" STORED, {CONTRACT})".replace("%L", "'%'"),
    f'CREATE UNIQUE INDEX "odd % uk" ON public."{ODD_SQL}" (lower("%s"))',
    f'CREATE UNIQUE INDEX "label uk" ON public."{ODD_SQL}" (label) WHERE "a ""b""" LIKE \'x%\'',
    f'CREATE TABLE public."under %" ("up %" uuid NOT NULL REFERENCES public."{ODD_SQL}" ON DELETE CASCADE, {CONTRACT})',
    "CREATE TABLE public.kinds (nick public.nick UNIQUE, mood public.mood NOT NULL DEFAULT 'sad', place public.place,"
    " moods public.mood[], places public.place[], amount numeric, span interval, ratio float8, raw bytea, day date,"
    f" doc json, docb jsonb, net inet, words tsvector, bits bit varying, pad char(5), {CONTRACT})",
    f"CREATE TABLE public.tree (up uuid REFERENCES public.tree ON DELETE SET NULL, name text NOT NULL, {CONTRACT})",
    f"CREATE TABLE public.branch (up uuid NOT NULL REFERENCES public.branch ON DELETE CASCADE, {CONTRACT})",
    f"CREATE TABLE public.late (place integer NOT NULL, {CONTRACT}, UNIQUE (place) DEFERRABLE INITIALLY DEFERRED)",
    f"CREATE TABLE public.unlike (a integer, b integer, {CONTRACT}, UNIQUE NULLS NOT DISTINCT (a, b))",
    f"CREATE TABLE public.hen (egg uuid NOT NULL, {CONTRACT})",
    "CREATE TABLE public.egg (hen uuid NOT NULL REFERENCES public.hen ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,"
    f" {CONTRACT})",
    "ALTER TABLE public.hen ADD FOREIGN KEY (egg) REFERENCES public.egg DEFERRABLE INITIALLY DEFERRED",
    "CREATE TABLE public.firm (head uuid, name text NOT NULL UNIQUE, " + CONTRACT + ")",
    "CREATE TABLE public.staff (firm uuid NOT NULL REFERENCES public.firm ON DELETE CASCADE, " + CONTRACT + ")",
    "ALTER TABLE public.firm ADD FOREIGN KEY (head) REFERENCES public.staff ON DELETE SET NULL",
    "CREATE TABLE public.cut (n integer NOT NULL, " + CONTRACT + ") PARTITION BY HASH (uuid)",
    "CREATE TABLE public.cut_0 PARTITION OF public.cut FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
    "CREATE TABLE public.cut_1 PARTITION OF public.cut FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    f"CREATE TABLE public.bare ({CONTRACT})",
)
TABLES = (
    ODD, "under %", "kinds", "tree", "branch", "late", "unlike", "egg", "hen", "staff", "firm", "cut", "bare",
)  # fmt: skip


@pytest.fixture(scope="module")
def two(databases: Databases, native_lab: Lab) -> Iterator[Apart]:
    """Two regions for all tests."""
    with regions_apart(databases, native_lab, *DDL) as found:
        yield found


@pytest.fixture(params=["admin", "owner"])
def apart(two: Apart, request: pytest.FixtureRequest) -> Apart:
    """The same, emptied."""
    two.empty(*(name.replace('"', '""') for name in TABLES))
    return two.by(request.param)


def add(side: Side, table: str, **values: Any) -> UUID:
    chosen = {"uuid": uuid4(), **values}
    names = ", ".join('"{}"'.format(name.replace('"', '""').replace("%", "%%")) for name in chosen)
    quoted = table.replace('"', '""').replace("%", "%%")
    side.run(f'INSERT INTO "{quoted}" ({names}) VALUES ({", ".join(["%s"] * len(chosen))})', *chosen.values())
    uuid: UUID = chosen["uuid"]
    return uuid


def equal(apart: Apart, **options: Any) -> None:
    receipt = apart.merge(**options)
    assert receipt.equal, receipt.different
    apart.assert_lawful()
    assert apart.merge(**options).written == {}


def test_names_of_any_kind(apart: Apart) -> None:
    cn, global_ = apart.sides
    keeper = add(cn, ODD, **{"%s": "Same %", 'a "b"': "x%"})
    loser = add(global_, ODD, **{"%s": "SAME %", 'a "b"': "x%"})
    child = add(global_, "under %", **{"up %": loser})
    others = [add(side, ODD, **{"%s": side.name, 'a "b"': None}) for side in apart.sides]
    equal(apart)
    assert apart.one(ODD, keeper)["label"] == "Same %%"
    lost = apart.one(ODD, loser)
    assert (lost["%s"], lost["label"]) == (f"SAME %~{str(loser)[:8]}", f"SAME %~{str(loser)[:8]}%")
    assert apart.one("under %", child)["up %"] == loser
    for key in others:
        assert apart.one(ODD, key)


def test_values_of_any_kind(apart: Apart) -> None:
    cn, global_ = apart.sides
    full = {
        "nick": "Änn", "mood": "it's 100 %", "place": "(\"a, b\",7)", "moods": ["sad", None],
        "places": '{"(x,1)",NULL}',
        "amount": "1.50", "span": "1 mon -3 days 04:00:00.000001", "ratio": -0.0, "raw": b"\x00\xff",
        "day": "2026-02-03", "doc": '{"a": 1,  "a": 2}', "docb": Jsonb({"b": [1.5, None]}), "net": "10.0.0.1/8",
        "words": "'a':1A 'b':2", "bits": "1011", "pad": "a ",
    }  # fmt: skip
    rich, poor = add(cn, "kinds", **full), add(global_, "kinds")
    changed = add(cn, "kinds")
    equal(apart)
    cn.run("UPDATE kinds SET mood = 'it''s 100 %%', span = '1 day 24:00', ratio = '-0' WHERE uuid = %s", changed)
    equal(apart)
    assert apart.one("kinds", rich)["mood"] == "it's 100 %"
    assert apart.one("kinds", poor)["mood"] == "sad"
    assert (apart.one("kinds", changed)["mood"], apart.one("kinds", changed)["version"]) == ("it's 100 %", 1)


def test_citext_is_claimed_in_any_case_and_given_back(apart: Apart, tmp_path: Any) -> None:
    if apart.role != "admin":
        pytest.skip("an undo file takes an administrator")
    cn, global_ = apart.sides
    young = add(global_, "kinds", nick="ann", created_at="2026-02-01Z")
    old = add(cn, "kinds", nick="ANN", created_at="2026-01-01Z")
    before = [side.all("kinds") for side in apart.sides]
    equal(apart, undo=tmp_path / "undo")
    assert apart.one("kinds", old)["nick"] == "ANN"
    assert apart.same("kinds", young) is None, "parked: nothing refers to it"
    apart.undo(tmp_path / "undo")
    assert [side.all("kinds") for side in apart.sides] == before


def test_a_tree_comes_over_whole_whatever_the_order_of_its_keys(apart: Apart) -> None:
    """Two thousand rows, each below another one, children often before their parents in the order of the key."""
    cn, global_ = apart.sides
    root = add(cn, "tree", name="root")
    cn.run(
        "INSERT INTO tree (uuid, up, name) SELECT md5('tree' || n)::uuid,"
        f" CASE WHEN n = 0 THEN '{root}' ELSE md5('tree' || n / 2)::uuid END, n FROM generate_series(0, 2000) AS n"
        " WHERE n <> 0 OR true"
    )
    add(global_, "tree", name="other")
    equal(apart)
    assert cn.conflicts() + global_.conflicts() == []
    assert global_.value("SELECT count(*) FROM tree WHERE up IS NULL") == 2


def test_a_parent_that_is_moved_below_its_own_child(apart: Apart) -> None:
    cn, global_ = apart.sides
    top = add(cn, "tree", name="top")
    below = add(cn, "tree", name="below", up=top)
    equal(apart)
    global_.run("UPDATE tree SET up = NULL WHERE uuid = %s", below)
    global_.run("UPDATE tree SET up = %s WHERE uuid = %s", below, top)
    new = add(global_, "tree", name="new")
    global_.run("UPDATE tree SET up = %s WHERE uuid = %s", new, below)
    equal(apart)
    assert [apart.one("tree", key)["up"] for key in (top, below, new)] == [below, new, None]


def test_a_row_that_refers_to_itself_comes_and_goes(apart: Apart) -> None:
    cn, global_ = apart.sides
    root = uuid4()
    add(cn, "branch", uuid=root, up=root)
    leaf = add(cn, "branch", up=root)
    boss = uuid4()
    add(cn, "tree", uuid=boss, up=boss, name="boss")
    equal(apart)
    assert apart.one("branch", leaf)["up"] == root
    assert apart.one("tree", boss)["up"] == boss
    global_.run("DELETE FROM branch WHERE uuid = %s", root)
    global_.run("DELETE FROM tree WHERE uuid = %s", boss)
    equal(apart)
    assert [apart.same("branch", key) for key in (root, leaf)] == [None, None]
    assert apart.same("tree", boss) is None


def test_a_unique_constraint_that_is_checked_late(apart: Apart) -> None:
    cn, global_ = apart.sides
    one, two_ = add(cn, "late", place=1), add(cn, "late", place=2)
    equal(apart)
    global_.run("UPDATE late SET place = 3 - place")
    equal(apart)
    assert [apart.one("late", key)["place"] for key in (one, two_)] == [2, 1]
    keeper = add(cn, "late", place=5)
    loser = add(global_, "late", place=5)
    equal(apart)
    assert apart.one("late", keeper)
    assert apart.same("late", loser) is None


def test_nulls_that_count_as_equal(apart: Apart) -> None:
    cn, global_ = apart.sides
    keeper, loser = add(cn, "unlike", a=1), add(global_, "unlike", a=1)
    equal(apart)
    assert apart.one("unlike", keeper)
    assert apart.same("unlike", loser) is None


def test_tables_that_refer_to_each_other(apart: Apart) -> None:
    """Each firm has a head among its staff."""
    cn, global_ = apart.sides
    firm = add(cn, "firm", name="one")
    head = add(cn, "staff", firm=firm)
    cn.run("UPDATE firm SET head = %s WHERE uuid = %s", head, firm)
    add(global_, "firm", name="none")
    equal(apart)
    assert (apart.one("firm", firm)["head"], apart.one("firm", firm)["version"]) == (head, 1)
    assert cn.conflicts() + global_.conflicts() == []
    global_.run("DELETE FROM firm WHERE uuid = %s", firm)
    equal(apart)
    assert [apart.same("firm", firm), apart.same("staff", head)] == [None, None]


def test_rows_of_which_neither_can_be_there_before_the_other(apart: Apart) -> None:
    if apart.role != "admin":
        pytest.skip("an ordinary role cannot bring one of two that need each other")
    cn, global_ = apart.sides
    hen, egg = uuid4(), uuid4()
    cn.run(f"INSERT INTO hen VALUES ('{egg}', '{hen}'); INSERT INTO egg VALUES ('{hen}', '{egg}')")
    equal(apart)
    assert (apart.one("egg", egg)["hen"], apart.one("hen", hen)["egg"]) == (hen, egg)
    global_.run(f"DELETE FROM egg WHERE uuid = '{egg}'; DELETE FROM hen WHERE uuid = '{hen}'")
    equal(apart)
    assert [apart.same("egg", egg), apart.same("hen", hen)] == [None, None]


def test_partitions_and_a_table_of_nothing_but_the_contract(apart: Apart) -> None:
    cn, global_ = apart.sides
    cn.run("INSERT INTO cut (n) SELECT n FROM generate_series(1, 50) AS n")
    global_.run("INSERT INTO cut (n) SELECT n FROM generate_series(51, 99) AS n; INSERT INTO bare DEFAULT VALUES")
    gone = add(cn, "bare")
    equal(apart)
    assert cn.value("SELECT count(*) FROM cut") == 99
    global_.run("UPDATE cut SET n = n + 100 WHERE n < 50; DELETE FROM cut WHERE n > 90 AND n < 100")
    global_.run("DELETE FROM bare WHERE uuid = %s", gone)
    equal(apart)
    assert cn.value("SELECT count(*) FROM cut WHERE n > 100") == 49
    assert cn.value("SELECT count(*) FROM bare") == 1
