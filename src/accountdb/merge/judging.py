"""What is to be done for rows that the regions hold differently, decided by what both hold at that moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from accountdb.compare.diff import Comparison
from accountdb.compare.look import Detail
from accountdb.compare.model import Key, Shape
from accountdb.contract.decide import Action, Copy, Decision, Part, parts
from accountdb.contract.row_order import RowStamp
from accountdb.merge.model import Counts
from accountdb.merge.writer import FILE
from accountdb.sql import block


@dataclass(frozen=True)
class Judged:
    """One row that the regions hold differently, and what becomes of it."""

    key: Key
    decision: Decision

    @property
    def deletes(self) -> bool:
        """Whether a copy has to go."""
        return Action.DELETE in (self.decision.a.action, self.decision.b.action)

    def count(self, counts: Mapping[str, Counts], names: tuple[str, str]) -> None:
        """Add both regions' parts to what they do."""
        for name, part in zip(names, (self.decision.a, self.decision.b), strict=True):
            counts[name].add(part.action)


def decisions(found: Comparison, shape: Shape, keys: Sequence[Key]) -> list[Judged]:
    """What is to be done for some rows: nothing for those that are equal."""
    if not keys:
        return []
    looker = found.looker(shape)
    details, dead = looker.details(keys), looker.dead(keys)
    seen = _seen(found, shape, dead)
    judged = []
    for key, sides in zip(keys, details, strict=True):
        a, b = (_told(part, seen) for part in parts(_copies(shape, sides), dead.get(UUID(key[0]), {})))
        decision = Decision(a, b)
        if not decision.settled:
            judged.append(Judged(key, decision))
    return judged


def everywhere(found: Comparison, shape: Shape, keys: Sequence[Key]) -> list[tuple[Part, ...]]:
    """What every region would have to do for some rows, in the order of ``found.regions``."""
    looker = found.looker(shape)
    dead = looker.dead_anywhere(keys)
    rows = zip(keys, looker.whole(keys), strict=True)
    return [parts(_copies(shape, held), dead.get(UUID(key[0]), {})) for key, held in rows]


def _copies(shape: Shape, details: Sequence[Detail | None]) -> list[Copy | None]:
    positions = _writable_positions(shape)
    return [_writable(detail.copy, positions) if detail and detail.copy else None for detail in details]


def _seen(found: Comparison, shape: Shape, dead: Iterable[UUID]) -> dict[tuple[UUID, datetime], RowStamp]:
    """What the deleter of each dead copy had seen of it."""
    values = {"schema": shape.schema, "table": shape.name, "keys": list(dead)}
    deaths: list[tuple[datetime, UUID, datetime, RowStamp]] = []
    for region in (found.a, found.b) if values["keys"] else ():
        with region.use() as conn:
            for key, created_at, deleted_at, version, updated_at, node in conn.execute(block(FILE, "seen"), values):
                deaths.append((deleted_at, key, created_at, RowStamp(version, updated_at, node, "")))
    # The last one, as a guard takes it.
    return {(key, born): stamp for _, key, born, stamp in sorted(deaths, key=lambda death: death[0])}


def _told(part: Part, seen: Mapping[tuple[UUID, datetime], RowStamp]) -> Part:
    return replace(part, seen=seen.get((part.own.uuid, part.own.created_at))) if part.own else part


def _writable_positions(shape: Shape) -> list[int]:
    return [n for n, column in enumerate(shape.columns) if not column.generated]


def _writable(copy: Copy, positions: Sequence[int]) -> Copy:
    """A copy as it is written: generated columns are not."""
    return replace(copy, values=tuple(copy.values[n] for n in positions))
