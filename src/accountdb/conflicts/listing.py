"""``migratectl conflicts list``: what waits for a person, over all regions. Everything here is masked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from accountdb.catalog.tables import Table
from accountdb.conflicts import reading, rows, words
from accountdb.conflicts.model import Conflict, Resolution, Sighting
from accountdb.conflicts.regions import Regions
from accountdb.conflicts.words import Names
from accountdb.contract.masking import Content

_SHORT = 8


@dataclass(frozen=True)
class Person:
    """One side of a conflict: which row, and when and where it was registered."""

    uuid: str | None
    label: str
    created_at: str | None
    origin_node: str | None


@dataclass(frozen=True)
class Task:
    """One conflict. ``value`` is what the loser lost, by column."""

    id: UUID
    short: str
    open: bool
    kind: str
    words: str
    table: str
    sentence: str
    value: dict[str, str | None]
    winner: Person | None
    loser: Person | None
    first_recorded_at: datetime
    recorded: tuple[Sighting, ...]
    resolutions: tuple[Resolution, ...]


@dataclass(frozen=True)
class Listing:
    """All tasks, open ones first. ``silent`` are the regions that could not be asked, with the reason."""

    open: int
    conflicts: tuple[Task, ...]
    silent: dict[str, str]


def listing(regions: Regions, *, settled_too: bool) -> Listing:
    """The open conflicts of all regions, oldest first; then, where asked, the settled ones, newest first."""
    found = reading.every(regions) if settled_too else reading.open_ones(regions)
    names = names_for(regions, found)
    tasks = tuple(task(regions, conflict, names) for conflict in found)
    return Listing(sum(t.open for t in tasks), tasks, dict(regions.silent))


def names_for(regions: Regions, conflicts: Iterable[Conflict]) -> Names:
    """The names of the accounts that the conflicts' rows belong to: one query a table and region."""
    wanted: dict[tuple[str, str], set[UUID]] = {}
    for conflict in conflicts:
        table = regions.table(conflict.name)
        reference = words.owner_reference(table) if table else None
        if table is not None and reference is not None:
            keys = (words.owner_key(table, content) for content in (conflict.winner, conflict.loser))
            wanted.setdefault(reference.parent, set()).update(key for key in keys if key)
    plain = Names(regions.secrets)
    owners: dict[UUID, str] = {}
    for name, keys_of in wanted.items():
        for region in regions.answering:
            parent = region.table(name)
            missing = keys_of - owners.keys()
            for key, copy in rows.copies(region, parent, missing).items() if parent and missing else ():
                owners[key] = words.label(parent, copy.content, plain, name)
    return Names(regions.secrets, owners)


def task(regions: Regions, conflict: Conflict, names: Names) -> Task:
    """One conflict as a task."""
    table = regions.table(conflict.name)
    return Task(
        id=conflict.id,
        short=str(conflict.id)[:_SHORT],
        open=conflict.open,
        kind=conflict.kind,
        words=words.kind(conflict),
        table=conflict.table if conflict.schema == "public" else f"{conflict.schema}.{conflict.table}",
        sentence=words.sentence(conflict, table, names),
        value=words.lost_value(conflict, table, regions.secrets),
        winner=_person(table, conflict.winner, names, conflict.name),
        loser=_person(table, conflict.loser, names, conflict.name),
        first_recorded_at=min(s.recorded_at for s in conflict.sightings),
        recorded=conflict.sightings,
        resolutions=conflict.resolutions,
    )


def _person(table: Table | None, content: Content | None, names: Names, name: tuple[str, str]) -> Person | None:
    if content is None:
        return None
    return Person(
        _text(content, "uuid"),
        words.label(table, content, names, name),
        _text(content, "created_at"),
        _text(content, "origin_node"),
    )


def _text(content: Content, column: str) -> str | None:
    value = content.get(column)
    return None if value is None else str(value)
