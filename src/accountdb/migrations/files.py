"""The migration files that this version of accountdb brings."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache

from accountdb.sql import folder

_NAME = re.compile(r"^(\d{4})_([a-z0-9_]+)\.(up|down)\.sql$")


@dataclass(frozen=True)
class Migration:
    """One numbered step. ``checksum`` is over the up file, as it is shipped."""

    version: int
    name: str
    up: str
    down: str

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
    halves: dict[tuple[int, str], dict[str, str]] = {}
    for entry in folder("migrations").iterdir():
        match = _NAME.match(entry.name)
        if match:
            number, name, half = match.groups()
            halves.setdefault((int(number), name), {})[half] = entry.read_text(encoding="utf-8")
    found = tuple(
        Migration(version, name, texts["up"], texts["down"]) for (version, name), texts in sorted(halves.items())
    )
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise RuntimeError(f"migration files are not numbered 1 to {len(found)}")
    return found
