"""What is to be done for rows that the regions hold differently, decided by what both hold at that moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from accountdb.compare.diff import Comparison
from accountdb.compare.model import Key, Shape
from accountdb.contract.decide import Action, Copy, Decision, decide
from accountdb.merge.model import Counts


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
    positions = _writable_positions(shape)
    judged = []
    for key, (a, b) in zip(keys, details, strict=True):
        copies = [_writable(detail.copy, positions) if detail and detail.copy else None for detail in (a, b)]
        decision = decide(copies[0], copies[1], dead.get(UUID(key[0]), {}))
        if not decision.settled:
            judged.append(Judged(key, decision))
    return judged


def _writable_positions(shape: Shape) -> list[int]:
    return [n for n, column in enumerate(shape.columns) if not column.generated]


def _writable(copy: Copy, positions: Sequence[int]) -> Copy:
    """A copy as it is written: generated columns are not."""
    return replace(copy, values=tuple(copy.values[n] for n in positions))
