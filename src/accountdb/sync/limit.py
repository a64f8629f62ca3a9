"""How many rows a pass may delete. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from accountdb.errors import UsageError

_TEXT = re.compile(r"(?P<count>\d+)(?P<percent>%)?")


@dataclass(frozen=True)
class Limit:
    """So many rows of a table, or so many percent of them: then at least one row, but for 0 %."""

    count: int
    percent: bool

    def allows(self, doomed: int, rows: int) -> bool:
        """Whether ``doomed`` of ``rows`` may go."""
        if not (self.percent and self.count):
            return doomed <= self.count
        return doomed <= max(1, rows * self.count // 100)

    def rows_for(self, doomed: int) -> int:
        """From how many rows on so many may go: a table that is sure to have more need not be counted."""
        if not self.percent:
            return 0
        return doomed * 100 // self.count + 1 if self.count else 1 << 62

    def __str__(self) -> str:
        return f"{self.count}%" if self.percent else str(self.count)


DEFAULT = Limit(20, percent=True)


def parse(text: str) -> Limit:
    """``1000`` or ``20%``. Raises UsageError."""
    match = _TEXT.fullmatch(text.strip())
    if match is None or (match["percent"] and int(match["count"]) > 100):
        raise UsageError(
            f"--max-delete {text}: a number of rows or a percentage", hint="--max-delete 1000, or --max-delete 20%"
        )
    return Limit(int(match["count"]), percent=bool(match["percent"]))
