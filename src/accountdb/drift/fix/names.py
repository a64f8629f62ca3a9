"""Names in SQL text: written, and found again in what the server prints. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from psycopg import sql

from accountdb.script.lexer import Token, tokens

_NEW_WORD = re.compile(r"json(?:_[a-z]+)?|merge_action|system_user")
_LOWEST = re.compile(r"\b(?:json|merge_action|system_user)")
_OPEN = {"(": 1, "[": 1, ")": -1, "]": -1}


class References(NamedTuple):
    """The names in a text: ``pairs`` as schema and name, ``words`` all of them."""

    pairs: frozenset[tuple[str, str]]
    words: frozenset[str]


def name(*parts: str) -> str:
    """A qualified name, quoted."""
    return sql.Identifier(*parts).as_string()


def literal(text: str) -> str:
    """A string constant."""
    return sql.Literal(text).as_string().strip()


def filled(template: str, **parts: str) -> str:
    """``template`` with each ``{word}`` that is among ``parts`` replaced; what stands in the parts is not looked at."""
    return re.sub(r"\{(\w+)\}", lambda found: parts.get(found[1], found[0]), template)


def executable(text: str) -> str:
    """``text`` of a structure as a server takes it.

    A structure writes the key words that newer servers quote (json_value, ...) without quotes, so that two
    versions compare equal; to run it they get them back, which every version takes.
    """
    if not _LOWEST.search(text):
        return text
    return "".join(
        f'"{token.text}"' if token.kind == "word" and _NEW_WORD.fullmatch(token.text) else token.text
        for token in tokens(text)
    )


def loud(text: str) -> list[Token]:
    """The tokens that say something to the server."""
    return [token for token in tokens(text) if not token.silent]


def identifier(token: Token) -> str | None:
    """The name that a token is; None for one that is no name."""
    if token.kind == "word":
        return token.text.lower()
    if token.kind == "quoted" and token.text.startswith('"'):
        return token.text[1:-1].replace('""', '"')
    return None


def string(token: Token) -> str:
    """The value of a string constant as the server prints it."""
    body = token.text
    if body[0] in "eE":
        return re.sub(r"\\(.)|''", lambda found: found[1] or "'", body[2:-1], flags=re.DOTALL)
    return body[1:-1].replace("''", "'")


@lru_cache(maxsize=50_000)
def references(text: str) -> References:
    """The names in ``text``, those in strings that stand for an object (``'public.seq'::regclass``) too.

    What only looks like a reference (an alias and its column) is among them: whoever asks looks them up.
    """
    found = loud(text)
    names = [identifier(token) for token in found]
    pairs = set()
    words = {word for word in names if word is not None}
    for at, token in enumerate(found):
        first = names[at]
        if first is not None and at + 2 < len(found) and found[at + 1].text == ".":
            second = names[at + 2]
            if second is not None:
                pairs.add((first, second))
        if token.kind == "string" and [one.text for one in found[at + 1 : at + 3]] == ["::", "regclass"]:
            pairs |= references(string(token)).pairs
    return References(frozenset(pairs), frozenset(words))


def pairs_in_order(text: str) -> list[tuple[str, str]]:
    """A list of qualified names, such as the parents of a table."""
    found = loud(text)
    out = []
    for at, token in enumerate(found):
        if token.text == "." and 0 < at < len(found) - 1:
            first, second = identifier(found[at - 1]), identifier(found[at + 1])
            if first is not None and second is not None:
                out.append((first, second))
    return out


def elements(text: str) -> list[str]:
    """The elements of a list, at its outer commas."""
    out, depth = [""], 0
    for token in tokens(text):
        depth += _OPEN.get(token.text, 0)
        if token.text == "," and depth == 0:
            out.append("")
        else:
            out[-1] += token.text
    return [one.strip() for one in out if one.strip()]


def inside(text: str, after: str | None = None) -> str | None:
    """What stands in the first brackets (after the word ``after``, where given); None where there are none."""
    depth, armed, out = 0, after is None, ""
    for token in tokens(text):
        if depth == 0:
            armed = armed or token.text.upper() == after
            depth = 1 if armed and token.text == "(" else 0
            continue
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0:
            return out
        out += token.text
    return None


class Routine(NamedTuple):
    """A function, procedure or aggregate as its definition names it."""

    word: str
    schema: str
    name: str
    arguments: str


@lru_cache(maxsize=10_000)
def routine(definition: str, named: str) -> Routine:
    """The routine of a definition; ``named`` is its name with its argument types, of its identity."""
    found = loud(definition[: len(named) * 8 + 400])
    at = next(i for i, token in enumerate(found) if token.text in ("FUNCTION", "PROCEDURE", "AGGREGATE"))
    word = found[at].text
    schema, own = identifier(found[at + 1]) or "", identifier(found[at + 3]) or ""
    arguments = named[len(own) + 1 : -1]
    if word == "AGGREGATE":
        arguments = inside(definition[found[at + 3].start :], found[at + 3].text.upper()) or "*"
    return Routine(word, schema, own, arguments)
