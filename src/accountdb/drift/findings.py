"""Several structures side by side, object by object: what the commands show; pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from accountdb.drift.compare import Change, compare, order
from accountdb.drift.kinds import KINDS, NOT_COMPARED, NotCompared
from accountdb.drift.scope import alike, decided
from accountdb.drift.structure import OWNER_KINDS, Attribute, Identity, Structure

_NAMED = 3


@dataclass(frozen=True)
class Values:
    """One attribute with its value on each side that has the object. None: no value there.

    ``deviates`` are the sides whose value is not that of accountdb's own schema; None where that
    schema does not decide it.
    """

    attribute: str
    values: Mapping[str, Attribute]
    deviates: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Finding:
    """One object that differs.

    ``present`` and ``absent`` are the sides that have it and that do not. ``attributes`` are those
    that differ, or all of them where the object is absent somewhere. ``deviates`` are the sides
    that differ from accountdb's own schema in any of them, or in having the object at all; None
    where that schema does not decide it.
    """

    kind: str
    schema: str
    name: str
    present: tuple[str, ...]
    absent: tuple[str, ...]
    attributes: tuple[Values, ...]
    deviates: tuple[str, ...] | None = None

    @property
    def identity(self) -> Identity:
        """The object, as ``Structure`` names it."""
        return Identity(self.kind, self.schema, self.name)


@dataclass(frozen=True)
class Ignored:
    """A rule of an ignore file, and how many objects it took out of the findings."""

    rule: str
    reason: str
    objects: int


@dataclass(frozen=True)
class Comparison:
    """What a comparison of ``sides`` found.

    ``compared`` counts, per kind, the objects that any side has. ``not_compared`` says what was not
    looked at: first single objects that are there and were left out, then what holds for these
    sides, then the kinds. ``notes`` are facts that are no finding. ``referenced``: the findings
    say who deviates from accountdb's schema. ``structures`` is what was compared, by side.
    """

    sides: tuple[str, ...]
    findings: tuple[Finding, ...]
    compared: Mapping[str, int]
    not_compared: tuple[NotCompared, ...]
    ignored: tuple[Ignored, ...] = ()
    notes: tuple[str, ...] = ()
    referenced: bool = False
    structures: Mapping[str, Structure] = field(default_factory=dict, repr=False)

    @property
    def clean(self) -> bool:
        """Whether nothing differs."""
        return not self.findings

    @cached_property
    def belongings(self) -> Mapping[tuple[str, str, str], Counter[str]]:
        """By side, schema and table or view: how many objects of each kind belong to it."""
        found: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
        for side, structure in self.structures.items():
            for one in structure.objects:
                owner = one.owner
                if owner is not None:
                    found[side, one.schema, owner][one.kind] += 1
        return found

    def change(self, finding: Finding) -> Change:
        """A finding in the words of ``compare``, with the first side as what is expected."""
        if not finding.absent:
            return "changed"
        return "missing" if self.sides[0] in finding.present else "extra"


def side_by_side(
    sides: Mapping[str, Structure], *, reference: Structure | None = None, told: tuple[NotCompared, ...] = ()
) -> Comparison:
    """Compare two sides or more, each by its name; the first is what the others are held against.

    ``reference`` is the schema that says which side deviates. ``told`` joins what was not compared.
    """
    found, cannot = alike(sides)
    names = tuple(found)
    first = found[names[0]]
    differing = {drift.identity for other in names[1:] for drift in compare(first, found[other])}
    wanted = decided(reference, reference) if reference is not None else None
    return Comparison(
        names,
        tuple(finding(one, found, wanted) for one in sorted(differing, key=order)),
        _counted(found),
        _left_out(sides) + told + cannot + NOT_COMPARED,
        referenced=reference is not None,
        structures=found,
    )


def finding(one: Identity, sides: Mapping[str, Structure], wanted: Structure | None = None) -> Finding:
    """The object ``one`` on all ``sides``, with what differs; all of it where nothing does, or a side lacks it."""
    there = {name: side.objects[one] for name, side in sides.items() if one in side.objects}
    absent = tuple(name for name in sides if name not in there)
    names = sorted({attribute for definition in there.values() for attribute in definition})
    rows = [Values(each, {side: definition.get(each) for side, definition in there.items()}) for each in names]
    differing = [row for row in rows if len(set(row.values.values())) > 1]
    shown = rows if absent or not differing else differing
    if wanted is None or not _known(one, wanted):
        return Finding(*one, tuple(there), absent, tuple(shown))
    if absent:
        deviates = absent if one in wanted.objects else tuple(there)
        return Finding(*one, tuple(there), absent, tuple(shown), deviates)
    judged = tuple(replace(row, deviates=_deviating(one, row, wanted)) for row in shown)
    return Finding(*one, tuple(there), absent, judged, together(judged))


def together(rows: Sequence[Values]) -> tuple[str, ...] | None:
    """The sides that deviate in any of ``rows``; None where none of them is decided."""
    decided_rows = [row for row in rows if row.deviates is not None]
    if not decided_rows:
        return None
    return tuple(side for side in decided_rows[0].values if any(side in (row.deviates or ()) for row in decided_rows))


def _deviating(one: Identity, row: Values, wanted: Structure) -> tuple[str, ...] | None:
    """The sides whose value is not the wanted one; None for what a schema file does not decide."""
    asked = Structure({one: {row.attribute: True}})
    if not decided(asked, wanted).objects.get(one):
        return None
    value = wanted.objects.get(one, {}).get(row.attribute)
    return tuple(side for side, found in row.values.items() if found != value)


def _known(one: Identity, wanted: Structure) -> bool:
    """Whether ``wanted`` has the object, or its table, whose other objects it thereby says are not to be."""
    if one in wanted.objects:
        return True
    return one.owner is not None and any(
        Identity(kind, one.schema, one.owner) in wanted.objects for kind in OWNER_KINDS
    )


def _counted(sides: Mapping[str, Structure]) -> dict[str, int]:
    either = Counter(one.kind for one in {one for side in sides.values() for one in side.objects})
    return {kind: either[kind] for kind in (*KINDS, *sorted(either.keys() - set(KINDS)))}


def _left_out(sides: Mapping[str, Structure]) -> tuple[NotCompared, ...]:
    """One entry per reason, with the names of the objects; ``Structure.left_out`` has them all."""
    by_reason: dict[str, dict[str, None]] = {}
    for side in sides.values():
        for left in side.left_out:
            one = left.identity
            if one.owner is None or one.kind == "trigger":
                by_reason.setdefault(left.why, {})[f"{one.kind} {one.schema}.{one.name}"] = None
    return tuple(NotCompared(_shortened(list(names)), why) for why, names in by_reason.items())


def _shortened(names: list[str]) -> str:
    """A few names as they are; of many the first ones and how many more."""
    shown = names if len(names) <= _NAMED + 1 else [*names[:_NAMED], f"{len(names) - _NAMED} more"]
    return ", ".join(shown)
