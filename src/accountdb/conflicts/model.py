"""The values that conflicts are made of. They hold rows whole: what is shown goes through masking first."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from accountdb.contract.masking import Content


@dataclass(frozen=True)
class Sighting:
    """Where and when one region recorded a conflict."""

    region: str
    node: str
    recorded_at: datetime


@dataclass(frozen=True)
class Resolution:
    """How a person closed a conflict."""

    node: str
    action: str
    resolved_by: str
    resolved_at: datetime


@dataclass(frozen=True)
class Conflict:
    """One event, as all regions together know it. Rows are the JSON text that the guard kept."""

    id: UUID
    kind: str
    schema: str
    table: str
    row_key: UUID
    rule: str
    detail: str | None
    winner_text: str | None = field(repr=False)
    loser_text: str | None = field(repr=False)
    waiting: bool
    """Whether a region has it in state open."""
    sightings: tuple[Sighting, ...]
    resolutions: tuple[Resolution, ...] = ()

    @property
    def name(self) -> tuple[str, str]:
        """The table, as the catalog names it."""
        return self.schema, self.table

    @property
    def open(self) -> bool:
        """Whether it waits for a person."""
        return self.waiting and not self.resolutions

    @property
    def winner(self) -> Content | None:
        """The row that kept, as it was."""
        return parsed(self.winner_text)

    @property
    def loser(self) -> Content | None:
        """The row that lost, as it was before."""
        return parsed(self.loser_text)


@dataclass(frozen=True)
class Head:
    """What a list knows of an open conflict before it reads the rows. ``recorded_at`` is of whoever saw it first."""

    id: UUID
    kind: str
    schema: str
    table: str
    recorded_at: datetime


def parsed(text: str | None) -> Content | None:
    """A row out of its JSON text. For looking at: what is written back is the text, which loses no digit."""
    if text is None:
        return None
    found = json.loads(text)
    return found if isinstance(found, dict) else None


@dataclass(frozen=True)
class Copy:
    """One row as one region holds it now."""

    uuid: UUID
    version: int
    created_at: datetime
    updated_at: datetime
    origin_node: str
    text: str = field(repr=False)

    @property
    def content(self) -> Content:
        """The row's columns."""
        return parsed(self.text) or {}

    @property
    def rank(self) -> tuple[int, datetime, bytes]:
        """The row order without its last resort, which only tells apart what nobody wrote."""
        return self.version, self.updated_at, self.origin_node.encode()


class Action(StrEnum):
    """The ways of resolving."""

    SET = "set"
    MERGE = "merge-accounts"
    DISMISS = "dismiss"


@dataclass(frozen=True)
class Request:
    """What a person asked for. ``values`` belong to SET: columns with text, None for NULL."""

    action: Action
    values: tuple[tuple[str, str | None], ...] = field(default=(), repr=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that SET names."""
        return tuple(name for name, _ in self.values)


class Write(StrEnum):
    """What a step does with one row."""

    UPDATE = "update"
    INSERT = "insert"
    DELETE = "delete"


@dataclass(frozen=True)
class Step:
    """One ordinary write. It is refused unless the row stands in ``version`` (None: it does not stand)."""

    write: Write
    name: tuple[str, str]
    uuid: UUID
    version: int | None
    why: str
    values: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    text: str | None = field(default=None, repr=False)
    """The row before. INSERT makes it from this; DELETE keeps it on record."""
    into: UUID | None = None
    """DELETE: the row that takes its place."""
    into_text: str | None = field(default=None, repr=False)
    tells: bool = False
    """DELETE: whether the tombstone names ``into``, so that late children follow."""


@dataclass(frozen=True)
class Plan:
    """What one resolution writes, and where. Equal plans come from equal states."""

    conflict: UUID
    request: Request
    region: str
    steps: tuple[Step, ...]
    closes: tuple[UUID, ...]
    remains: tuple[UUID, ...] = ()
    """Open conflicts of the same account that this does not close."""

    @property
    def action(self) -> str:
        """What accountdb.resolution says: columns, never values."""
        columns = f" {', '.join(self.request.columns)}" if self.request.columns else ""
        return f"{self.request.action}{columns}"
