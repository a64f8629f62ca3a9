"""The policy of each unique index, and the definition hash: what changes it and what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accountdb.catalog.tables import Column, Reference, Table, UniqueIndex
from accountdb.contract.claims import Settlement, claims
from accountdb.guards.definition import Guard, define, hash_in_comment
from accountdb.pg.names import function_name


def column(name: str, type_: str = "text", *, not_null: bool = True, generated: bool = False) -> Column:
    bases = ("name",) if generated else ()
    return Column(name, type_, not_null, generated, False, "lower(name)" if generated else None, False, bases)


def unique(
    name: str,
    *columns: str,
    keys: tuple[str, ...] = (),
    predicate: str | None = None,
    nulls_equal: bool = False,
    comment: str | None = None,
) -> UniqueIndex:
    keys = keys or columns
    return UniqueIndex(name, keys, (("pg_catalog", "="),) * len(keys), predicate, columns, nulls_equal, comment)


CONTRACT = (
    column("uuid", "uuid"),
    column("created_at", "timestamp with time zone"),
    column("updated_at", "timestamp with time zone"),
    column("version", "bigint"),
    column("origin_node"),
)
CHILD = Reference("child_fk", ("public", "child"), ("thing_uuid",), ("public", "thing"), ("uuid",), "c")


def table(*columns: Column, indexes: tuple[UniqueIndex, ...] = (), referenced: bool = True) -> Table:
    children = (CHILD,) if referenced else ()
    return Table("public", "thing", "account", (*CONTRACT, *columns), ("uuid",), (), indexes, (), children)


def guard(*of: Table) -> Guard:
    return define(of[0], {(one.schema, one.name): one for one in of})


def settled(one: Table) -> tuple[Settlement, str | None]:
    (claim,) = claims(one)
    return claim.settlement, claim.column.name if claim.column else None


@pytest.mark.parametrize(
    ("columns", "index", "referenced", "expected"),
    [
        # A row that something refers to releases: NULL where the column allows it, else a suffix.
        ([column("name")], unique("uk", "name"), True, (Settlement.SUFFIX, "name")),
        ([column("name", not_null=False)], unique("uk", "name"), True, (Settlement.EMPTY, "name")),
        ([column("name", "character varying(20)")], unique("uk", "name"), True, (Settlement.SUFFIX, "name")),
        ([column("name", "integer", not_null=False)], unique("uk", "name"), True, (Settlement.EMPTY, "name")),
        # Of several columns the one that can be empty.
        (
            [column("a"), column("b", "integer", not_null=False)],
            unique("uk", "a", "b"),
            True,
            (Settlement.EMPTY, "b"),
        ),
        # NULLs that count as equal are no way out.
        (
            [column("name", not_null=False)],
            unique("uk", "name", nulls_equal=True),
            True,
            (Settlement.SUFFIX, "name"),
        ),
        # Nothing to release: parked.
        ([column("number", "integer")], unique("uk", "number"), True, (Settlement.PARK, None)),
        ([column("low", generated=True)], unique("uk", "low"), True, (Settlement.PARK, None)),
        # A row that nothing refers to is parked, whatever it could release.
        ([column("name")], unique("uk", "name"), False, (Settlement.PARK, None)),
        ([column("name", not_null=False)], unique("uk", "name"), False, (Settlement.PARK, None)),
    ],
)
def test_the_default_policy_comes_from_the_catalog(
    columns: list[Column], index: UniqueIndex, referenced: bool, expected: tuple[Settlement, str | None]
) -> None:
    assert settled(table(*columns, indexes=(index,), referenced=referenced)) == expected


def test_a_column_that_refers_to_a_parent_is_never_released() -> None:
    reference = Reference("fk", ("public", "thing"), ("owner",), ("public", "owners"), ("uuid",), "c")
    one = table(column("owner", "uuid", not_null=False), column("name"), indexes=(unique("uk", "owner", "name"),))
    assert settled(replace(one, references=(reference,))) == (Settlement.SUFFIX, "name")
    assert settled(one) == (Settlement.EMPTY, "owner")


def test_a_column_of_the_predicate_alone_is_never_released() -> None:
    """It may hold any value and the claim stands: the soft delete, UNIQUE (name) WHERE deleted_at IS NULL."""
    index = unique("uk", "deleted_at", "name", keys=("name",), predicate="(deleted_at IS NULL)")
    one = table(column("deleted_at", "timestamp with time zone", not_null=False), column("name"), indexes=(index,))
    assert settled(one) == (Settlement.SUFFIX, "name")


def test_an_array_of_text_is_not_text() -> None:
    one = table(column("labels", "text[]"), indexes=(unique("uk", "labels"),))
    assert settled(one) == (Settlement.PARK, None)


@pytest.mark.parametrize("type_", ["citext", "public.citext"])
def test_citext_is_text(type_: str) -> None:
    one = table(column("name", type_), indexes=(unique("uk", "name"),))
    assert settled(one) == (Settlement.SUFFIX, "name")


@pytest.mark.parametrize(
    ("comment", "referenced", "expected"),
    [
        ("accountdb: park", True, (Settlement.PARK, None)),
        ("accountdb: release", False, (Settlement.SUFFIX, "a")),
        ("accountdb: release b", False, (Settlement.SUFFIX, "b")),
        ("accountdb: release b", True, (Settlement.SUFFIX, "b")),
        ("one per region. accountdb: park", True, (Settlement.PARK, None)),
        # What cannot be done falls back to what is always possible.
        ("accountdb: release number", True, (Settlement.PARK, None)),
        ("some other remark", True, (Settlement.SUFFIX, "a")),
        ("some other remark", False, (Settlement.PARK, None)),
    ],
)
def test_a_comment_on_the_index_overrides_the_default(
    comment: str, referenced: bool, expected: tuple[Settlement, str | None]
) -> None:
    index = unique("uk", "a", "b", "number", comment=comment)
    columns = [column("a"), column("b", "character varying(9)"), column("number", "integer")]
    assert settled(table(*columns, indexes=(index,), referenced=referenced)) == expected


def test_the_order_of_claims_is_that_of_the_names() -> None:
    indexes = tuple(unique(name, "name") for name in ("b", "C", "a", "节"))
    assert [claim.index.name for claim in claims(table(column("name"), indexes=indexes))] == ["C", "a", "b", "节"]


@pytest.mark.parametrize(
    ("type_", "limit"), [("character varying(20)", 20), ("character(8)", 8), ("text", None), ("citext", None)]
)
def test_the_limit_is_that_of_the_column(type_: str, limit: int | None) -> None:
    (claim,) = claims(table(column("name", type_), indexes=(unique("uk", "name"),)))
    assert claim.max_length == limit


BASE = table(column("name"), column("other", not_null=False), indexes=(unique("uk", "name"),))


def test_the_hash_is_stable() -> None:
    again = table(column("name"), column("other", not_null=False), indexes=(unique("uk", "name"),))
    assert guard(BASE).hash == guard(again).hash
    assert guard(BASE).statements == guard(again).statements


@pytest.mark.parametrize(
    "changed",
    [
        replace(BASE, columns=(*BASE.columns, column("more"))),
        replace(BASE, columns=(*CONTRACT, column("name", not_null=False), column("other", not_null=False))),
        replace(BASE, columns=(*CONTRACT, column("name", "character varying(9)"), column("other", not_null=False))),
        replace(BASE, unique_indexes=()),
        replace(BASE, unique_indexes=(unique("uk", "name", comment="accountdb: park"),)),
        replace(BASE, unique_indexes=(unique("uk", "name", predicate="(name IS NOT NULL)"),)),
        replace(BASE, unique_indexes=(unique("uk", "name", keys=("lower(name)",)),)),
        replace(BASE, unique_indexes=(unique("uk", "name", nulls_equal=True),)),
        replace(BASE, referenced_by=()),
        replace(BASE, referenced_by=(replace(CHILD, on_delete="n"),)),
        replace(BASE, references=(replace(CHILD, child=("public", "thing"), parent=("public", "above")),)),
        replace(BASE, name="thing2"),
        replace(BASE, schema="other"),
    ],
)
def test_the_hash_follows_whatever_the_guard_is_made_of(changed: Table) -> None:
    assert guard(changed).hash != guard(BASE).hash


@pytest.mark.parametrize(
    "same",
    [
        replace(BASE, unique_indexes=(unique("uk", "name", comment="a remark of no meaning"),)),
        replace(BASE, primary_key=("uuid",)),
    ],
)
def test_the_hash_does_not_follow_what_does_not_matter(same: Table) -> None:
    assert guard(same).hash == guard(BASE).hash


def test_the_comment_carries_the_hash() -> None:
    one = guard(BASE)
    text = one.statements[-1].as_string()
    assert f"'accountdb guard {one.hash}'" in text
    assert hash_in_comment(f"accountdb guard {one.hash}") == one.hash
    assert hash_in_comment(None) is None
    assert hash_in_comment("somebody's own trigger") is None


@pytest.mark.parametrize("name", ["users", "用户" * 10, "x" * 63, 'a "quoted" name'])
def test_function_names_fit_and_tell_tables_apart(name: str) -> None:
    names = {
        function_name(kind, schema, table)
        for kind in ("guard", "bury")
        for schema in ("public", "other")
        for table in (name, name[:-1] + "y")
    }
    assert len(names) == 8
    assert all(len(one.encode()) <= 63 for one in names)
