"""The texts that servers write differently for one meaning; taken from 15.18 and 17.10."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accountdb.drift.normal import settled

MADE_HERE = "CHECK (((s)::text = ANY ((ARRAY['q'::character varying, 'w'::character varying])::text[])))"
RESTORED = "CHECK (((s)::text = ANY (ARRAY[('q'::character varying)::text, ('w'::character varying)::text])))"


def test_a_list_of_varchar_values_after_a_restore() -> None:
    assert settled("constraint", MADE_HERE) == settled("constraint", RESTORED) == RESTORED


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(ARRAY[a, f(b, c)])::text[]", "ARRAY[(a)::text, (f(b, c))::text]"),
        ("(ARRAY['x,]('::name])::public.mood[]", "ARRAY[('x,]('::name)::public.mood]"),
        ("(ARRAY[(ARRAY[a])::text[]])::name[]", "ARRAY[(ARRAY[(a)::text])::name]"),
        ("(ARRAY['a'])::character varying(3)", "(ARRAY['a'])::character varying(3)"),
        ("(ARRAY[1, 2])[1]", "(ARRAY[1, 2])[1]"),
        ("(ARRAY[a] || ARRAY[b])::text[]", "(ARRAY[a] || ARRAY[b])::text[]"),
        ("'(ARRAY[a])::text[]'::text", "'(ARRAY[a])::text[]'::text"),
        ("(ARRAY[a", "(ARRAY[a"),
    ],
)
def test_only_a_cast_of_a_whole_array_moves_inside(text: str, expected: str) -> None:
    assert settled("index", text) == expected


def test_the_body_of_a_function_is_never_touched() -> None:
    body = f'CREATE OR REPLACE FUNCTION public.f()\nAS $function$ {MADE_HERE} "json" $function$\n'
    assert settled("function", body) == body


def test_newer_key_words_are_written_as_older_servers_do() -> None:
    assert settled("index", '("json_value", "order", (("json")::text))') == '(json_value, "order", ((json)::text))'
    assert settled("index", "('\"json\"'::text)") == "('\"json\"'::text)"


VIEWS = [
    (
        " SELECT u.id,\n    count(*) AS n\n   FROM public.users u\n  GROUP BY u.id;",
        " SELECT id,\n    count(*) AS n\n   FROM public.users u\n  GROUP BY id;",
    ),
    (
        " SELECT t.id,\n    'parts.id t.id'::text AS lit,\n    (t.id + 1) AS \"t.id\"\n   FROM public.t\n"
        "  WHERE (EXISTS ( SELECT 1\n FROM public.ref\n WHERE ((ref.tid = t.id) AND (ref.id = 3))));",
        " SELECT id,\n    'parts.id t.id'::text AS lit,\n    (id + 1) AS \"t.id\"\n   FROM public.t\n"
        "  WHERE (EXISTS ( SELECT 1\n FROM public.ref\n WHERE ((ref.tid = t.id) AND (ref.id = 3))));",
    ),
    (' SELECT "W""t"."order"\n   FROM public."W""t";', ' SELECT "order"\n   FROM public."W""t";'),
    (' SELECT json."json"\n   FROM public.json;', ' SELECT "json"\n   FROM public."json";'),
    (
        " SELECT s.x\n   FROM ( SELECT t.id AS x\n           FROM public.t) s\n  WHERE (s.x > 1);",
        " SELECT x\n   FROM ( SELECT t.id AS x\n           FROM public.t) s\n  WHERE (x > 1);",
    ),
    (
        " SELECT u.x\n   FROM unnest(ARRAY[1, 2]) WITH ORDINALITY u(x, o);",
        " SELECT x\n   FROM unnest(ARRAY[1, 2]) WITH ORDINALITY u(x, o);",
    ),
    (
        " SELECT t.a\n   FROM ONLY public.t TABLESAMPLE system (10);",
        " SELECT a\n   FROM ONLY public.t TABLESAMPLE system (10);",
    ),
]


@pytest.mark.parametrize(("older", "newer"), VIEWS)
def test_a_view_of_one_table_is_the_same_on_15_and_17(older: str, newer: str) -> None:
    assert settled("view", older) == settled("view", newer)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            " SELECT a.id\n   FROM (public.a\n     JOIN public.b ON (true));",
            " SELECT b.id\n   FROM (public.a\n     JOIN public.b ON (true));",
        ),
        (" SELECT a.id\n   FROM public.a,\n    public.b;", " SELECT b.id\n   FROM public.a,\n    public.b;"),
        (" SELECT a.id\n   FROM public.a;", " SELECT a.id\n   FROM shop.a;"),
        (" SELECT a.id\n   FROM public.a;", " SELECT b.id\n   FROM public.b;"),
        (
            " SELECT a.id\n   FROM public.a\nUNION\n SELECT b.id\n   FROM public.b;",
            " SELECT a.id\n   FROM public.a\nUNION\n SELECT a.id\n   FROM public.b;",
        ),
    ],
)
def test_views_that_differ_stay_different(one: str, other: str) -> None:
    assert settled("view", one) != settled("view", other)


@given(st.text(alphabet="(ARAY[]):, 'a\"t.FROM;$", max_size=40), st.sampled_from(["view", "index"]))
def test_any_text_is_survived_and_settling_twice_is_settling_once(text: str, kind: str) -> None:
    once = settled(kind, text)
    assert settled(kind, once) == once


def test_what_is_no_text_passes() -> None:
    assert settled("view", True) is True
    assert settled("view", None) is None
