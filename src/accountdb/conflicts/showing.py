"""``migratectl conflicts show``: everything about one conflict, and what could be done. All of it is masked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from accountdb.catalog.tables import Table
from accountdb.conflicts import listing, planning, resolving, rows, words
from accountdb.conflicts.model import Action, Conflict, Plan, Request, Step, Write
from accountdb.conflicts.regions import Region, Regions
from accountdb.conflicts.words import Names
from accountdb.contract.masking import Content
from accountdb.errors import AccountdbError

_MOST_ROWS = 20


@dataclass(frozen=True)
class Hanging:
    """Rows of one table that refer to a row now: how many, and the oldest of them, masked."""

    table: str
    column: str
    count: int
    rows: tuple[dict[str, Any] | None, ...]


@dataclass(frozen=True)
class Now:
    """One row in one region at this moment. ``row`` is None where it does not stand, and ``gone`` says why."""

    region: str
    uuid: str
    row: dict[str, Any] | None
    gone: str | None
    hanging: tuple[Hanging, ...]


@dataclass(frozen=True)
class Way:
    """One way of resolving, and what it would do now. ``possible`` is False where the state does not allow it.

    ``columns`` are those that SET is about: one of them gets a value.
    """

    option: str
    possible: bool
    effect: str
    action: Action = Action.DISMISS
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Showing:
    """One conflict whole."""

    task: listing.Task
    rule: str
    detail: str | None
    winner: dict[str, Any] | None
    loser: dict[str, Any] | None
    differs: tuple[str, ...]
    winner_now: tuple[Now, ...]
    loser_now: tuple[Now, ...]
    ways: tuple[Way, ...]
    silent: dict[str, str]


@dataclass(frozen=True)
class PlannedStep:
    """One write of a plan, masked."""

    write: str
    table: str
    uuid: str
    label: str
    why: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Planned:
    """A plan to show; ``applied`` when it was written."""

    conflict: UUID
    action: str
    region: str
    applied: bool
    summary: str
    steps: tuple[PlannedStep, ...]
    closes: tuple[UUID, ...]
    remains: tuple[UUID, ...]
    silent: dict[str, str]


def showing(regions: Regions, conflict: Conflict) -> Showing:
    """All that a person needs to decide."""
    secrets = regions.secrets
    winner, loser = conflict.winner, conflict.loser
    table = regions.table(conflict.name)
    return Showing(
        task=listing.task(regions, conflict, listing.names_for(regions, [conflict])),
        rule=conflict.rule,
        detail=words.detail(conflict, secrets),
        winner=_ordered(table, secrets.masked(conflict.name, winner)),
        loser=_ordered(table, secrets.masked(conflict.name, loser)),
        differs=_differing(winner, loser),
        winner_now=_now(regions, conflict.name, _key(winner)),
        loser_now=_now(regions, conflict.name, conflict.row_key),
        ways=_ways(regions, conflict) if conflict.open else (),
        silent=dict(regions.silent),
    )


def _ordered(table: Table | None, row: dict[str, Any] | None) -> dict[str, Any] | None:
    """The columns as the table has them; what it has no more stands last."""
    if table is None or row is None:
        return row
    position = {column.name: at for at, column in enumerate(table.columns)}
    return {name: row[name] for name in sorted(row, key=lambda name: position.get(name, len(position)))}


def _differing(winner: Content | None, loser: Content | None) -> tuple[str, ...]:
    """The columns in which both rows differ, secret ones too: which, not how."""
    if winner is None or loser is None:
        return ()
    return tuple(name for name in dict.fromkeys([*winner, *loser]) if winner.get(name) != loser.get(name))


def _key(content: Content | None) -> UUID | None:
    return UUID(str(content["uuid"])) if content and content.get("uuid") else None


def _now(regions: Regions, name: tuple[str, str], key: UUID | None) -> tuple[Now, ...]:
    if key is None:
        return ()
    return tuple(_in(regions, region, name, key) for region in regions.answering)


def _in(regions: Regions, region: Region, name: tuple[str, str], key: UUID) -> Now:
    table = region.table(name)
    if table is None:
        return Now(region.name, str(key), None, "the table is not there", ())
    copy = rows.copies(region, table, [key]).get(key)
    if copy is None:
        return Now(region.name, str(key), None, _why_gone(region, table, key), ())
    hanging = _hanging(regions, region, table, key)
    return Now(region.name, str(key), _ordered(table, regions.secrets.masked(name, copy.content)), None, hanging)


def _why_gone(region: Region, table: Table, key: UUID) -> str:
    found = rows.tombstones(region, table, key)
    if not found:
        return "not here"
    winner = next((into for _, _, into, _ in found if into is not None), None)
    return f"merged into {winner}" if winner else "parked or deleted"


def _hanging(regions: Regions, region: Region, table: Table, key: UUID) -> tuple[Hanging, ...]:
    found: list[Hanging] = []
    for reference in table.referenced_by:
        child = region.table(reference.child)
        if child is None:
            continue
        count, some = rows.some_children(region, child, reference, key, _MOST_ROWS)
        shown = tuple(_ordered(child, regions.secrets.masked(reference.child, row)) for row in some)
        found.append(Hanging(_name(reference.child), ", ".join(reference.child_columns), count, shown))
    return tuple(found)


def _ways(regions: Regions, conflict: Conflict) -> tuple[Way, ...]:
    table = regions.table(conflict.name)
    dismiss = Way("--dismiss", True, "closes the conflict in every region; no row changes")
    if table is None:
        return (dismiss,)
    return (_set_way(regions, conflict, table), _merge_way(regions, conflict), dismiss)


def _set_way(regions: Regions, conflict: Conflict, table: Table) -> Way:
    about = planning.contested(conflict, table) or ("COLUMN",)
    option = f"--set {about[0]}=VALUE"
    columns = planning.contested(conflict, table)
    who = words.label(table, conflict.loser, Names(regions.secrets), conflict.name)
    stands = any(
        conflict.row_key in rows.copies(region, shape, [conflict.row_key])
        for region in regions.answering
        if (shape := region.table(conflict.name))
    )
    if stands and not planning.is_parked(conflict, table):
        return Way(option, True, f"gives {who} that value; nothing else of it changes", Action.SET, columns)
    if planning.is_parked(conflict, table) and conflict.loser_text:
        return Way(option, True, f"brings {who} back with that value, and all else as it was", Action.SET, columns)
    return Way(option, False, f"{who} is not there any more", Action.SET, columns)


def _merge_way(regions: Regions, conflict: Conflict) -> Way:
    option = "--merge-accounts"
    try:
        plan = resolving.plan(regions, conflict, Request(Action.MERGE))
    except AccountdbError as error:
        return Way(option, False, error.message, Action.MERGE)
    return Way(option, True, summary(regions, plan), Action.MERGE)


def summary(regions: Regions, plan: Plan) -> str:
    """What a plan does, in one line."""
    deleted = [step for step in plan.steps if step.write is Write.DELETE]
    said: list[str] = []
    if deleted:
        said += _counted("moves", [step for step in plan.steps if step.write is Write.UPDATE])
        said += _counted("takes out, as the winner has the same,", deleted[:-1])
        said.append(f"deletes {_shown(regions, deleted[-1]).label}")
    else:
        said += [f"{_shown(regions, step).label} {step.why}" for step in plan.steps]
    others = len(plan.closes) - 1
    if others:
        said.append(f"closes {others} other conflict{'s' if others > 1 else ''} too")
    if plan.remains:
        said.append(f"{len(plan.remains)} of the same row stay open")
    return "; ".join(said) if plan.steps else "closes the conflict; no row changes"


def _counted(verb: str, steps: Sequence[Step]) -> list[str]:
    counts = Counter(step.name for step in steps)
    return [f"{verb} " + ", ".join(f"{_name(name)} {count}" for name, count in counts.items())] if counts else []


def planned(regions: Regions, plan: Plan, *, applied: bool) -> Planned:
    """A plan as it may be shown."""
    steps = tuple(_shown(regions, step) for step in plan.steps)
    return Planned(
        plan.conflict,
        plan.action,
        plan.region,
        applied,
        summary(regions, plan),
        steps,
        plan.closes,
        plan.remains,
        dict(regions.silent),
    )


def _shown(regions: Regions, step: Step) -> PlannedStep:
    known: Mapping[str, Any] = {"uuid": step.uuid, **(planning.content_of(step) or {})}
    label = words.label(regions.table(step.name), known, Names(regions.secrets), step.name)
    values = regions.secrets.masked(step.name, dict(step.values)) or {}
    return PlannedStep(step.write, _name(step.name), str(step.uuid), label, step.why, values)


def _name(name: tuple[str, str]) -> str:
    return name[1] if name[0] == "public" else ".".join(name)
