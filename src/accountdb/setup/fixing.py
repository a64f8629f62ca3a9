"""``migratectl check --fix-sql`` and ``--apply``: make the structure of one region that of another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from accountdb.compare.session import named
from accountdb.drift.compare import compare
from accountdb.drift.findings import Comparison
from accountdb.drift.fix import writing
from accountdb.drift.fix.applying import apply
from accountdb.drift.fix.model import Fix, Label
from accountdb.drift.fix.planning import plan_fix
from accountdb.drift.fix.proving import prove, summary
from accountdb.drift.fix.running import read_facts, read_queries
from accountdb.drift.structure import OWNER_KINDS, Definition, Identity, Structure
from accountdb.errors import Refused, UsageError
from accountdb.migrations.locks import LOCK_KEY
from accountdb.pg import dsn as dsns
from accountdb.pg import session
from accountdb.pg.connect import Connection, connect
from accountdb.replication.engine import standing

LOSS, JOINED = "data-loss", "joined"
_ALLOWED = (LOSS, JOINED)
_Tell = Callable[[str], None]


@dataclass(frozen=True)
class Wish:
    """What the options ask for: a file, the region to mend (None: see ``choose``), what is allowed, to apply."""

    file: Path | None
    region: str | None
    allow: frozenset[str]
    apply: bool
    scratch: str | None


def wish(
    regions: Mapping[str, str],
    *,
    file: Path | None,
    region: str | None,
    allow: Sequence[str],
    apply: bool,
    scratch: str | None,
) -> Wish:
    """The options, judged before any server is asked. Raises UsageError."""
    for word in allow:
        if word not in _ALLOWED:
            raise UsageError(f"--allow {word}: there is nothing of that name", hint=f"one of {', '.join(_ALLOWED)}")
    if region is not None and region not in regions:
        raise UsageError(f"--fix {region}: no such region", hint=f"one of {', '.join(regions)}")
    if scratch is not None:
        dsns.parse(scratch, name="--scratch")
    if file is None and not apply:
        raise UsageError("--fix, --allow and --scratch say how to mend", hint="add --fix-sql FILE or --apply")
    return Wish(file, region, frozenset(allow), apply, scratch)


@dataclass(frozen=True)
class Choice:
    """Which region is mended after which, and why that one."""

    target: str
    reference: str
    why: str


def choose(found: Comparison, region: str | None) -> Choice:
    """The region to mend: the one that was named; else the one that alone deviates from accountdb's schema
    in all that the schema decides; else the second. Pure."""
    deviating = [each.deviates for each in found.findings if each.deviates]
    if region is not None:
        target, why = region, "--fix says so"
    elif deviating and len(set(deviating)) == 1 and len(deviating[0]) == 1:
        target = deviating[0][0]
        why = f"it alone differs from accountdb's schema, in {len(deviating)} of {len(found.findings)} objects"
    else:
        target, why = found.sides[1], "it is the second region; --fix names another"
    wrong = {name for each in deviating for name in each}
    others = [name for name in found.sides if name != target]
    return Choice(target, next((name for name in others if name not in wrong), others[0]), why)


def wanted(found: Comparison, choice: Choice) -> Structure:
    """The structure that the target is to have: the reference's, but for what the ignore file says. Pure."""
    reference, target = found.structures[choice.reference], found.structures[choice.target]
    told = {each.identity: each for each in found.findings}
    objects = dict(reference.objects)
    for drift in compare(reference, target):
        finding = told.get(drift.identity)
        if finding is None:
            whole = drift.change != "changed"
            for one in _with_belongings(drift.identity, reference, target) if whole else {drift.identity}:
                _revert(objects, one, target)
        elif drift.change == "changed":
            kept = {row.attribute for row in finding.attributes}
            mine = target.objects[drift.identity]
            objects[drift.identity] = _merged(objects[drift.identity], mine, kept)
    return replace(reference, objects=objects)


def _with_belongings(one: Identity, *sides: Structure) -> set[Identity]:
    if one.kind not in OWNER_KINDS:
        return {one}
    own = (other for side in sides for other in side.objects if (other.schema, other.owner) == (one.schema, one.name))
    return {one, *own}


def _revert(objects: dict[Identity, Definition], one: Identity, target: Structure) -> None:
    if one in target.objects:
        objects[one] = target.objects[one]
    else:
        objects.pop(one, None)


def _merged(after: Definition, before: Definition, changed: set[str]) -> Definition:
    """``before`` with the attributes ``changed`` as in ``after``."""
    out = {key: value for key, value in before.items() if key not in changed}
    return out | {key: value for key, value in after.items() if key in changed}


def mend(found: Comparison, regions: Mapping[str, str], wish: Wish, tell: _Tell) -> bool:
    """Write and apply what makes the regions equal, as ``wish`` says; whether they are equal afterwards.

    Raises Refused (with --apply: data would be lost, streams run, the structure has moved),
    AccountdbError (it cannot be proven, it fails) and UsageError (the file cannot be written).
    """
    if found.clean:
        tell("the structures are equal: nothing to mend")
        return True
    choice = choose(found, wish.region)
    tell(f"to be mended: {choice.target}, after {choice.reference}: {choice.why}")
    goal, target = wanted(found, choice), found.structures[choice.target]
    dsn = regions[choice.target]
    with connect(dsn, name=f"--{choice.target}", autocommit=True) as conn, named(choice.target, dsn):
        fix = plan_fix(goal, target, replace(read_facts(conn), queries=_queries(found, choice, regions)))
        withheld = frozenset() if LOSS in wish.allow else fix.withheld()
        if wish.file is not None:
            _write(wish.file, writing.written(fix, _heading(found, choice), withheld))
        _tell_plan(fix, wish, len([one for one in fix.statements if one.objects[0] in withheld]), tell)
        if not wish.apply:
            return False
        _refuse(fix, conn, wish, lossy=bool(withheld))
        if not fix.statements:
            return False
        queries = read_queries(conn, target)
        tell(summary(prove(dsn, target, goal, fix, queries=queries, scratch_dsn=wish.scratch, on_step=tell)))
        _apply(conn, target, goal, fix, choice, tell)
    return not fix.left


def _queries(found: Comparison, choice: Choice, regions: Mapping[str, str]) -> dict[Identity, str]:
    """The reference's views as its server writes them."""
    dsn = regions[choice.reference]
    with connect(dsn, name=f"--{choice.reference}", autocommit=True) as conn, named(choice.reference, dsn):
        return read_queries(conn, found.structures[choice.reference])


def _apply(conn: Connection, target: Structure, goal: Structure, fix: Fix, choice: Choice, tell: _Tell) -> None:
    busy = f"a migration runs on {choice.target}"
    with session.advisory_lock(conn, LOCK_KEY, busy=busy):
        done = apply(conn, target, goal, fix, on_wait=lambda attempt: tell(f"a lock is taken, attempt {attempt + 1}"))
    tell(f"{choice.target}: {done.statements} statements applied in {done.seconds:.1f} s")
    tell(f"{choice.target} has the structure of {choice.reference}" + (", but for what is left" if fix.left else ""))


def _heading(found: Comparison, choice: Choice) -> writing.Heading:
    return writing.Heading(
        choice.target,
        choice.reference,
        writing.fingerprint(found.structures[choice.target]),
        writing.fingerprint(found.structures[choice.reference]),
        datetime.now(UTC),
    )


def _tell_plan(fix: Fix, wish: Wish, withheld: int, tell: _Tell) -> None:
    counts = Counter(one.label for one in fix.statements)
    listed = ", ".join(f"{counts[label]} {label}" for label in Label if counts[label])
    where = f" in {wish.file}" if wish.file is not None else ""
    tell(f"{len(fix.statements)} statements{where}: {listed or 'none'}")
    for left in fix.left:
        tell(f"left: {writing.said(left.identity)}: {left.why}")
    if withheld and not wish.apply:
        tell(f"{withheld} of them only as comments: they lose data, or go with what does; --allow {LOSS} writes them")


def _refuse(fix: Fix, conn: Connection, wish: Wish, *, lossy: bool) -> None:
    if lossy:
        first = fix.loses[0]
        raise Refused(
            f"{len(fix.loses)} statements lose data, the first: {' '.join(first.sql.split())[:120]} ({first.why[:80]})",
            hint=f"--allow {LOSS} allows it",
        )
    safe = all(one.label is Label.SAFE for one in fix.statements)
    current = standing(conn)
    if current.joined and not safe and JOINED not in wish.allow:
        streams = [one.name for one in current.subscriptions] + [one.name for one in current.followers]
        raise Refused(
            f"the region is joined ({', '.join(streams)}), and not every statement is safe while streams run",
            hint=f"pause the streams or change both regions with migratectl migrate; --allow {JOINED} allows it",
        )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(
            f"--fix-sql {path}: {error.strerror or error}", hint="name a file that can be written"
        ) from None
