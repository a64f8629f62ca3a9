"""A file of SQL as statements with line numbers, as psql would send them; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from accountdb.errors import UsageError
from accountdb.script.lexer import Token, tokens

# Lines that only steer psql and leave the SQL as it is: pg_dump writes the first two.
_HARMLESS = re.compile(r"\\(?:(?:un)?restrict\s+\w+|set\s+(?:ON_ERROR_STOP|QUIET)(?:\s+\w+)?)\s*$", re.IGNORECASE)
_OUTSIDE = re.compile(
    r"(?:create|alter|drop) (?:role|user(?! mapping)|group|database|tablespace|subscription)\b"
    r"|alter system\b|(?:drop|reassign) owned\b"
)
_SETTING = re.compile(r"set\s+[\w.]+\s*(?:=|to\b)", re.IGNORECASE)
_ROUTINE = re.compile(r"create (?:or replace )?(?:function|procedure)\b")


@dataclass(frozen=True)
class Statement:
    """One statement without its semicolon, and the line of the file where it begins (from 1)."""

    text: str
    line: int

    @property
    def head(self) -> str:
        """Its first words in lower case, single spaces between them, without comments."""
        return head(self.text)

    @property
    def bare(self) -> str:
        """The statement with a space for each comment."""
        return "".join(" " if token.kind == "comment" else token.text for token in tokens(self.text))

    @property
    def is_setting(self) -> bool:
        """Whether it only sets a parameter of the session."""
        return _SETTING.match(self.text) is not None

    def line_at(self, position: int | None) -> int:
        """The file's line of ``position``, the server's character position (from 1), if it told one."""
        return self.line + (self.text.count("\n", 0, position - 1) if position else 0)


def statements(text: str, *, name: str) -> list[Statement]:
    """The statements of ``text``; ``name`` is how messages call the file.

    Raises UsageError, with the line, for what plain SQL cannot do (a psql command, a quote that
    does not end), for COPY, and for statements that reach beyond one database: they would change
    the server although the file is only looked at.
    """
    found = []
    for statement in split(text, name=name):
        _refuse_outside(statement, name)
        found.append(statement)
    return found


def split(text: str, *, name: str) -> Iterator[Statement]:
    """The statements of ``text``, whatever they are.

    Raises UsageError, with the line, for a psql command or a quote that does not end.
    """
    part: list[Token] = []
    nesting = _Nesting()
    skip_to = 0
    for token in tokens(text):
        if token.start < skip_to:
            continue
        if token.text == "\\":
            skip_to = _psql_line_end(text, token, name)
            continue
        if token.kind == "broken":
            raise UsageError(
                f"{name}, line {_line(text, token.start)}: a quote or comment that does not end",
                hint="close it; what comes after it is read as a part of it",
            )
        if token.text == ";" and nesting.outside():
            yield from _statement(text, part)
            part, nesting = [], _Nesting()
        else:
            part.append(token)
            nesting.take(token)
    yield from _statement(text, part)


def _statement(text: str, part: list[Token]) -> Iterator[Statement]:
    loud = [index for index, token in enumerate(part) if not token.silent]
    if loud:
        first = part[loud[0]]
        body = "".join(token.text for token in part[loud[0] : loud[-1] + 1])
        yield Statement(body, _line(text, first.start))


def _psql_line_end(text: str, token: Token, name: str) -> int:
    """The end of a line that psql alone reads; UsageError unless it is one without effect."""
    end = text.find("\n", token.start)
    line = text[token.start : end if end >= 0 else len(text)]
    begin = text.rfind("\n", 0, token.start) + 1
    if text[begin : token.start].strip() or not _HARMLESS.match(line):
        word = line.split(None, 1)[0]
        raise UsageError(
            f"{name}, line {_line(text, token.start)}: {word} is a psql command, not SQL",
            hint="give plain SQL, such as pg_dump --schema-only writes",
        )
    return token.start + len(line)


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def head(text: str, size: int = 400) -> str:
    """The tokens of the first ``size`` characters in lower case, without comments, single spaces between them."""
    return " ".join(token.text.lower() for token in tokens(text[:size]) if not token.silent)


def _refuse_outside(statement: Statement, name: str) -> None:
    first = statement.head
    if first.startswith("copy "):
        raise UsageError(
            f"{name}, line {statement.line}: COPY moves data, and only structure is compared",
            hint="leave the data out: pg_dump --schema-only",
        )
    if _OUTSIDE.match(first):
        words = " ".join(first.split()[:2]).upper()
        raise UsageError(
            f"{name}, line {statement.line}: {words} reaches beyond one database and is not run",
            hint="take it out of the file; structure has no need of it",
        )


class _Nesting:
    """Whether a semicolon ends the statement: not in parentheses, not in ``BEGIN ATOMIC ... END``."""

    def __init__(self) -> None:
        self.head = ""
        self.words = 0
        self.parens = 0
        self.blocks = 0

    def outside(self) -> bool:
        return self.parens <= 0 and self.blocks == 0

    def take(self, token: Token) -> None:
        if token.text in ("(", ")"):
            self.parens += 1 if token.text == "(" else -1
        elif token.kind == "word":
            self._word(token.text.lower())

    def _word(self, word: str) -> None:
        if self.words < 4:
            self.head = f"{self.head} {word}".strip()
            self.words += 1
        if self.parens > 0 or not _ROUTINE.match(self.head):
            return
        if word == "begin" or (word == "case" and self.blocks):
            self.blocks += 1
        elif word == "end" and self.blocks:
            self.blocks -= 1
