"""Two structures compared; pure."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from accountdb.drift.kinds import KINDS
from accountdb.drift.structure import OWNER_KINDS, Attribute, Definition, Identity, Structure

Change = Literal["missing", "extra", "changed"]

_RANK = {kind: rank for rank, kind in enumerate(KINDS)}


@dataclass(frozen=True)
class Difference:
    """One attribute that differs. None: that side has no value, or not the object."""

    attribute: str
    expected: Attribute
    found: Attribute


@dataclass(frozen=True)
class Drift:
    """One object that differs. ``differences`` is never empty for ``changed``, and is the whole
    definition on one side for ``missing`` (in expected, not in found) and ``extra`` (the reverse)."""

    kind: str
    schema: str
    name: str
    change: Change
    differences: tuple[Difference, ...]

    @property
    def identity(self) -> Identity:
        """The object, as ``Structure`` names it."""
        return Identity(self.kind, self.schema, self.name)


def compare(expected: Structure, found: Structure) -> list[Drift]:
    """What makes ``found`` differ from ``expected``: empty exactly when their objects are equal.

    One entry per object, in the order kind, schema, name. A table or view that only one side has
    stands for all that belongs to it (columns, constraints, indexes, triggers, the sequences that
    it owns). ``compare(b, a)`` is ``compare(a, b)`` with the sides swapped.
    """
    missing = expected.objects.keys() - found.objects.keys()
    extra = found.objects.keys() - expected.objects.keys()
    drifts = [_one_sided(one, expected.objects[one], "missing") for one in _heads(missing, expected)]
    drifts += [_one_sided(one, found.objects[one], "extra") for one in _heads(extra, found)]
    for one in expected.objects.keys() & found.objects.keys():
        differences = _differences(expected.objects[one], found.objects[one])
        if differences:
            drifts.append(Drift(*one, "changed", differences))
    return sorted(drifts, key=lambda drift: order(drift.identity))


def order(one: Identity) -> tuple[int, str, str, str]:
    """The key by which objects are told in order: kind, schema, name."""
    return (_RANK.get(one.kind, len(_RANK)), *one)


def _heads(one_sided: AbstractSet[Identity], structure: Structure) -> list[Identity]:
    """``one_sided`` without what is told by its table or view, which is one-sided itself."""
    tables = {(one.schema, one.name) for one in one_sided if one.kind in OWNER_KINDS}
    return [one for one in one_sided if not _told(one, structure.objects[one], tables)]


def _told(one: Identity, definition: Definition, tables: AbstractSet[tuple[str, str]]) -> bool:
    if one.kind == "sequence":
        owned_by = str(definition.get("owned_by", ""))
        return any(schema == one.schema and owned_by.startswith(f"{table}.") for schema, table in tables)
    return (one.schema, one.owner) in tables


def _one_sided(one: Identity, definition: Definition, change: Literal["missing", "extra"]) -> Drift:
    missing = change == "missing"
    return Drift(
        *one,
        change,
        tuple(
            Difference(attribute, value if missing else None, None if missing else value)
            for attribute, value in sorted(definition.items())
        ),
    )


def _differences(expected: Definition, found: Definition) -> tuple[Difference, ...]:
    return tuple(
        Difference(attribute, expected.get(attribute), found.get(attribute))
        for attribute in sorted(expected.keys() | found.keys())
        if expected.get(attribute) != found.get(attribute)
    )
