"""Several sides beside each other: what can be compared, who deviates, what an ignore file takes out, how it reads."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accountdb.drift.compare import compare
from accountdb.drift.describe import document, report, summary
from accountdb.drift.findings import Comparison, side_by_side
from accountdb.drift.ignore import Rule, without
from accountdb.drift.scope import alike, decided
from accountdb.drift.structure import Attribute, Definition, Identity, Structure, essential, grant_attribute, grantee
from accountdb.render.output import as_json

USERS = Identity("table", "public", "users")
LEVEL = Identity("column", "public", "users.level")
FUNCTION = Identity("function", "public", "f()")
SUBSCRIPTION = Identity("subscription", "", "to rep_all")
EXTENSION = Identity("extension", "", "citext")
SET = Identity("replication_set", "", "rep_all")

BASE: dict[Identity, Definition] = {USERS: {"form": "table"}, LEVEL: {"type": "integer", "default": "20"}}


def structure(*more: tuple[Identity, Definition], major: int | None = 17, without: Identity | None = None) -> Structure:
    objects = {**BASE, **dict(more)}
    return Structure({one: found for one, found in objects.items() if one != without}, major=major)


def lines(comparison: Comparison) -> list[str]:
    return [line for each in comparison.findings for line in report(each, comparison)]


@given(st.text(min_size=1, max_size=8) | st.sampled_from(["PUBLIC", '"PUBLIC"', 'a"b', '"']) | st.none())
def test_a_grantee_comes_back_from_its_attribute(role: str | None) -> None:
    assert grantee(grant_attribute(role)) == role


@given(
    st.lists(st.text(min_size=1, max_size=4) | st.sampled_from(["PUBLIC", '"PUBLIC"', '"']) | st.none(), unique=True)
)
def test_two_roles_never_share_an_attribute(roles: list[str | None]) -> None:
    assert len({grant_attribute(role) for role in roles}) == len(roles)


def test_what_does_not_decide_whether_a_row_fits_is_not_essential() -> None:
    other = structure(
        (USERS, {"form": "table", "comment": "x", "grant to app": "SELECT", "row_security": "forced"}),
        (LEVEL, {"type": "integer", "default": "20", "storage": "plain", "comment": "x"}),
        (Identity("policy", "public", "users.p"), {"command": "ALL"}),
        (SUBSCRIPTION, {"enabled": True}),
        (Identity("materialized_view", "public", "ages"), {"definition": "SELECT 1"}),
        (Identity("index", "public", "ages.i"), {"definition": "CREATE INDEX"}),
    )
    assert essential(other) == essential(structure())
    assert essential(structure((LEVEL, {"type": "bigint"}))) != essential(structure())


@pytest.mark.parametrize(("privileges", "left"), [("MAINTAIN*, SELECT", "SELECT"), ("MAINTAIN", None)])
def test_maintain_counts_between_servers_that_have_it_only(privileges: str, left: str | None) -> None:
    both = structure((USERS, {"form": "table", "grant to app": privileges}))
    older = structure((USERS, {"form": "table", **({"grant to app": left} if left else {})}), major=15)
    same, told = alike({"a": both, "b": older})
    assert compare(same["a"], same["b"]) == []
    assert "the privilege MAINTAIN" in {each.what for each in told}
    equal_majors, told = alike({"a": both, "b": Structure(older.objects, major=17)})
    assert [drift.name for drift in compare(equal_majors["a"], equal_majors["b"])] == ["users"]
    assert told == ()


def test_versions_of_extensions_count_within_one_major_version_only() -> None:
    one = structure((EXTENSION, {"schema": "public", "version": "1.6", "comment": "new"}))
    other = structure((EXTENSION, {"schema": "public", "version": "1.5", "comment": "old"}), major=15)
    assert side_by_side({"a": one, "b": other}).clean
    assert not side_by_side({"a": one, "b": Structure(other.objects, major=17)}).clean


def test_attributes_that_an_older_server_does_not_know() -> None:
    new: Definition = {"enabled": True, "origin": "none", "two_phase": False}
    comparison = side_by_side(
        {"a": structure((SUBSCRIPTION, new)), "b": structure((SUBSCRIPTION, {"enabled": True}), major=14)}
    )
    assert comparison.clean
    assert any("origin" in each.what and "PostgreSQL 14" in each.why for each in comparison.not_compared)


def test_a_kind_that_one_role_may_not_read_is_compared_nowhere() -> None:
    blind = Structure(BASE, unread={"replication_set": "it may not"}, major=17)
    comparison = side_by_side({"cn": structure((SET, {"operations": "insert"})), "global": blind})
    assert comparison.clean
    assert ("replication sets", "global: it may not") in {(each.what, each.why) for each in comparison.not_compared}


def test_a_schema_file_does_not_decide_what_operators_do() -> None:
    found = decided(
        structure(
            (USERS, {"form": "table", "grant to app": "SELECT", "grant to PUBLIC": "SELECT", "comment": "x"}),
            (EXTENSION, {"version": "1"}),
            (SUBSCRIPTION, {"enabled": True}),
            (Identity("schema", "public", "public"), {"comment": "x"}),
            (Identity("schema", "accountdb", "accountdb"), {"comment": "x"}),
        ),
        structure((Identity("schema", "accountdb", "accountdb"), {"comment": "accountdb"})),
    )
    assert {one.kind for one in found.objects} == {"table", "column", "schema"}
    assert Identity("schema", "public", "public") not in found.objects
    assert found.objects[USERS] == {"form": "table", "grant to PUBLIC": "SELECT"}
    assert found.objects[Identity("schema", "accountdb", "accountdb")] == {"comment": "x"}


CANONICAL = structure()


@pytest.mark.parametrize(
    ("cn", "global_", "deviates"),
    [
        (structure((LEVEL, {"type": "integer", "default": "10"})), structure(), ("cn",)),
        (structure((LEVEL, {"type": "bigint"})), structure((LEVEL, {"type": "text"})), ("cn", "global")),
        (structure(without=LEVEL), structure(), ("cn",)),
        (structure((Identity("column", "public", "users.phone"), {"type": "text"})), structure(), ("cn",)),
        (structure((FUNCTION, {"definition": "x"})), structure(), None),
        (structure((USERS, {"form": "table", "grant to app": "SELECT"})), structure(), None),
        (structure((USERS, {"form": "table", "grant to PUBLIC": "SELECT"})), structure(), ("cn",)),
        (structure((SUBSCRIPTION, {"enabled": True})), structure(), None),
        (structure((LEVEL, {"type": "integer", "default": "20", "comment": "x"})), structure(), None),
    ],
)
def test_who_deviates_from_the_schema(cn: Structure, global_: Structure, deviates: tuple[str, ...] | None) -> None:
    (finding,) = side_by_side({"cn": cn, "global": global_}, reference=CANONICAL).findings
    assert finding.deviates == deviates


def test_a_table_of_one_side_says_what_comes_with_it() -> None:
    (line, *_) = lines(side_by_side({"cn": structure(), "global": Structure({}, major=17)}))
    assert line == "table public.users: only in cn, with 1 column"


def test_three_sides() -> None:
    sides = {
        "a": structure((FUNCTION, {"definition": "x"})),
        "b": structure((LEVEL, {"type": "bigint", "default": "20"})),
        "c": structure((LEVEL, {"type": "bigint", "default": "20"}), (FUNCTION, {"definition": "x"})),
    }
    comparison = side_by_side(sides)
    assert lines(comparison) == [
        "column public.users.level",
        "  type: a integer | b and c bigint",
        "function public.f(): only in a and c",
        "  definition: x",
    ]


def text_of(value: Attribute, other: Attribute) -> list[str]:
    sides = {"cn": structure((FUNCTION, {"definition": value})), "global": structure((FUNCTION, {"definition": other}))}
    return lines(side_by_side(sides))[1:]


def test_a_definition_of_several_lines_comes_as_a_diff() -> None:
    assert text_of("a\nb\nc", "a\nB\nc") == [
        "  definition:",
        "    --- cn",
        "    +++ global",
        "    @@ -1,3 +1,3 @@",
        "     a",
        "    -b",
        "    +B",
        "     c",
    ]


@pytest.mark.parametrize(
    ("one", "other"), [("a\r\nb", "a\nb"), ("a\nb\n", "a\nb"), ("a\tb\nc", "a b\nc"), ("a \nb", "a\nb")]
)
def test_a_difference_that_is_not_visible_is_made_visible(one: str, other: str) -> None:
    told = text_of(one, other)
    assert sum(line.startswith(("    -", "    +")) for line in told) > 2


def test_nothing_in_a_value_can_reach_the_terminal() -> None:
    told = text_of("a\n\x1b[2J\x07", "b\nüber 用户")
    assert "    -\\x1b[2J\\x07" in told
    assert "    +über 用户" in told


COMPARISON = side_by_side(
    {
        "cn": structure((LEVEL, {"type": "bigint", "default": "10"}), (FUNCTION, {"definition": "x"})),
        "global": structure((USERS, {"form": "table", "comment": "x"})),
    },
    reference=CANONICAL,
)


def rule(**given: str) -> Rule:
    return Rule.model_validate({"name": "*", "reason": "meant", **given})


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"kind": "function"}, ["table users", "column users.level"]),
        ({"kind": "*", "name": "users*"}, ["function f()"]),
        (
            {"kind": "column", "name": "users.?evel", "attribute": "default"},
            ["table users", "column users.level", "function f()"],
        ),
        ({"kind": "column", "attribute": "*"}, ["table users", "function f()"]),
        ({"kind": "function", "attribute": "definition"}, ["table users", "column users.level", "function f()"]),
        ({"kind": "table", "schema": "accountdb"}, ["table users", "column users.level", "function f()"]),
        ({"kind": "table", "name": "Users"}, ["table users", "column users.level", "function f()"]),
    ],
)
def test_a_rule_takes_out_what_it_names_and_nothing_besides(given: dict[str, str], left: list[str]) -> None:
    found = without(COMPARISON, [rule(**given)])
    assert [f"{each.kind} {each.name}" for each in found.findings] == left


def test_what_a_rule_takes_out_of_an_object_is_not_judged_either() -> None:
    sides = {
        "cn": structure((LEVEL, {"type": "bigint", "default": "20"})),
        "global": structure((LEVEL, {"type": "integer", "default": "10"})),
    }
    found = side_by_side(sides, reference=CANONICAL)
    assert found.findings[0].deviates == ("cn", "global")
    (finding,) = without(found, [rule(kind="column", attribute="default")]).findings
    assert (finding.deviates, [each.attribute for each in finding.attributes]) == (("cn",), ["type"])


def test_a_rule_tells_how_much_it_took_out() -> None:
    found = without(COMPARISON, [rule(kind="*", name="users*"), rule(kind="column"), rule(kind="view")])
    assert [(each.rule, each.objects) for each in found.ignored] == [
        ("* *.users*", 2),
        ("column *.*", 0),
        ("view *.*", 0),
    ]
    assert "ignore rule view *.*: matches nothing (meant)" in list(summary(found))


def test_the_document_can_be_written_and_has_nothing_of_the_structures() -> None:
    found = json.loads(as_json(document(COMPARISON)))
    assert list(found) == ["equal", "sides", "findings", "ignored", "notes", "compared", "not_compared"]
    assert [set(each) for each in found["findings"]] == [
        {"kind", "schema", "name", "present", "absent", "attributes", "deviates"}
    ] * 3
