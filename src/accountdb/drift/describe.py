"""A difference in structure as one line for people. Pure."""

from __future__ import annotations

from accountdb.drift.compare import Difference, Drift

_LONGEST = 100


def describe(drift: Drift) -> str:
    """One line: the object, and what is missing, extra or changed: expected -> found."""
    what = f"{drift.kind} {drift.schema}.{drift.name}"
    if drift.change != "changed":
        return f"{what}: {drift.change}"
    return f"{what}: " + "; ".join(_difference(one) for one in drift.differences)


def _difference(one: Difference) -> str:
    return f"{one.attribute} {_short(one.expected)} -> {_short(one.found)}"


def _short(value: object) -> str:
    text = "none" if value is None else " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
