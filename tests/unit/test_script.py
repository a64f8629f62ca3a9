"""A file as statements with their lines; what is not plain SQL for one database is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accountdb.errors import UsageError
from accountdb.script.lexer import tokens
from accountdb.script.statements import statements


def split(text: str) -> list[tuple[int, str]]:
    return [(each.line, each.text) for each in statements(text, name="schema.sql")]


@given(st.text(alphabet="ab1 '\"$/*-\\;()eE\n.:é", max_size=60))
def test_the_tokens_of_a_text_are_the_text(text: str) -> None:
    found = list(tokens(text))
    assert "".join(token.text for token in found) == text
    assert all(text.startswith(token.text, token.start) for token in found)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'a;b', E'it\\';s', \"c;d\", $$e;f$$, $x$g;$$h$x$",
        "SELECT 1 /* a ; /* nested ; */ ; */ + 2",
        "SELECT 1 -- a ; comment\n+ 2",
        "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2)",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END",
        "CREATE OR REPLACE PROCEDURE p() LANGUAGE sql BEGIN ATOMIC SELECT 1; END",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN; END'",
        "PREPARE p AS SELECT $1",
        "SELECT a$b$c FROM t",
    ],
)
def test_a_semicolon_inside_ends_nothing(statement: str) -> None:
    assert split(f"{statement};\nSELECT 2;") == [(1, statement), (statement.count("\n") + 2, "SELECT 2")]


def test_lines_are_those_of_the_file() -> None:
    text = "-- head\n\n/* a\nb */ SELECT 1; SELECT\n  2;\n;\n  SELECT 3"
    assert split(text) == [(4, "SELECT 1"), (4, "SELECT\n  2"), (7, "SELECT 3")]


def test_the_line_of_a_position() -> None:
    (statement,) = statements("\n\nSELECT\n  a,\n  b\n", name="f")
    assert statement.line_at(None) == 3
    assert statement.line_at(1) == 3
    assert statement.line_at(statement.text.index("b") + 1) == 5


def test_begin_of_a_transaction_is_no_block() -> None:
    assert [text for _, text in split("BEGIN; SELECT 1; COMMIT; END;")] == ["BEGIN", "SELECT 1", "COMMIT", "END"]


def test_empty_files_have_no_statements() -> None:
    assert split("") == split("-- nothing\n;;\n") == []


def test_lines_that_only_steer_psql_are_passed_over() -> None:
    text = "\\restrict aB3\n\\set ON_ERROR_STOP on\n\\set QUIET 1\nSELECT 1;\n\\unrestrict aB3\n"
    assert split(text) == [(4, "SELECT 1")]


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("SELECT 1;\n\\connect other\n", 2, r"\\connect"),
        ("\\i other.sql\n", 1, r"\\i"),
        ("\n\nSELECT 'DROP TABLE t' \\gexec\n", 3, r"\\gexec"),
        ("\\set who 'x'\n", 1, r"\\set"),
        ("\\if :{?x}\n", 1, r"\\if"),
        ("SELECT 1 \\set QUIET 1\n", 1, r"\\set"),
    ],
)
def test_psql_commands_are_refused_with_their_line(text: str, line: int, word: str) -> None:
    with pytest.raises(UsageError, match=rf"^schema\.sql, line {line}: {word} is a psql command") as caught:
        split(text)
    assert caught.value.hint


@pytest.mark.parametrize("quote", ["'a", "E'a\\'", '"a', "$$a", "$x$a$$", "/* a /* b */", "n'a"])
def test_a_quote_that_does_not_end_is_told_with_its_line(quote: str) -> None:
    with pytest.raises(UsageError, match=r"^schema\.sql, line 2: .*does not end"):
        split(f"SELECT 1;\n{quote} ; SELECT 2;\n")


@pytest.mark.parametrize(
    "text",
    [
        "CREATE ROLE app",
        "create  user app",
        "ALTER /* x */ ROLE app LOGIN",
        "DROP DATABASE account",
        "ALTER DATABASE account SET x = 1",
        "ALTER SYSTEM SET fsync = off",
        "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p",
        "DROP OWNED BY app",
        "CREATE TABLESPACE t LOCATION '/x'",
    ],
)
def test_what_reaches_beyond_one_database_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^schema\.sql, line 2: .* reaches beyond one database"):
        split(f"SELECT 1;\n{text};")


def test_a_user_mapping_belongs_to_the_database() -> None:
    assert split("CREATE USER MAPPING FOR app SERVER s;")


def test_data_is_refused_before_its_lines_are_read_as_sql() -> None:
    with pytest.raises(UsageError, match=r"^schema\.sql, line 1: COPY moves data"):
        split("COPY public.users (email) FROM stdin;\nit's\\tme\n\\.\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SET transaction_timeout = 0", True),
        ("set a.b TO 'c'", True),
        ("SET ROLE app", False),
        ("SET SESSION AUTHORIZATION app", False),
        ("SETTLE", False),
    ],
)
def test_which_statements_only_set_a_parameter(text: str, expected: bool) -> None:
    (statement,) = statements(text, name="f")
    assert statement.is_setting is expected
