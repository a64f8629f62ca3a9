"""What a merge plans and what it did, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accountdb.compare.model import Finding, TableResult
from accountdb.contract.decide import Action


@dataclass
class Counts:
    """Rows of one table in one region."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.inserted + self.updated + self.deleted

    def add(self, action: Action) -> None:
        """One more row."""
        self.inserted += action is Action.INSERT
        self.updated += action is Action.UPDATE
        self.deleted += action is Action.DELETE


@dataclass(frozen=True)
class TablePlan:
    """What each region would get of one table, with a few of the rows."""

    table: str
    regions: Mapping[str, Counts]
    samples: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Receipt:
    """What a merge did. ``written`` is by table, then region.

    ``proof`` is the look at what it touched, after the last round; ``different`` the first of the rows
    that still differ. ``undo`` is the file that takes it back.
    """

    seconds: float
    rounds: int
    written: Mapping[str, Mapping[str, Counts]]
    proof: tuple[TableResult, ...]
    different: tuple[Finding, ...] = ()
    healed: int = 0
    echo: bool = False
    """Whether a region had no right to mark what was written as replicated: it was streamed once more."""
    undo: str | None = None
    also: tuple[str, ...] = ()
    """Tables that were merged because others refer to them."""
    left_out: tuple[str, ...] = ()
    """Tables outside the row contract, which no row order can settle."""
    withheld: tuple[str, ...] = ()
    """Tables with rows that are to be deleted, and were not because tables that refer to them were not merged."""

    @property
    def equal(self) -> bool:
        """Whether the regions are."""
        return all(result.equal for result in self.proof)
