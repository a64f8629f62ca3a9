"""SQL text as tokens: enough to find statements, quotes and names; never a parser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

TokenKind = Literal["space", "comment", "string", "quoted", "word", "symbol", "broken"]


@dataclass(frozen=True)
class Token:
    """One piece of SQL text. All tokens of a text, joined, are the text.

    ``broken`` is a quote or comment that does not end; it reaches to the end of the text.
    """

    kind: TokenKind
    text: str
    start: int

    @property
    def silent(self) -> bool:
        """Whether it says nothing to the server."""
        return self.kind in ("space", "comment")


_SIMPLE: tuple[tuple[TokenKind, re.Pattern[str]], ...] = (
    ("space", re.compile(r"\s+")),
    ("comment", re.compile(r"--[^\n]*")),
    ("string", re.compile(r"[eE]'(?:[^'\\]|\\.|'')*'", re.DOTALL)),
    ("string", re.compile(r"(?:[bBxXnN]|[uU]&)?'(?:[^']|'')*'")),
    ("quoted", re.compile(r'(?:[uU]&)?"(?:[^"]|"")*"')),
    # The E of an open E'... is not a word: the text after it would be read by the wrong rules.
    ("word", re.compile(r"(?![eEbBxXnN]')[^\W\d][\w$]*")),
    ("symbol", re.compile(r"::|\d[\w.]*")),
)
_DOLLAR = re.compile(r"\$(?:[^\W\d]\w*)?\$")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_OPEN_QUOTE = re.compile(r"[eEbBxXnN]?'|\"")


def tokens(text: str) -> Iterator[Token]:
    """The tokens of ``text``, in order."""
    at = 0
    while at < len(text):
        token = _token(text, at)
        yield token
        at += len(token.text)


def _token(text: str, at: int) -> Token:
    if text.startswith("/*", at):
        return _block_comment(text, at)
    if text[at] == "$":
        return _dollar_quote(text, at)
    for kind, pattern in _SIMPLE:
        match = pattern.match(text, at)
        if match:
            return Token(kind, match.group(), at)
    if _OPEN_QUOTE.match(text, at):
        return Token("broken", text[at:], at)
    return Token("symbol", text[at], at)


def _dollar_quote(text: str, at: int) -> Token:
    """A string in dollar quotes; else a parameter's ``$``."""
    opening = _DOLLAR.match(text, at)
    if opening is None:
        return Token("symbol", "$", at)
    end = text.find(opening.group(), opening.end())
    if end < 0:
        return Token("broken", text[at:], at)
    return Token("string", text[at : end + len(opening.group())], at)


def _block_comment(text: str, at: int) -> Token:
    """A ``/* */`` comment; PostgreSQL nests them."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, at):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return Token("comment", text[at : edge.end()], at)
    return Token("broken", text[at:], at)
