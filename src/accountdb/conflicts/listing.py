"""``migratectl conflicts list``: what waits for a person, over all regions. Everything here is masked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from accountdb.catalog.tables import Table
from accountdb.conflicts import reading, words
from accountdb.conflicts.masking import Secrets
from accountdb.conflicts.model import Conflict, Content, Resolution, Sighting
from accountdb.conflicts.regions import Regions

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
    tasks = tuple(task(regions, conflict) for conflict in found)
    return Listing(sum(t.open for t in tasks), tasks, dict(regions.silent))


def task(regions: Regions, conflict: Conflict) -> Task:
    """One conflict as a task."""
    table = regions.table(conflict.name)
    return Task(
        id=conflict.id,
        short=str(conflict.id)[:_SHORT],
        open=conflict.open,
        kind=conflict.kind,
        words=words.kind(conflict),
        table=conflict.table if conflict.schema == "public" else f"{conflict.schema}.{conflict.table}",
        sentence=words.sentence(conflict, table, regions.secrets),
        value=words.lost_value(conflict, table, regions.secrets),
        winner=_person(table, conflict.winner, regions.secrets, conflict.name),
        loser=_person(table, conflict.loser, regions.secrets, conflict.name),
        first_recorded_at=min(s.recorded_at for s in conflict.sightings),
        recorded=conflict.sightings,
        resolutions=conflict.resolutions,
    )


def _person(table: Table | None, content: Content | None, secrets: Secrets, name: tuple[str, str]) -> Person | None:
    if content is None:
        return None
    return Person(
        _text(content, "uuid"),
        words.label(table, content, secrets, name),
        _text(content, "created_at"),
        _text(content, "origin_node"),
    )


def _text(content: Content, column: str) -> str | None:
    value = content.get(column)
    return None if value is None else str(value)
