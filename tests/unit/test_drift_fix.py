"""The pure parts of a fix: labels of casts, names in text, the file."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from accountdb.drift.fix import casts, names
from accountdb.drift.fix.model import Facts, Fix, FixStatement, Label
from accountdb.drift.fix.planning import plan_fix
from accountdb.drift.fix.queries import runnable
from accountdb.drift.fix.writing import Heading, written
from accountdb.drift.structure import Definition, Identity, Structure

USERS = Identity("table", "public", "users")
TABLE: Definition = {"form": "table", "persistence": "permanent"}


@pytest.mark.parametrize(
    ("old", "new", "label", "through_text"),
    [
        ("integer", "bigint", Label.REWRITES, False),
        ("bigint", "integer", Label.LOSES, False),
        ("integer", "numeric(3,0)", Label.LOSES, False),
        ("numeric(10,2)", "numeric(12,3)", Label.LOCKS, False),
        ("numeric(10,2)", "numeric(10,3)", Label.LOSES, False),
        ("character varying(40)", "character varying(41)", Label.LOCKS, False),
        ("character varying(40)", "text", Label.LOCKS, False),
        ("text", "character varying(40)", Label.LOSES, False),
        ("uuid", "text", Label.REWRITES, False),
        ("text", "uuid", Label.LOSES, True),
        ("timestamp with time zone", "date", Label.LOSES, False),
        ("timestamp(3) with time zone", "timestamp(6) with time zone", Label.LOCKS, False),
        ("jsonb", "json", Label.REWRITES, False),
        ("json", "jsonb", Label.LOSES, False),
        ("integer", "integer[]", Label.LOSES, True),
        ('public."odd(type"', "integer", Label.LOSES, True),
    ],
)
def test_a_change_of_type_says_what_it_does_to_values(old: str, new: str, label: Label, through_text: bool) -> None:
    assert casts.judged(old, new)[:2] == (label, through_text)


def test_names_are_found_in_what_the_server_prints() -> None:
    found = names.references("""nextval('public."S.q"'::regclass) + "A""b"."c d"(x.y) || 'not.this' || $$nor.this$$""")
    assert found.pairs == {("public", "S.q"), ('A"b', "c d"), ("x", "y")}


def test_parts_of_a_template_are_not_looked_at_again() -> None:
    assert names.filled("{a} {b} {c}", a="{b}", b="x") == "{b} x {c}"


def test_a_whole_row_gets_its_table_back() -> None:
    text = "SELECT *::public.t AS whole, row_to_json(*) AS j, count(*) AS n, (a * b) AS p FROM public.t"
    assert runnable(text, {"public"}) == (
        "SELECT t.*::public.t AS whole, row_to_json(t.*) AS j, count(*) AS n, (a * b) AS p FROM public.t"
    )


def test_what_goes_with_lost_data_is_a_comment_too() -> None:
    column = Identity("column", "public", "users.a\nDROP TABLE x")
    index = Identity("index", "public", "users.i")
    fix = Fix(
        (
            FixStatement('ALTER TABLE users DROP COLUMN "a\r\nDROP TABLE x"', Label.LOSES, (column,), "its values\ngo"),
            FixStatement("CREATE INDEX i", Label.LOCKS, (index,), "made"),
            FixStatement("CREATE INDEX j", Label.LOCKS, (Identity("index", "public", "users.j"),), "made"),
        ),
        needs={index: frozenset({column})},
    )
    assert fix.withheld() == {column, index}
    heading = Heading("global", "cn", "1", "2", datetime(2026, 1, 2, tzinfo=UTC))
    lines = written(fix, heading, fix.withheld()).splitlines()
    assert [line for line in lines if "DROP TABLE" in line] == ['-- DROP TABLE x";']
    assert "-- CREATE INDEX i;" in lines
    assert "CREATE INDEX j;" in lines


def test_what_other_commands_make_is_left_to_them() -> None:
    guard = Identity("guard", "public", "users")
    (left,) = plan_fix(Structure({guard: {"state": "installed"}}), Structure({guard: {"state": "missing"}})).left
    assert "migratectl init" in left.why


def test_a_new_column_without_a_value_depends_on_the_rows() -> None:
    column = Identity("column", "public", "users.phone")
    target = Structure({USERS: TABLE})
    reference = Structure({USERS: TABLE, column: {"type": "text", "not_null": True}})
    filled = plan_fix(reference, target, Facts(filled=frozenset({("public", "users")})))
    empty = plan_fix(reference, target, Facts(filled=frozenset()))
    unknown = plan_fix(reference, target)
    assert [one.sql for one in filled.statements] == ['ALTER TABLE "public"."users" ADD COLUMN "phone" text']
    assert [one.identity for one in filled.left] == [column]
    assert [one.sql for one in empty.statements] == ['ALTER TABLE "public"."users" ADD COLUMN "phone" text NOT NULL']
    assert unknown.statements[-1].sql.endswith("SET NOT NULL")
    assert (empty.left, unknown.left) == ((), ())
