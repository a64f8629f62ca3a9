"""What a change of a column's type does to the values. Pure."""

from __future__ import annotations

import re

from accountdb.drift.fix.model import Label

_SHAPE = re.compile(r"(?P<name>[^(\[]+?)(?P<args>\([\d, -]+\))?(?P<zone> with(?:out)? time zone)?(?P<array>(?:\[\])*)")
_TEXTS = {"text": None, "character varying": None}
_NUMBERS = ("smallint", "integer", "bigint", "numeric")
_KIN = (
    frozenset({"smallint", "integer", "bigint", "numeric", "real", "double precision", "money"}),
    frozenset({"text", "character varying", "character", "name", '"char"'}),
    frozenset({"date", "timestamp without time zone", "timestamp with time zone"}),
    frozenset({"json", "jsonb"}),
    frozenset({"boolean", "integer"}),
)
_KEEPS = frozenset(
    {
        ("real", "double precision"),
        ("smallint", "real"),
        ("smallint", "double precision"),
        ("integer", "double precision"),
        ("jsonb", "json"),
        ("boolean", "integer"),
        ("name", "text"),
        ("cidr", "inet"),
    }
)
_MAIN = frozenset({"numeric", "inet", "cidr"})
_LONG = frozenset(
    {"text", "character varying", "character", "bytea", "json", "jsonb", "xml", "path", "polygon", "bit", "bit varying"}
)


def _split(text: str) -> tuple[str, tuple[int, ...] | None, str]:
    match = _SHAPE.fullmatch(text)
    if match is None:
        return text, None, ""
    arguments = tuple(int(part) for part in match["args"].strip("()").split(",")) if match["args"] else None
    return match["name"].strip() + (match["zone"] or ""), arguments, match["array"]


def judged(old: str, new: str) -> tuple[Label, bool, str]:
    """The label, whether the cast goes through text, and why, of ALTER COLUMN ... TYPE from ``old`` to ``new``."""
    if old == new:
        return Label.REWRITES, False, "the same type, written anew"
    old_name, old_arguments, old_array = _split(old)
    new_name, new_arguments, new_array = _split(new)
    if old_array != new_array:
        return Label.LOSES, True, f"not every {old} is a {new}"
    kin = any(old_name in group and new_name in group for group in _KIN)
    if old_name == new_name or (old_name in _TEXTS and new_name in _TEXTS):
        if _wider(old_arguments, new_arguments):
            return Label.LOCKS, False, f"every {old} is a {new}; the table need not be written anew"
        return Label.LOSES, False, f"a value that {new} has no room for is cut or refused"
    if new_name in _TEXTS and new_arguments is None:
        return Label.REWRITES, False, f"every {old} has its text"
    grows = old_name in _NUMBERS and new_name in _NUMBERS and _NUMBERS.index(old_name) < _NUMBERS.index(new_name)
    if (old_name, new_name) in _KEEPS or (grows and new_arguments is None):
        return Label.REWRITES, False, f"every {old} is a {new}"
    return Label.LOSES, not kin, f"not every {old} is a {new}; what is not is changed, or the statement fails"


def _wider(old: tuple[int, ...] | None, new: tuple[int, ...] | None) -> bool:
    if new is None:
        return True
    if old is None:
        return False
    if len(old) == 2 and len(new) == 2:  # numeric: digits before and after the point
        return new[1] >= old[1] and new[0] - new[1] >= old[0] - old[1]
    return len(old) == len(new) == 1 and new[0] >= old[0]


def default_storage(kind: str) -> str:
    """How a type's values are stored unless a column says otherwise."""
    name, _, array = _split(kind)
    if array or name in _LONG:
        return "extended"
    return "main" if name in _MAIN else "plain"
