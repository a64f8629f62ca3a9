"""What is wrong, and what mends it: the words that status, doctor and the dashboard share. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a check ended. Only ``fail`` makes a command end with status 1."""

    PASS = "pass"
    INFO = "info"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Remedy:
    """What mends a finding. ``says`` is what no command can do; ``commands`` are typed in a shell, in order.

    In a command the DSN of a region stands as its variable, ``"$CN_DSN"`` (``accountdb.pg.dsn.variable``): never a
    password.
    """

    says: str = ""
    commands: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """What to do, a line each: a command stands alone, so that it can be copied."""
        return tuple(part for part in (self.says, *self.commands) if part)

    @property
    def text(self) -> str:
        """All of it on one line, as a hint."""
        return "; ".join(self.lines)


NOTHING = Remedy()


@dataclass(frozen=True)
class Finding:
    """One check of one region, or of all (``region`` None).

    ``check`` is its stable name (``stream``, ``clock``, ``guard``); ``subject`` what of it was looked at, a
    subscription, say. ``found`` and ``wanted`` are facts with their values; ``cause`` is why, where that is known.
    """

    check: str
    level: Level
    region: str | None
    subject: str
    found: str
    wanted: str = ""
    cause: str = ""
    remedy: Remedy = NOTHING

    @property
    def sentence(self) -> str:
        """What was found, and why, on one line."""
        place = f"{self.region}: " if self.region else ""
        why = f": {self.cause}" if self.cause else ""
        return f"{place}{self.found}{why}"
