"""The words of ``migratectl clean``, as values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from psycopg import sql

from accountdb.sql import block

FILE = "clean.sql"
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")

# What is younger than this may be in the hands of somebody who has just made it.
SETTLED_S = 60.0


class Action(StrEnum):
    """What becomes of one thing."""

    REMOVE = "remove"
    """A left-over by proof: removed when that is confirmed."""
    ENABLE = "enable"
    """A trigger of accountdb's that is switched off: switched on when that is confirmed."""
    BY_HAND = "by hand"
    """A left-over that this role may not remove, or that a person has to decide about."""
    KEEP = "keep"
    """No left-over by any proof: told, because it looks like one."""


class Care(StrEnum):
    """What the removal has to mind."""

    NONE = "none"
    MIGRATION = "migration"
    """It is done while no migration runs."""
    WATCH = "watch"
    """Nobody knows how old the thing is: it is watched for a minute, and goes when nobody has used it."""


@dataclass(frozen=True)
class Leftover:
    """One thing: what it is, why it is listed, what is done, the statement that does it.

    ``statement`` of what is kept or done by hand is what a person may run; empty where there is none. Equal when a
    second look finds the same thing in the same state: what the texts say of times and sizes does not count.
    """

    region: str
    kind: str
    name: str
    action: Action
    statement: str
    why: str = field(compare=False)
    note: str = field(default="", compare=False)
    state: tuple[object, ...] = ()
    care: Care = field(default=Care.NONE, compare=False)

    @property
    def to_do(self) -> bool:
        """Whether a confirmed run does it."""
        return self.action in (Action.REMOVE, Action.ENABLE)


def filled(name: str, /, **parts: sql.Composable) -> str:
    """A statement of clean.sql on one line, as it is shown and run. A name with a line end in it keeps it."""
    return sql.SQL(" ".join(block(FILE, name).split())).format(**parts).as_string()


def composed(template: str, *parts: sql.Composable) -> str:
    """The same for a statement that is written here; ``template`` has one {} for each part."""
    return sql.SQL(template).format(*parts).as_string()


def dotted(*parts: str) -> str:
    """A name for people: quoted where it is more than a plain word."""
    return ".".join(part if _PLAIN.fullmatch(part) else sql.Identifier(part).as_string() for part in parts)


def owner_runs(owner: str | None = None) -> str:
    """The note of what this role may not do: who may, beside an administrator."""
    return f"this role may not: {dotted(owner) + ' or ' if owner else ''}an administrator runs it"
