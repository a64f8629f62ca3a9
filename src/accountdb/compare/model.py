"""What a comparison finds, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from psycopg import sql

from accountdb.catalog.tables import Column
from accountdb.compare.columns import HashKind

# One row's key: its columns as text.
Key = tuple[str, ...]


@dataclass(frozen=True)
class Options:
    """What is compared, and how. ``where`` is a condition in SQL, over columns of ``t``.

    ``tables`` are names, with their schema or without; none: all that the regions share.
    ``jobs`` is the number of connections to each region.
    """

    tables: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    where: str | None = None
    jobs: int = 2
    settle_s: float | None = None
    hash_kind: HashKind | None = None


@dataclass(frozen=True)
class Shape:
    """One table as it is compared: ``columns`` by name and ``key``, alike in both regions."""

    schema: str
    name: str
    key: tuple[Column, ...]
    columns: tuple[Column, ...]
    ordered: bool
    """Whether it is under the row contract, so that the row order picks a winner."""
    partitioned: frozenset[str] = frozenset()
    """The regions in which it is cut into partitions."""

    @property
    def title(self) -> str:
        """The table for people."""
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """The qualified name for composed SQL."""
        return sql.Identifier(self.schema, self.name)

    def source(self, region: str) -> sql.Composable:
        """What a region's rows are read from: without tables that inherit, of whose rows its key says nothing."""
        return self.identifier if region in self.partitioned else sql.SQL("ONLY ") + self.identifier


@dataclass(frozen=True)
class Parts:
    """A table cut into parts by ``bounds``: part n begins at bound n - 1 (the first one has none).

    Each region has its rows and hash by part; parts without a row are not there.
    """

    bounds: tuple[Key, ...]
    a: Mapping[int, tuple[int, int]]
    b: Mapping[int, tuple[int, int]]

    @property
    def differing(self) -> tuple[int, ...]:
        """The parts that hold different rows, in the order of the key."""
        return tuple(sorted(part for part in self.a.keys() | self.b.keys() if self.a.get(part) != self.b.get(part)))

    def rows(self, side: Mapping[int, tuple[int, int]]) -> int:
        """How many rows one region has."""
        return sum(count for count, _ in side.values())


@dataclass(frozen=True)
class Pair:
    """One row's hashes in both regions; None where it is not there."""

    key: Key
    a: int | None
    b: int | None


@dataclass(frozen=True)
class Finding:
    """One row that the regions hold differently. Secrets are masked.

    ``values`` are what differs: column, then region, as text. ``winner`` is the region whose copy
    stands in the end, and ``why``; None where no row order decides, or where the row goes.
    """

    table: str
    key: Mapping[str, str]
    regions: tuple[str, ...]
    columns: tuple[str, ...]
    values: Mapping[str, Mapping[str, str | None]] = field(repr=False)
    winner: str | None
    why: str


@dataclass(frozen=True)
class TableResult:
    """One table compared. ``rows`` by region, in the first look; ``changing`` rows were written all the time."""

    table: str
    rows: Mapping[str, int]
    differing: int
    changing: int

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differing and not self.changing

    def with_more(self, other: TableResult) -> TableResult:
        """The same table compared with one region more."""
        return TableResult(
            self.table, {**self.rows, **other.rows}, self.differing + other.differing, self.changing + other.changing
        )


class Watch(Protocol):
    """Who wants to know how far it is."""

    def stage(self, what: str, total: int | None = None) -> None:
        """A new piece of work begins; ``total`` rows lie ahead, None where nobody knows."""

    def advance(self, rows: int) -> None:
        """So many more rows are done."""


class Unwatched:
    """Nobody looks."""

    def stage(self, what: str, total: int | None = None) -> None:
        """Nothing."""

    def advance(self, rows: int) -> None:
        """Nothing."""
