"""What a pass of pgsync is made of, as values."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from accountdb.catalog.tables import Column, Table
from accountdb.sync.capture import Capture
from accountdb.sync.limit import DEFAULT, Limit

Name = tuple[str, str]

# How messages call the two sides.
SOURCE, DESTINATION = "source", "destination"


@dataclass(frozen=True)
class PassOptions:
    """How a pass runs. ``once``: everything is compared, whatever the watermark says. ``tables`` none: all."""

    once: bool = False
    dry_run: bool = False
    verify: bool = False
    max_delete: Limit = DEFAULT
    tables: tuple[str, ...] = ()


@dataclass(frozen=True)
class SyncTable:
    """One table of a job, as both sides have it."""

    source: Table
    target: Table
    columns: tuple[str, ...]
    """What is written, by name: never a generated column."""
    delete: bool
    capture: Capture
    format: str
    """The COPY format: binary, or text where types differ or are a database's own."""
    owned: bool = False
    """Whether the role acts for the target table's owner."""
    rewriting: tuple[str, ...] = ()
    """The target's triggers that may change what is written."""
    partitioned: frozenset[str] = frozenset()
    """The sides on which it is cut into partitions."""
    layout: str = ""
    """The source's partitions, where there are some: another layout than before, and rows came or went with them."""

    @property
    def name(self) -> Name:
        """Schema and name."""
        return self.target.schema, self.target.name

    @property
    def title(self) -> str:
        """The table for people."""
        return f"{self.target.schema}.{self.target.name}"

    @property
    def key(self) -> tuple[Column, ...]:
        """The primary key's columns, as the target has them."""
        return tuple(column for name in self.target.primary_key if (column := self.target.column(name)))

    @property
    def origin(self) -> sql.Composable:
        """What the source's rows are read from: without tables that inherit, of whose rows its key says nothing."""
        return self.source.identifier if SOURCE in self.partitioned else sql.SQL("ONLY ") + self.source.identifier

    @property
    def own(self) -> sql.Composable:
        """The target's rows of the table, in the same way: tables that inherit from it have keys of their own."""
        return self.target.identifier if DESTINATION in self.partitioned else sql.SQL("ONLY ") + self.target.identifier

    @property
    def identifier(self) -> sql.Identifier:
        """The qualified name for composed SQL."""
        return self.target.identifier


@dataclass
class Counts:
    """What a pass did to one table of the target, in rows."""

    read: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    released: int = 0

    @property
    def written(self) -> int:
        """All rows that were changed."""
        return self.inserted + self.updated + self.deleted


@dataclass(frozen=True)
class Receipt:
    """What one pass of one job did. ``lag_seconds``: how old its snapshot was when the last group was committed."""

    job: str
    policy: str
    full: bool
    tables: dict[str, Counts]
    seconds: float
    lag_seconds: float
    dry_run: bool
    verified: bool | None = None
    left: tuple[str, ...] = ()
    """The tables that were not reached, because somebody stopped the pass."""
    installed: tuple[str, ...] = ()
    """What the first pass of a merge job put into the databases, in words."""
