"""Migration files: those that this version of accountdb brings, and those of a folder of the operator's own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from accountdb.errors import UsageError
from accountdb.script.lexer import tokens
from accountdb.script.statements import Statement, split
from accountdb.sql import folder

OWN = "accountdb"
"""The series of the package's own files. Any other series is a folder's."""

LEDGER_FILE = "migrations/0004_ledger.up.sql"
"""What makes the ledger. It can be run at any version, and the runner does before its first step."""

_NAME = re.compile(r"^(\d+)_(.+)\.(up|down)\.sql$")
_FORM = "NNNN_name.up.sql and NNNN_name.down.sql"
_NO_TRANSACTION = re.compile(r"--\s*accountdb:\s*no-transaction\s*", re.IGNORECASE)
_CONTROL = re.compile(r"(begin|start transaction|commit|end|rollback|abort|prepare transaction|savepoint|release)\b")
_LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Migration:
    """One numbered step of a series. ``checksum`` is over the up file, as it is shipped.

    ``down`` is None where there is no such file.
    """

    version: int
    name: str
    up: str
    down: str | None
    series: str = OWN

    @property
    def checksum(self) -> str:
        """SHA-256 of the up file in hexadecimal."""
        return hashlib.sha256(self.up.encode()).hexdigest()

    @property
    def title(self) -> str:
        """How the file is called: ``0002_account``."""
        return f"{self.version:04d}_{self.name}"


@cache
def shipped() -> tuple[Migration, ...]:
    """All migrations of the package in order. A gap or a missing half is a programming error."""
    found = _paired((entry.name, entry.read_text(encoding="utf-8")) for entry in folder("migrations").iterdir())
    files = tuple(Migration(version, name, texts["up"], texts["down"]) for (version, name), texts in found)
    if [migration.version for migration in files] != list(range(1, len(files) + 1)):
        raise RuntimeError(f"migration files are not numbered 1 to {len(files)}")
    return files


def from_folder(path: Path, series: str = "folder") -> tuple[Migration, ...]:
    """The migrations of a folder, in the order of their numbers, as golang-migrate names them too.

    Raises UsageError for a folder that cannot be read, a down file without its up file, a number
    that two files bear, a file that is not UTF-8 or is no SQL that can be run: nothing is applied of a
    folder that is not whole.
    """
    try:
        texts = [(one.name, _text(one)) for one in sorted(path.iterdir()) if _NAME.match(one.name) and one.is_file()]
    except OSError as error:
        raise UsageError(f"--dir {path}: {error.strerror or error}", hint=f"a folder with {_FORM}") from None
    if not texts:
        raise UsageError(f"--dir {path}: there is no migration in it", hint=_FORM)
    files: list[Migration] = []
    for (version, name), halves in _paired(texts):
        if "up" not in halves:
            raise UsageError(f"--dir {path}: {version:04d}_{name}.down.sql has no up file", hint=_FORM)
        if not 0 < version <= _LARGEST:
            raise UsageError(f"--dir {path}: {version} is no version", hint=f"a number from 1 to {_LARGEST}")
        if files and files[-1].version == version:
            raise UsageError(
                f"--dir {path}: {files[-1].title} and {version:04d}_{name} have the same number",
                hint="give the newer one the next free number",
            )
        files.append(Migration(version, name, halves["up"], halves.get("down"), series))
        for half, text in halves.items():
            script(text, name=f"{files[-1].title}.{half}.sql")
    return tuple(files)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start} is not UTF-8", hint="save it as UTF-8") from None


def _paired(texts: Iterable[tuple[str, str]]) -> list[tuple[tuple[int, str], dict[str, str]]]:
    halves: dict[tuple[int, str], dict[str, str]] = {}
    for filename, text in texts:
        match = _NAME.match(filename)
        if match:
            number, name, half = match.groups()
            halves.setdefault((int(number), name), {})[half] = text
    return sorted(halves.items())


@dataclass(frozen=True)
class Script:
    """What one file does. ``together``: in one transaction; else statement by statement."""

    statements: tuple[Statement, ...]
    together: bool


@cache
def script(text: str, *, name: str) -> Script:
    """``text`` as statements. ``-- accountdb: no-transaction`` before the first one opts out of the transaction.

    Raises UsageError, with the line, for what is no plain SQL, and for a statement that begins or
    ends a transaction: the runner does.
    """
    found = tuple(split(text, name=name))
    for statement in found:
        control = _CONTROL.match(statement.head)
        if control:
            raise UsageError(
                f"{name}, line {statement.line}: {control.group().upper()} in a migration",
                hint="leave it out: a file runs in one transaction; -- accountdb: no-transaction on its first line"
                " runs it statement by statement",
            )
    return Script(found, together=not _opted_out(text))


def _opted_out(text: str) -> bool:
    for token in tokens(text):
        if not token.silent:
            return False
        if token.kind == "comment" and _NO_TRANSACTION.fullmatch(token.text):
            return True
    return False
