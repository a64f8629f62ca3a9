"""What a merge plans and what it did, as values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

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


Written = Mapping[str, Mapping[str, Counts]]


@dataclass(frozen=True)
class Turn:
    """What the merge of one pair of regions did; see Receipt."""

    rounds: int
    proof: tuple[TableResult, ...]
    different: tuple[Finding, ...]
    healed: int
    written: Written
    withheld: frozenset[str]

    def after(self, before: Turn | None) -> Turn:
        """This turn of a pair after an earlier one of the same pair: the later proof counts."""
        if before is None:
            return self
        return Turn(
            self.rounds + before.rounds,
            self.proof,
            self.different,
            self.healed + before.healed,
            together((before.written, self.written)),
            self.withheld,
        )


def together(several: Iterable[Written]) -> dict[str, dict[str, Counts]]:
    """What was written, by table and region, added up."""
    total: dict[str, dict[str, Counts]] = {}
    for written in several:
        for table, regions in written.items():
            for name, counts in regions.items():
                known = total.setdefault(table, {}).setdefault(name, Counts())
                known.inserted += counts.inserted
                known.updated += counts.updated
                known.deleted += counts.deleted
    return total


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

    unproved: tuple[str, ...] = ()
    """Regions that were not looked at any more after the first one had changed for the last time."""

    @property
    def equal(self) -> bool:
        """Whether the regions are."""
        return all(result.equal for result in self.proof) and not self.unproved

    def by_region(self, names: Iterable[str]) -> dict[str, int]:
        """How many rows were written in each region."""
        return {name: sum(one[name].total for one in self.written.values() if name in one) for name in names}

    @classmethod
    def of(
        cls,
        turns: Sequence[Turn],
        *,
        seconds: float,
        echo: bool,
        undo: str | None,
        also: tuple[str, ...],
        left_out: tuple[str, ...],
        unproved: tuple[str, ...],
    ) -> Receipt:
        """The receipt of a merge of one region with each of the others, a turn for each pair."""
        proofs = [{result.table: result for result in turn.proof} for turn in turns]
        different = {(row.table, *row.key.values()): row for turn in turns for row in turn.different}
        return cls(
            seconds,
            sum(turn.rounds for turn in turns),
            together(turn.written for turn in turns),
            tuple(reduce(TableResult.with_more, (proof[table] for proof in proofs)) for table in proofs[0]),
            tuple(different.values()),
            sum(turn.healed for turn in turns),
            echo,
            undo,
            also,
            left_out,
            tuple(sorted({table for turn in turns for table in turn.withheld})),
            unproved,
        )
