"""What a migration run would do. Pure: from the ledger and the files to steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accountdb.errors import AccountdbError, Refused, UsageError
from accountdb.migrations.files import OWN, Migration, Script, script


@dataclass(frozen=True)
class Applied:
    """One line of a region's ledger: a file that is applied now."""

    version: int
    name: str
    checksum: str
    series: str = OWN

    @property
    def title(self) -> str:
        """How the file was called."""
        return f"{self.version:04d}_{self.name}"


@dataclass(frozen=True)
class Step:
    """One file to run: up, or down."""

    migration: Migration
    up: bool

    @property
    def title(self) -> str:
        """How the step is told: ``0002_account up``."""
        return f"{self.migration.title} {self.direction}"

    @property
    def direction(self) -> str:
        """``up`` or ``down``."""
        return "up" if self.up else "down"

    @property
    def sql(self) -> str:
        """The statements of the file."""
        return self.migration.up if self.up else self.migration.down or ""

    @property
    def script(self) -> Script:
        """The same, taken apart."""
        return script(self.sql, name=f"{self.migration.title}.{self.direction}.sql")


@dataclass(frozen=True)
class Plan:
    """The steps that take a region from one version of a series to another; empty when it stands there."""

    from_version: int
    to_version: int
    steps: tuple[Step, ...]


def plan(
    ledger: Sequence[Applied],
    files: Sequence[Migration],
    to: int | None = None,
    *,
    allow_down: bool = False,
    allow_out_of_order: bool = False,
) -> Plan:
    """The steps from the ledger's version to ``to`` (None: the newest file) of the series of ``files``.

    Raises UsageError for a version that no file has, AccountdbError where the ledger does not
    fit the files, and Refused for a way down that was not allowed, because it drops tables, and for a file
    that came in below one that is applied, because nobody has run them in this order.
    """
    series = files[0].series if files else OWN
    mine = [entry for entry in ledger if entry.series == series]
    versions = [migration.version for migration in files]
    newest = max(versions, default=0)
    if to is not None and to != 0 and to not in versions:
        known = f"versions go from 0 to {newest}" if _dense(versions) else f"one of 0, {_listed(versions)}"
        raise UsageError(f"there is no version {to}", hint=known)
    _check(mine, files)
    current = max((entry.version for entry in mine), default=0)
    target = newest if to is None else to
    if target < current and not allow_down:
        raise Refused(
            f"version {target} is below the applied version {current}: going down drops tables with their rows",
            hint="--allow-down allows it",
        )
    applied = {entry.version for entry in mine}
    if target < current:
        down = tuple(Step(m, False) for m in reversed(files) if m.version > target and m.version in applied)
        _check_down(down)
        return Plan(current, target, down)
    steps = tuple(Step(m, True) for m in files if m.version <= target and m.version not in applied)
    late = [step.migration.title for step in steps if step.migration.version < current]
    if late and not allow_out_of_order:
        raise Refused(
            f"{', '.join(late)} came in below version {current}, which is applied: out of order",
            hint="give it the next free number; --allow-out-of-order runs it as it is",
        )
    return Plan(current, target, steps)


def _dense(versions: Sequence[int]) -> bool:
    return list(versions) == list(range(1, len(versions) + 1))


def _listed(versions: Sequence[int]) -> str:
    shown = [str(version) for version in versions[-8:]]
    return ", ".join((["..."] if len(versions) > 8 else []) + shown)


def _check(ledger: Sequence[Applied], files: Sequence[Migration]) -> None:
    by_version = {migration.version: migration for migration in files}
    for entry in ledger:
        file = by_version.get(entry.version)
        if file is None and entry.series == OWN:
            raise AccountdbError(
                f"the database is at version {entry.version} ({entry.name}), this program knows {len(files)}",
                hint="use the newer accountdb that migrated it",
            )
        if file is None:
            raise AccountdbError(
                f"migration {entry.title} is applied here and not in the folder",
                hint="name the folder that has it",
            )
        if file.name != entry.name and file.checksum != entry.checksum:
            raise AccountdbError(
                f"version {entry.version} was applied here as {entry.title}, the file of that number is {file.title}",
                hint="name the folder that was applied here, or give the new file the next free number",
            )
        if file.checksum != entry.checksum:
            raise AccountdbError(
                f"migration {file.title} was changed after it was applied here",
                hint="restore the file as it was applied; a change belongs into a new migration",
            )


def _check_down(steps: Sequence[Step]) -> None:
    lacking = [step.migration.title for step in steps if step.migration.down is None]
    if lacking:
        raise UsageError(
            f"there is no way down: {', '.join(lacking)} has no down file", hint=f"write {lacking[0]}.down.sql"
        )
