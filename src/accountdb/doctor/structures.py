"""What ``migratectl check`` and ``clean`` say of the regions together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from psycopg import sql

from accountdb.doctor.hints import on_all, on_one, psql, word
from accountdb.doctor.model import Look
from accountdb.drift.findings import Comparison
from accountdb.drift.findings import Finding as Difference
from accountdb.drift.structure import Identity
from accountdb.errors import AccountdbError, Refused
from accountdb.guards.install import GuardState
from accountdb.health import commands
from accountdb.health.advice import Finding, Remedy
from accountdb.pg.connect import Connection
from accountdb.pg.dsn import options
from accountdb.replication.model import Mode
from accountdb.setup.checking import check
from accountdb.setup.cleaning.model import Action, Leftover
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
    for one in others[:_MOST]:
        text = f"{one.kind.replace('_', ' ')} {'.'.join(part for part in (one.schema, one.name) if part)} {_how(one)}"
        cause = f"{', '.join(one.deviates)} differs from accountdb's schema" if one.deviates else ""
        yield look.failed("structure", text, one.name, cause, _mend(found, one, regions))
    if len(others) > _MOST:
        more = Remedy("", on_all(regions, "check"))
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


def _mend(found: Comparison, one: Difference, regions: Sequence[str]) -> Remedy:
    """An index too many is dropped; all else is for check. Guards know the structure, so they follow."""
    modes = found.structures
    guards = {name: modes[name].objects.get(Identity("parameter", "", "mode"), {}).get("value") for name in found.sides}
    inits = tuple(commands.init(name, str(mode)) for name, mode in guards.items() if mode not in (None, Mode.PGSYNC))
    if one.kind == "index" and one.deviates and one.deviates == one.present:
        index = sql.Identifier(one.schema, one.identity.leaf).as_string()
        says = "or, where it is meant, make it in the other region too"
        drops = [statement for name in one.present for statement in psql(name, f"DROP INDEX CONCURRENTLY {index}")]
        return Remedy(says, (*drops, *inits))
    if len(regions) != 2:
        return Remedy("mend two regions at a time: check with two of them, and --apply", on_all(regions, "check"))
    outdated = {
        side
        for other in found.findings
        if other.kind == "guard"
        for row in other.attributes
        for side, state in row.values.items()
        if state != GuardState.INSTALLED
    }
    first = tuple(commands.init(name, str(guards[name])) for name in found.sides if name in outdated)
    # What is in one region alone is made in the other one too, which loses nothing.
    lacking = {name for other in found.findings for name in other.absent}
    region = f" --fix {word(lacking.pop())}" if len(lacking) == 1 else ""
    says = "--fix with the other region takes away what is too many" if region else ""
    mended = f"migratectl check {options(regions)} --fix-sql fix.sql{region} --apply --allow joined"
    return Remedy(says, (*first, mended, *inits))


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
        wrong = [one for one in mine if one.to_do or one.action is Action.BY_HAND]
        for one in wrong:
            yield _leftover(look, region, one, regions)
        if not wrong:
            yield look.passed("leftover", "none")
    hidden = [what.removeprefix(": ") for what in plan.not_looked_at]
    if hidden:
        yield Look(None).unseen("leftover", "; ".join(hidden))


def _leftover(look: Look, region: str, one: Leftover, regions: Sequence[str]) -> Finding:
    if one.action is Action.BY_HAND:
        remedy = Remedy("by hand", psql(region, one.statement) if one.statement else ())
        return look.warn("leftover", f"{one.kind} {one.name}: {one.why}", one.name, one.note, remedy)
    two = set(regions) <= {"cn", "global"}
    command = on_all(regions, "clean --yes") if two else (on_one(region, "clean --yes"),)
    return look.warn("leftover", f"{one.kind} {one.name}: {one.why}", one.name, one.note, Remedy("", command))
