"""What diff prints: lines that do nothing to a terminal, and JSON that ends however the command does."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accountdb.cli.diff import tell_row
from accountdb.compare.model import Finding
from accountdb.errors import AccountdbError
from accountdb.render.output import JsonStream


def finding(
    key: str = "1", values: dict[str, Sequence[str | None]] | None = None, winner: str | None = "cn", why: str = "why"
) -> Finding:
    """A row that differs in ``values``; one that only cn has where there are none."""
    texts = {name: dict(zip(("cn", "global"), pair, strict=True)) for name, pair in (values or {}).items()}
    regions = ("cn", "global") if values else ("cn",)
    return Finding("public.t", {"id": key}, regions, tuple(texts), texts, winner, why)


@pytest.mark.parametrize(
    ("row", "line"),
    [
        (
            finding(values={"v": ("a", None)}, why="version 3 over 2"),
            "public.t id=1 differs in v (cn 'a' | global NULL); cn wins: version 3 over 2",
        ),
        (
            finding(values={"a": ("", "x"), "b": ("1", "2")}, winner=None, why="no row order"),
            "public.t id=1 differs in a (cn '' | global 'x'), b (cn '1' | global '2'); no row order",
        ),
        (finding(why="only in cn"), "public.t id=1 only in cn"),
        (finding(winner=None, why="deleted"), "public.t id=1 only in cn; deleted"),
        (finding("a b", why="only in cn"), "public.t id='a b' only in cn"),
        (finding("", why="only in cn"), "public.t id='' only in cn"),
        (finding("***", why="only in cn"), "public.t id=*** only in cn"),
        (finding("2026-01-02 03:04:05+00", why="only in cn"), "public.t id='2026-01-02 03:04:05+00' only in cn"),
        (finding("x\x1b[31m\n", why="only in cn"), "public.t id='x\\x1b[31m\\n' only in cn"),
    ],
)
def test_a_row_is_one_line(row: Finding, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    tell_row(row)
    assert capsys.readouterr().out == line + "\n"


def test_texts_that_look_alike_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    for here, there in (("a\nb", "a\\nb"), (":smile:", "😄"), ("NULL", None), ("a\u202eb", "ab"), ("[b]", "[/b]")):
        tell_row(finding(values={"v": (here, there)}))
        line = capsys.readouterr().out.rstrip("\n")
        shown = line.split("(cn ")[1].split(")")[0].split(" | global ")
        assert shown[0] != shown[1]
        assert line.isprintable()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_nothing_that_a_terminal_obeys_is_printed(text: str) -> None:
    with redirect_stdout(io.StringIO()) as out:
        tell_row(Finding(text, {text: text}, ("cn", text), (text,), {text: {"cn": text, text: None}}, text, text))
    assert out.getvalue().endswith("\n")
    assert out.getvalue()[:-1].isprintable()


# -- JSON --


def streamed(items: Sequence[Any], capsys: pytest.CaptureFixture[str]) -> Any:
    with JsonStream("rows") as document:
        for item in items:
            document.add(item)
        document.end({"equal": not items})
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_streamed_document_is_json(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    items = [{"n": n, "text": 'é "\n\x1b'} for n in range(count)]
    assert streamed(items, capsys) == {"rows": items, "equal": not count}


def test_a_finding_has_its_keys_in_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    document = streamed([finding(values={"v": ("a", None)})], capsys)
    assert document["rows"] == [
        {
            "table": "public.t",
            "key": {"id": "1"},
            "regions": ["cn", "global"],
            "columns": ["v"],
            "values": {"v": {"cn": "a", "global": None}},
            "winner": "cn",
            "why": "why",
        }
    ]


def broken_off(error: BaseException) -> None:
    """A document that ends after one item."""
    with JsonStream("rows") as document:
        document.add({"n": 1})
        raise error


@pytest.mark.parametrize(
    ("error", "told"),
    [(AccountdbError("the server went away"), "the server went away"), (KeyboardInterrupt(), "interrupted")],
)
def test_a_document_that_an_error_ends_is_json_too(
    error: BaseException, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(type(error)):
        broken_off(error)
    assert json.loads(capsys.readouterr().out) == {"rows": [{"n": 1}], "error": told}


def test_an_error_before_the_first_row_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AccountdbError), JsonStream("rows"):
        raise AccountdbError("no such table")
    assert capsys.readouterr().out == ""
