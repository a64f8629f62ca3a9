"""What ``migratectl check`` and ``clean`` say of the regions together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from accountdb.doctor.hints import on_all, on_one
from accountdb.doctor.model import Look
from accountdb.drift.findings import Comparison
from accountdb.drift.findings import Finding as Difference
from accountdb.errors import AccountdbError, Refused
from accountdb.health.advice import Finding, Remedy
from accountdb.pg.connect import Connection
from accountdb.setup.checking import check
from accountdb.setup.cleaning.model import Leftover, dotted
from accountdb.setup.cleaning.run import find

_MOST = 20
# Of these there are checks of their own, with more to say.
_OWN = ("guard", "row_contract")
_OWN_LEFTOVERS = ("trigger", "constraint", "guards", "replication slot")


def compare(regions: Mapping[str, str], ignore: Path | None) -> Iterator[Finding]:
    """The structure of all regions, and the parameters that must be equal. Raises Refused for one database twice."""
    look = Look(None)
    if len(regions) < 2:
        yield look.unseen("structure", "one region answers")
        yield look.unseen("parameter", "one region answers")
        return
    try:
        found = check(regions, ignore)
    except Refused:
        raise
    except AccountdbError as error:
        yield look.unseen("structure", error.message)
        yield look.unseen("parameter", error.message)
        return
    yield from judge_structure(found, tuple(regions))


def judge_structure(found: Comparison, regions: Sequence[str]) -> Iterator[Finding]:
    """What differs, object by object. Pure."""
    look = Look(None)
    parameters = [one for one in found.findings if one.kind == "parameter"]
    others = [one for one in found.findings if one.kind not in ("parameter", *_OWN)]
    two = len(regions) == 2
    mend = on_all(regions, "check") + " --fix-sql fix.sql --apply --allow joined"
    remedy = Remedy("" if two else "mend two regions at a time", (mend,) if two else (on_all(regions, "check"),))
    for one in others[:_MOST]:
        text = f"{one.kind.replace('_', ' ')} {dotted(*(p for p in (one.schema, one.name) if p))} {_how(one)}"
        cause = f"{', '.join(one.deviates)} differs from accountdb's schema" if one.deviates else ""
        yield look.failed("structure", text, one.name, cause, remedy)
    if len(others) > _MOST:
        more = Remedy("", (on_all(regions, "check"),))
        yield look.failed("structure", f"and {len(others) - _MOST} more objects differ", remedy=more)
    if not others:
        objects = sum(found.compared.values())
        ignored = sum(one.objects for one in found.ignored)
        meant = f", {ignored} differences are meant" if ignored else ""
        yield look.passed("structure", f"the same in all regions: {objects} objects{meant}")
    for one in parameters:
        says = f"make {one.name} the same in all regions"
        yield look.failed("parameter", f"{one.name} {_how(one)}", one.name, remedy=Remedy(says))
    if not parameters:
        count = found.compared.get("parameter", 0)
        yield look.passed("parameter", f"{count} that must be equal are")


def _how(one: Difference) -> str:
    if one.absent:
        return f"is in {', '.join(one.present)}, not in {', '.join(one.absent)}"
    values = "; ".join(
        f"{row.attribute}: " + " | ".join(f"{side} {_short(value)}" for side, value in row.values.items())
        for row in one.attributes[:3]
    )
    return f"differs, {values}"


def _short(value: object) -> str:
    text = " ".join(str(value).split()) if value is not None else "none"
    return text if len(text) <= 80 else f"{text[:77]}..."


def leftovers(conns: Mapping[str, Connection], regions: Sequence[str]) -> Iterator[Finding]:
    """What ``migratectl clean`` would remove, and what a person has to."""
    plan = find(conns)
    for region in conns:
        look = Look(region or None)
        mine = [one for one in plan.leftovers if one.region == region and one.kind not in _OWN_LEFTOVERS]
        wrong = [one for one in mine if one.to_do or one.action == "by hand"]
        for one in wrong:
            yield _leftover(look, region, one, regions)
        if not wrong:
            yield look.passed("leftover", "none")
    hidden = [what.removeprefix(": ") for what in plan.not_looked_at]
    if hidden:
        yield Look(None).unseen("leftover", "; ".join(hidden))


def _leftover(look: Look, region: str, one: Leftover, regions: Sequence[str]) -> Finding:
    two = set(regions) == {"cn", "global"}
    command = on_all(regions, "clean --yes") if two else on_one(region, "clean --yes")
    return look.warn("leftover", f"{one.kind} {one.name}: {one.why}", one.name, one.note, Remedy("", (command,)))
