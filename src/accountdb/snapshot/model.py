"""What a snapshot holds and what an import does, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

FORMAT = "accountdb-snapshot"
VERSION = 1

# One row: its columns as text, in the order of the header.
Values = Sequence[str | None]


class Layout(StrEnum):
    """How a snapshot is written."""

    YAML = "yaml"
    JSONL = "jsonl"


@dataclass(frozen=True)
class ColumnShape:
    """One column of the structure. A generated one has no value in the rows."""

    name: str
    type: str
    not_null: bool
    generated: bool


@dataclass(frozen=True)
class TableShape:
    """One table of the structure, in public; columns in the order of the rows."""

    name: str
    columns: tuple[ColumnShape, ...]

    @property
    def written(self) -> tuple[str, ...]:
        """The columns that the rows have."""
        return tuple(column.name for column in self.columns if not column.generated)


@dataclass(frozen=True)
class Header:
    """What stands before the rows. ``email`` is the word by which users were chosen; None: all rows."""

    format: str
    format_version: int
    taken_at: str
    server_version: str
    node: str
    fingerprint: str
    tables: tuple[TableShape, ...]
    email: str | None = None

    def table(self, name: str) -> TableShape | None:
        """The table of that name, or None."""
        return next((table for table in self.tables if table.name == name), None)


@dataclass(frozen=True)
class Trailer:
    """What stands after the rows: how many of each table, and the SHA-256 of all bytes before it."""

    counts: dict[str, int]
    sha256: str


@dataclass(frozen=True)
class Exported:
    """What an export wrote. ``left_out`` are the tables of public that are not under the row contract."""

    output: str
    layout: Layout
    tables: Mapping[str, int]
    sha256: str
    bytes: int
    seconds: float
    email: str | None = None
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Strategy(StrEnum):
    """What becomes of a row that stands in the database already, or that was deleted there."""

    REPLACE = "replace"
    """The snapshot's content."""
    APPEND = "append"
    """What stands. Rows that do not stand come in."""
    TIMESTAMP = "timestamp"
    """The row order decides, and what was deleted stays deleted."""


@dataclass(frozen=True)
class ImportOptions:
    """What an import is asked for. ``strategy`` None: into tables that are empty. ``users`` none: all rows."""

    strategy: Strategy | None = None
    users: tuple[str, ...] = ()
    dry_run: bool = False
    edited: bool = False


@dataclass(frozen=True)
class Counts:
    """What became of one table's rows of the snapshot; the sum is all of them."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    kept: int = 0
    """The row that stood won."""
    left_out: int = 0
    """Not brought: see the reasons in the receipt."""


class Reason(StrEnum):
    """Why a row was left out."""

    DELETED = "deleted"
    """It was deleted here since the snapshot."""
    CLAIMED = "claimed"
    """Another row holds its value of a unique index."""
    ORPHAN = "orphan"
    """What it refers to stands neither in the snapshot nor in the database."""
    TRIGGER = "trigger"
    """A trigger of the table did not let it in."""


@dataclass(frozen=True)
class LeftOut:
    """Rows of one table that were left out for one reason. ``detail`` names the index or the reference.

    ``rows`` are some of them by uuid, each with the row that is in its way where there is one.
    """

    table: str
    reason: Reason
    detail: str
    count: int
    rows: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class Imported:
    """What an import did, or would do in a dry run."""

    file: str
    taken_at: str
    node: str
    strategy: Strategy | None
    dry_run: bool
    tables: Mapping[str, Counts]
    left_out: tuple[LeftOut, ...]
    revived: Mapping[str, int]
    """Rows that had been deleted here and are back; each begins a new life."""
    ignored: tuple[str, ...]
    """Tables of the database that are not under the row contract."""
    seconds: float

    @property
    def written(self) -> int:
        """All rows that were inserted or updated."""
        return sum(one.inserted + one.updated for one in self.tables.values())

    @property
    def open(self) -> bool:
        """Whether rows were left out that a person should look at."""
        return any(one.reason is not Reason.DELETED for one in self.left_out)
