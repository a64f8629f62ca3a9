"""A fix as a file of SQL that a person reads and psql runs. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from accountdb.drift.fix.model import Fix, FixStatement, Label
from accountdb.drift.structure import Identity, Structure
from accountdb.sql import block

ALLOW_LOSS = "--allow data-loss"


@dataclass(frozen=True)
class Heading:
    """What the head of the file says: for which region, after which, in which states, and when."""

    region: str
    reference: str
    state: str
    reference_state: str
    made: datetime


def fingerprint(structure: Structure) -> str:
    """A short hash of a structure: equal for equal ones."""
    text = json.dumps(structure.tree(), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def written(fix: Fix, heading: Heading, withheld: Collection[Identity] = ()) -> str:
    """The file. The statements of the parts in ``withheld`` stand in it as comments."""
    lines = [*_head(fix, heading, withheld), "", block("drift_fix/session.sql", "file"), ""]
    for one in fix.statements:
        if one.alone:
            lines += _one(one, withheld)
    lines += ["BEGIN;", ""]
    for one in fix.statements:
        if not one.alone:
            lines += _one(one, withheld)
    return "\n".join([*lines, "COMMIT;", ""])


def _head(fix: Fix, heading: Heading, withheld: Collection[Identity]) -> Iterator[str]:
    yield remark(f"Makes the structure of {heading.region} equal to that of {heading.reference}.")
    yield remark(f"Made {heading.made:%Y-%m-%d %H:%M} UTC by migratectl check, for the states")
    yield remark(
        f"{heading.region} {heading.state}, {heading.reference} {heading.reference_state}; check again after it."
    )
    yield remark("Run it as the owner of the tables, with psql -f. All of it or nothing takes hold, but for the")
    yield remark("new labels of types at its beginning.")
    if any(one.superuser for one in fix.statements):
        yield remark("Statements under which that is said need a superuser.")
    lost = sum(one.objects[0] in withheld for one in fix.statements)
    if lost:
        yield remark(f"{lost} statements are left out, as comments: they lose data. {ALLOW_LOSS} writes them.")
    for left in fix.left:
        yield remark(f"Not mended: {said(left.identity)}: {left.why}")


def remark(text: str) -> str:
    """A comment of one line, whatever names stand in it."""
    return f"-- {' '.join(text.split())}"


def said(one: Identity) -> str:
    """An object for a person."""
    kind = one.kind.replace("_", " ")
    return f"{kind} {one.schema}.{one.name}" if one.schema and one.kind != "schema" else f"{kind} {one.name}"


def _one(one: FixStatement, withheld: Collection[Identity]) -> Iterator[str]:
    right = ", needs a superuser" if one.superuser else ""
    yield remark(f"[{one.label}{right}] {one.why}")
    text = f"{one.sql};"
    if one.objects[0] in withheld:
        own = one.label is Label.LOSES
        yield remark("left out: it loses data" if own else "left out: it goes with what loses data")
        # A comment ends where the server's or psql's line does.
        yield from (f"-- {line}" for line in text.replace("\r", "\n").split("\n"))
    else:
        yield text
    yield ""
