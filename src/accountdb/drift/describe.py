"""Differences in structure as lines for people; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import unified_diff
from typing import Any

from accountdb.contract.masking import printable
from accountdb.drift.compare import Difference, Drift
from accountdb.drift.findings import Comparison, Finding, Values
from accountdb.drift.kinds import KINDS, SCHEMA_KINDS
from accountdb.drift.structure import OWNER_KINDS, Attribute

_LONGEST = 100
_ONE_LINE = 60
_REFERENCE = "accountdb's schema"


def describe(drift: Drift) -> str:
    """One line: the object, and what is missing, extra or changed: expected -> found."""
    what = object_name(drift.kind, drift.schema, drift.name)
    if drift.change != "changed":
        return f"{what}: {drift.change}"
    return f"{what}: " + "; ".join(_difference(one) for one in drift.differences)


def object_name(kind: str, schema: str, name: str) -> str:
    """An object as it is called in the output: ``column public.users.email``, ``publication rep_all``."""
    qualified = f"{schema}.{name}" if schema and kind != "schema" else name
    return printable(f"{kind.replace('_', ' ')} {qualified}")


def counted(kind: str, count: int) -> str:
    """A number of objects in words: ``1 index``, ``2 indexes``."""
    word = kind.replace("_", " ")
    if count == 1 or word.endswith("s"):
        return f"{count} {word}"
    if word.endswith("y"):
        return f"{count} {word[:-1]}ies"
    return f"{count} {word}{'es' if word.endswith('x') else 's'}"


def _difference(one: Difference) -> str:
    return f"{one.attribute} {_short(one.expected)} -> {_short(one.found)}"


def _short(value: object) -> str:
    text = "none" if value is None else " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def report(finding: Finding, comparison: Comparison) -> Iterator[str]:
    """A finding as lines: the object, then what differs and which side has what.

    Long values, and those of several lines, come as a unified diff between sides. The last line says
    how it stands to accountdb's own schema, where it was held against that.
    """
    what = object_name(finding.kind, finding.schema, finding.name)
    if finding.absent:
        yield f"{what}: only in {_listed(finding.present)}{_speaks_for(finding, comparison)}"
    else:
        yield what
    for row in finding.attributes:
        yield from (f"  {line}" for line in _attribute(finding, row))
    if comparison.referenced and finding.kind in SCHEMA_KINDS:
        yield f"  {_verdict(finding)}"


def _speaks_for(finding: Finding, comparison: Comparison) -> str:
    """What comes and goes with a table or view that only some sides have, and is not told by itself."""
    if finding.kind not in OWNER_KINDS:
        return ""
    counts: Mapping[str, int] = comparison.belongings.get((finding.present[0], finding.schema, finding.name), {})
    return f", with {', '.join(counted(kind, counts[kind]) for kind in KINDS if kind in counts)}" if counts else ""


def _attribute(finding: Finding, row: Values) -> Iterator[str]:
    name = printable(row.attribute)
    groups = _groups(row.values)
    if len(groups) == 1:
        value, sides = next(iter(groups.items()))
        yield from _block(name, f" ({_listed(sides)})" if not finding.absent else "", value)
    elif not any(_is_long(value) for value in groups):
        yield f"{name}: " + " | ".join(f"{_listed(sides)} {_plain(value)}" for value, sides in groups.items())
    else:
        yield f"{name}:"
        (first, first_sides), *others = groups.items()
        for value, sides in others:
            yield from _diff(first, value, _listed(first_sides), _listed(sides))


def _groups(values: Mapping[str, Attribute]) -> dict[Attribute, tuple[str, ...]]:
    """Each value with the sides that have it."""
    found: dict[Attribute, tuple[str, ...]] = {}
    for side, value in values.items():
        found[value] = (*found.get(value, ()), side)
    return found


def _block(name: str, whose: str, value: Attribute) -> Iterator[str]:
    if not _is_long(value) or "\n" not in str(value):
        yield f"{name}: {_plain(value)}{whose}"
        return
    yield f"{name}{whose}:"
    yield from (f"  {printable(line)}" for line in str(value).split("\n"))


def _diff(one: Attribute, other: Attribute, one_side: str, other_side: str) -> Iterator[str]:
    before, after = ([] if value is None else str(value).split("\n") for value in (one, other))
    for line in unified_diff(before, after, one_side, other_side, lineterm=""):
        yield f"  {printable(line)}"


def _is_long(value: Attribute) -> bool:
    return isinstance(value, str) and ("\n" in value or len(value) > _ONE_LINE)


def _plain(value: Attribute) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return printable(value) if value else "''"


def _verdict(finding: Finding) -> str:
    if finding.deviates is None:
        return f"{_REFERENCE} says nothing about it"
    verb = "differs" if len(finding.deviates) == 1 else "differ"
    return f"{_listed(finding.deviates)} {verb} from {_REFERENCE}"


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(printable(name) for name in names)


def summary(comparison: Comparison) -> Iterator[str]:
    """What was compared and what not, and why; for the person, after the findings."""
    yield from (printable(f"note: {note}") for note in comparison.notes)
    for one in comparison.ignored:
        done = f"{one.objects} ignored" if one.objects else "matches nothing"
        yield printable(f"ignore rule {one.rule}: {done} ({one.reason})")
    counts = ", ".join(counted(kind, count) for kind, count in comparison.compared.items() if count)
    yield f"compared: {counts or 'nothing: there is nothing on either side'}"
    yield "not compared:"
    yield from (printable(f"  {one.what}: {one.why}") for one in comparison.not_compared)
    found = len(comparison.findings)
    yield f"{found} {'finding' if found == 1 else 'findings'}" if found else "equal"


def document(comparison: Comparison) -> dict[str, Any]:
    """The comparison as the JSON form that docs/check.md describes."""
    return {
        "equal": comparison.clean,
        "sides": comparison.sides,
        "findings": comparison.findings,
        "ignored": comparison.ignored,
        "notes": comparison.notes,
        "compared": {kind: count for kind, count in comparison.compared.items() if count},
        "not_compared": comparison.not_compared,
    }
