"""What a migration run would do. Pure: from the ledger and the files to steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accountdb.errors import AccountdbError, Refused, UsageError
from accountdb.migrations.files import Migration


@dataclass(frozen=True)
class Applied:
    """One line of a region's ledger."""

    version: int
    name: str
    checksum: str


@dataclass(frozen=True)
class Step:
    """One file to run: up, or down."""

    migration: Migration
    up: bool

    @property
    def title(self) -> str:
        """How the step is told: ``0002_account up``."""
        return f"{self.migration.title} {'up' if self.up else 'down'}"

    @property
    def sql(self) -> str:
        """The statements of the file."""
        return self.migration.up if self.up else self.migration.down


@dataclass(frozen=True)
class Plan:
    """The steps that take a region from one version to another; empty when it stands there."""

    from_version: int
    to_version: int
    steps: tuple[Step, ...]


def plan(
    ledger: Sequence[Applied],
    files: Sequence[Migration],
    to: int | None = None,
    *,
    allow_down: bool = False,
) -> Plan:
    """The steps from the ledger's version to ``to`` (None: the newest file).

    Raises UsageError for a version that no file has, AccountdbError where the ledger does not
    fit the files, and Refused for a way down that was not allowed, because it drops tables.
    """
    newest = len(files)
    if to is not None and not 0 <= to <= newest:
        raise UsageError(f"there is no version {to}", hint=f"versions go from 0 to {newest}")
    _check(ledger, files)
    current = max((entry.version for entry in ledger), default=0)
    target = newest if to is None else to
    if target < current and not allow_down:
        raise Refused(
            f"version {target} is below the applied version {current}: going down drops tables with their rows",
            hint="--allow-down allows it",
        )
    applied = {entry.version for entry in ledger}
    if target >= current:
        steps = tuple(Step(m, True) for m in files if m.version <= target and m.version not in applied)
    else:
        steps = tuple(Step(m, False) for m in reversed(files) if m.version > target and m.version in applied)
    return Plan(current, target, steps)


def _check(ledger: Sequence[Applied], files: Sequence[Migration]) -> None:
    by_version = {migration.version: migration for migration in files}
    for entry in ledger:
        file = by_version.get(entry.version)
        if file is None:
            raise AccountdbError(
                f"the database is at version {entry.version} ({entry.name}), this program knows {len(files)}",
                hint="use the newer accountdb that migrated it",
            )
        if file.checksum != entry.checksum:
            raise AccountdbError(
                f"migration {file.title} was changed after it was applied here",
                hint="restore the file as it was applied; a change belongs into a new migration",
            )
