"""One text for one meaning, where the server itself writes two; pure.

What ``pg_get_*`` prints depends on the major version and on how an object was made. Measured on
PostgreSQL 15.18 and 17.10, these are the differences, and each is settled here:

1. ``x IN ('a', 'b')`` on a varchar is ``(ARRAY['a'::character varying, ...])::text[]`` where it was
   made, and ``ARRAY[('a'::character varying)::text, ...]`` after ``pg_dump | psql``.
2. 16 and later write a view of one table without ``table.`` before its columns; 15 writes it.
3. 16 and 17 made new key words (json, json_value, system_user, ...), which they quote as names.
4. Extended statistics name their columns in the order of the attribute numbers.

Both sides of a comparison pass through here, so a form that is not known here shows up as a
drift; it never hides one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from accountdb.drift.structure import Attribute
from accountdb.script.lexer import Token, tokens

_NEW_WORD = re.compile(r'"(json(?:_[a-z]+)?|merge_action|system_user)"')
_MAY_DIFFER = re.compile(r'"|\(ARRAY\[')
_FROM_ENDS = re.compile("WHERE|GROUP|HAVING|WINDOW|ORDER|LIMIT|OFFSET|FETCH|FOR|TABLESAMPLE|;")
_QUERIES = ("view", "materialized_view")
_MANY = frozenset({"UNION", "INTERSECT", "EXCEPT"})
_DEPTH = {"(": 1, "[": 1, ")": -1, "]": -1}


def settled(kind: str, value: Attribute) -> Attribute:
    """``value``, an attribute of an object of ``kind``, in the form that is compared."""
    if not isinstance(value, str):
        return value
    if kind == "statistics" and value.startswith("CREATE"):
        return "".join(_columns_by_name(_unquoted(value)))
    if kind in _QUERIES:
        return "".join(_without_lone_prefix(_casts_inside(_unquoted(value)))).strip()
    return "".join(_casts_inside(_unquoted(value))) if _MAY_DIFFER.search(value) else value


def _unquoted(text: str) -> list[str]:
    """The texts of the tokens, with key words of newer versions as the older ones write them."""
    return [_as_older(token) for token in tokens(text)]


def _as_older(token: Token) -> str:
    match = _NEW_WORD.fullmatch(token.text) if token.kind == "quoted" else None
    return match.group(1) if match else token.text


def _casts_inside(parts: Sequence[str]) -> list[str]:
    """``(ARRAY[a, b])::t[]`` as ``ARRAY[(a)::t, (b)::t]``."""
    out: list[str] = []
    at = 0
    while at < len(parts):
        end = _closing(parts, at) if list(parts[at : at + 3]) == ["(", "ARRAY", "["] else -1
        whole = end > 0 and _closing(parts, at + 2) == end - 1
        cast = _array_cast(parts, end + 1) if whole else None
        if cast is None:
            out.append(parts[at])
            at += 1
            continue
        element_type, at_next = cast
        elements = _split(_casts_inside(parts[at + 3 : end - 1]))
        out += ["ARRAY", "[", ", ".join(f"({element})::{element_type}" for element in elements), "]"]
        at = at_next
    return out


def _closing(parts: Sequence[str], at: int) -> int:
    """The index of the bracket that closes the one at ``at``; -1 where there is none."""
    depth = 0
    for index in range(at, len(parts)):
        depth += _DEPTH.get(parts[index], 0)
        if depth == 0:
            return index
    return -1


def _array_cast(parts: Sequence[str], at: int) -> tuple[str, int] | None:
    """The type t of a cast ``::t[]`` that begins at ``at``, and the index after it."""
    if at >= len(parts) or parts[at] != "::":
        return None
    for index in range(at + 1, len(parts) - 1):
        if parts[index] == "[":
            return ("".join(parts[at + 1 : index]), index + 2) if parts[index + 1] == "]" else None
        if not re.fullmatch(r'[\w$.]+|".*"| ', parts[index], re.DOTALL):
            return None
    return None


def _split(parts: Sequence[str]) -> list[str]:
    """The elements of a list, at its outer commas."""
    elements = [""]
    depth = 0
    for part in parts:
        depth += _DEPTH.get(part, 0)
        if part == "," and depth == 0:
            elements.append("")
        else:
            elements[-1] += part
    return [element.strip() for element in elements]


def _columns_by_name(parts: list[str]) -> list[str]:
    """CREATE STATISTICS with its columns sorted; its expressions come behind them and keep their order."""
    begin, end = parts.index("ON"), len(parts) - 1 - parts[::-1].index("FROM")
    named = _split(_casts_inside(parts[begin + 1 : end]))
    columns = sorted(each for each in named if not each.endswith(")"))
    expressions = [each for each in named if each.endswith(")")]
    return [*parts[: begin + 1], " ", ", ".join([*columns, *expressions]), " ", *parts[end:]]


def _without_lone_prefix(parts: list[str]) -> list[str]:
    """A view's text without the name of its only table before columns.

    The server keeps names of subqueries apart from it, and always writes theirs: nothing is lost.
    """
    alias = lone_alias(parts)
    if alias is None:
        return parts
    out: list[str] = []
    at = 0
    while at < len(parts):
        # FROM public.users: what follows a dot is the table itself, not a prefix.
        if parts[at : at + 2] == [alias, "."] and out[-1:] != ["."]:
            at += 2
        else:
            out.append(parts[at])
            at += 1
    return out


def lone_alias(parts: list[str]) -> str | None:
    """How a view calls the one thing that it selects from; None if there is not exactly one."""
    alias = None
    depth = 0
    inside = False
    for part in parts:
        depth += _DEPTH.get(part, 0)
        if depth or part in _DEPTH or part.isspace():
            continue
        if part in _MANY or (inside and part in (",", "JOIN")):
            return None
        if _FROM_ENDS.fullmatch(part):
            inside = False
        elif part == "FROM" and alias is None:
            inside = True
        elif inside and part != ".":
            alias = part
    return alias
