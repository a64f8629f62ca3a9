"""What becomes of one row that two regions hold differently. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from accountdb.contract.row_order import RowStamp


@dataclass(frozen=True)
class Copy:
    """One region's copy of a row. ``values`` are its writable columns as text, in the table's order."""

    uuid: UUID
    created_at: datetime
    stamp: RowStamp
    values: tuple[str | None, ...]


class Action(StrEnum):
    """What one region has to do to its own copy."""

    KEEP = "keep"
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True)
class Part:
    """One region's part: what it does, the copy that it has, and the one that is to stand (None: none)."""

    action: Action
    own: Copy | None
    result: Copy | None
    heir: UUID | None = None
    """The row that this one's dead copy was merged into."""
    reborn: bool = False
    """Whether the copy that is to stand is of a later life than the region's own, which has ended."""
    seen: RowStamp | None = None
    """What the deleter of the own copy saw of it, where that is known."""

    @property
    def acts(self) -> bool:
        """Whether the region has anything to do."""
        return self.action is not Action.KEEP


@dataclass(frozen=True)
class Decision:
    """What becomes of one row: the parts of both regions."""

    a: Part
    b: Part

    @property
    def settled(self) -> bool:
        """Whether there is nothing to do."""
        return self.a.action is Action.KEEP and self.b.action is Action.KEEP


def decide(a: Copy | None, b: Copy | None, dead: Mapping[datetime, UUID | None]) -> Decision:
    """By design 4.1 and 4.3: a dead copy goes, else the row order picks one of the two.

    ``dead`` are the lives (``created_at``) of this row that have a tombstone in either region, each
    with the row that it was merged into. A copy that only one region has, and that did not die, comes to the other.
    """
    return Decision(*parts((a, b), dead))


def parts(copies: Sequence[Copy | None], dead: Mapping[datetime, UUID | None]) -> tuple[Part, ...]:
    """The same for any number of regions: the part of each."""
    result = standing(copies, dead)
    return tuple(_part(copy, result, dead) for copy in copies)


def standing(copies: Iterable[Copy | None], dead: Mapping[datetime, UUID | None]) -> Copy | None:
    """The copy that stands in the end, None where none does."""
    alive = [copy for copy in copies if copy is not None and copy.created_at not in dead]
    return max(alive, key=lambda copy: copy.stamp.rank, default=None)


def _part(copy: Copy | None, result: Copy | None, dead: Mapping[datetime, UUID | None]) -> Part:
    if copy is None:
        return Part(Action.KEEP if result is None else Action.INSERT, None, result)
    if copy.created_at not in dead:
        return Part(Action.KEEP if copy == result else Action.UPDATE, copy, result)
    if result is None:
        return Part(Action.DELETE, copy, None, dead[copy.created_at])
    # Its next life takes its place: a delete would take along children that the next life has.
    return Part(Action.UPDATE, copy, result, reborn=True)
