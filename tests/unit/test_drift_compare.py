"""The comparison, as a property over random structures and on single cases."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from accountdb.drift.compare import Change, Difference, Drift, compare
from accountdb.drift.findings import side_by_side
from accountdb.drift.structure import Attribute, Definition, Identity, Structure, identity

SWAPPED: dict[Change, Change] = {"missing": "extra", "extra": "missing", "changed": "changed"}

values: st.SearchStrategy[Attribute] = st.sampled_from(["x", "y", True, False])
relations = st.sampled_from(["t", "u", "a.b", "t.t"])
attributes: st.SearchStrategy[Definition] = st.dictionaries(
    st.sampled_from(["type", "definition", "not_null"]), values, max_size=3
)


@st.composite
def structures(draw: st.DrawFn) -> Structure:
    """Random structures in which, as in a catalog, what is owned has its table or view."""
    objects: dict[Identity, Definition] = {}
    for owner in draw(st.sets(relations)):
        form = draw(st.sampled_from(["table", "view"]))
        objects[identity(form, "public", None, owner)] = draw(attributes)
        for kind in draw(st.sets(st.sampled_from(["column", "index", "trigger"]))):
            for leaf in draw(st.sets(st.sampled_from(["p", "q"]))):
                objects[identity(kind, "public", owner, leaf)] = draw(attributes)
        if draw(st.booleans()):
            owned: dict[str, Attribute] = {"owned_by": f"{owner}.p"}
            objects[identity("sequence", "public", None, f"{owner}_seq")] = owned
    for name in draw(st.sets(st.sampled_from(["f()", "g(text)"]))):
        objects[identity("function", "accountdb", None, name)] = draw(attributes)
    return Structure(objects)


def applied(found: Structure, drifts: list[Drift], expected: Structure) -> dict[Identity, Definition]:
    """``found`` after every drift is taken back; a table takes along what belongs to it."""
    objects = dict(found.objects)
    for drift in drifts:
        one = drift.identity
        if drift.change == "changed":
            values = dict(objects[one])
            for difference in drift.differences:
                values.pop(difference.attribute, None)
                if difference.expected is not None:
                    values[difference.attribute] = difference.expected
            objects[one] = values
        elif drift.change == "missing":
            objects.update({each: expected.objects[each] for each in family(one, expected)})
        else:
            for each in set(family(one, found)) - expected.objects.keys():
                objects.pop(each, None)
    return objects


def family(one: Identity, structure: Structure) -> list[Identity]:
    """The object and, for a table or view, what belongs to it."""
    if one.kind not in ("table", "view"):
        return [one]
    mine = [each for each in structure.objects if (each.schema, each.owner) == (one.schema, one.name)]
    return [
        one,
        *mine,
        *(
            each
            for each, definition in structure.objects.items()
            if each.kind == "sequence" and str(definition["owned_by"]).startswith(f"{one.name}.")
        ),
    ]


@given(structures())
def test_a_structure_does_not_differ_from_itself(a: Structure) -> None:
    assert compare(a, a) == []


@given(structures(), structures())
def test_nothing_is_said_exactly_when_nothing_differs(a: Structure, b: Structure) -> None:
    assert (compare(a, b) == []) == (a == b)


@given(structures(), structures())
def test_swapping_the_sides_swaps_the_words(a: Structure, b: Structure) -> None:
    swapped = [
        Drift(
            *drift.identity,
            SWAPPED[drift.change],
            tuple(Difference(each.attribute, each.found, each.expected) for each in drift.differences),
        )
        for drift in compare(b, a)
    ]
    assert swapped == compare(a, b)


@given(structures(), structures())
def test_taking_back_every_drift_gives_what_was_expected(expected: Structure, found: Structure) -> None:
    drifts = compare(expected, found)
    assert applied(found, drifts, expected) == expected.objects
    assert applied(found, drifts[::-1], expected) == expected.objects


@given(structures(), structures(), st.randoms())
def test_the_order_does_not_depend_on_the_order_of_reading(a: Structure, b: Structure, random: Random) -> None:
    shuffled = list(b.objects.items())
    random.shuffle(shuffled)
    assert compare(a, Structure(dict(shuffled))) == compare(a, b)


@given(structures(), structures())
def test_each_object_is_told_once_and_with_a_reason(a: Structure, b: Structure) -> None:
    drifts = compare(a, b)
    told = [drift.identity for drift in drifts]
    assert len(told) == len(set(told))
    assert all(drift.differences for drift in drifts if drift.change == "changed")


def one_table(**columns: str) -> dict[Identity, Definition]:
    objects: dict[Identity, Definition] = {Identity("table", "public", "users"): {"form": "table"}}
    for name, type_ in columns.items():
        objects[Identity("column", "public", f"users.{name}")] = {"type": type_}
    objects[Identity("sequence", "public", "users_id_seq")] = {"owned_by": "users.id"}
    objects[Identity("trigger", "public", "users.trg")] = {"mode": "O"}
    return objects


def test_a_missing_table_speaks_for_what_belongs_to_it() -> None:
    (drift,) = compare(Structure(one_table(id="bigint", email="text")), Structure({}))
    assert (drift.identity, drift.change) == (("table", "public", "users"), "missing")
    assert drift.differences == (Difference("form", "table", None),)


def test_what_remains_of_a_table_that_both_have_is_told_by_itself() -> None:
    found = {each: value for each, value in one_table(id="bigint").items() if each.kind in ("table", "column")}
    drifts = compare(Structure(one_table(id="bigint", email="text")), Structure(found))
    assert [(drift.kind, drift.name, drift.change) for drift in drifts] == [
        ("sequence", "users_id_seq", "missing"),
        ("column", "users.email", "missing"),
        ("trigger", "users.trg", "missing"),
    ]


def test_a_view_in_place_of_a_table_is_two_entries() -> None:
    view: dict[Identity, Definition] = {Identity("view", "public", "users"): {"definition": "SELECT 1"}}
    drifts = compare(Structure(one_table(id="bigint")), Structure(view))
    assert [(drift.kind, drift.change) for drift in drifts] == [("table", "missing"), ("view", "extra")]


def test_a_change_names_the_attribute_and_both_values() -> None:
    (drift,) = compare(Structure(one_table(id="bigint")), Structure(one_table(id="integer")))
    assert drift == Drift("column", "public", "users.id", "changed", (Difference("type", "bigint", "integer"),))


def test_an_attribute_that_one_side_lacks_has_no_value_there() -> None:
    name = Identity("column", "public", "users.email")
    expected: dict[Identity, Definition] = {name: {"type": "text", "default": "''::text"}}
    (drift,) = compare(Structure(expected), Structure({name: {"type": "text"}}))
    assert drift.differences == (Difference("default", "''::text", None),)


def test_the_report_counts_what_either_side_has() -> None:
    found = side_by_side(
        {
            "a": Structure(one_table(id="bigint", email="text")),
            "b": Structure(one_table(id="bigint", phone="text")),
        }
    )
    assert not found.clean
    assert found.compared["column"] == 3
    assert found.compared["view"] == 0
    assert found.not_compared
