"""What a fix is: labelled statements in an order that works, and what no statement mends."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from accountdb.drift.structure import Identity


class Label(StrEnum):
    """What a statement does to those who use the database meanwhile, from harmless to not."""

    SAFE = "safe"
    """A moment's lock; no row is read under a lock that stops writers."""
    LOCKS = "locks"
    """Writers (or all) wait while the server reads rows, builds an index, or takes one away."""
    REWRITES = "rewrites"
    """The table is written anew, and everybody waits."""
    LOSES = "loses data"
    """A stored value goes away, or may be changed by a narrower type."""


@dataclass(frozen=True)
class FixStatement:
    """One statement, without its semicolon.

    ``objects`` are what it is about, the first one the part of the structure that it belongs to. ``why``
    is one line for a person. ``alone``: it commits by itself, before the others. ``superuser``: only a
    superuser may run it. ``makes``: it makes something that will belong to the role that runs it.
    """

    sql: str
    label: Label
    objects: tuple[Identity, ...]
    why: str
    alone: bool = False
    superuser: bool = False
    makes: bool = False


@dataclass(frozen=True)
class Left:
    """One difference that no statement of the fix mends, and why."""

    identity: Identity
    why: str


@dataclass(frozen=True)
class Facts:
    """What a plan may know of the target beyond its structure. None: not known.

    ``roles`` are the roles of its server; ``filled`` the tables with at least one row, as schema and
    name; ``extensions`` those that its server could make. ``queries`` are the views of the *reference* as its
    server writes them: a structure leaves out names that a comparison has no need of, and a subquery has.
    """

    roles: frozenset[str] | None = None
    filled: frozenset[tuple[str, str]] | None = None
    extensions: frozenset[str] | None = None
    queries: Mapping[Identity, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fix:
    """A plan. Run in order, ``statements`` turn the target's structure into the reference's, but for ``left``.

    ``needs`` says, for the part that a statement belongs to, which other parts must be mended with it.
    """

    statements: tuple[FixStatement, ...]
    left: tuple[Left, ...] = ()
    needs: Mapping[Identity, frozenset[Identity]] = field(default_factory=dict)

    @property
    def loses(self) -> tuple[FixStatement, ...]:
        """The statements that lose data."""
        return tuple(one for one in self.statements if one.label is Label.LOSES)

    def withheld(self) -> frozenset[Identity]:
        """The parts that must not be touched as long as no data may be lost: those that lose some, and
        those that cannot be mended without them."""
        found = {one.objects[0] for one in self.loses}
        while True:
            more = {part for part, needed in self.needs.items() if part not in found and needed & found}
            if not more:
                return frozenset(found)
            found |= more

    def without(self, parts: Collection[Identity]) -> Fix:
        """The same fix without the statements of these parts."""
        kept = tuple(one for one in self.statements if one.objects[0] not in parts)
        return Fix(kept, self.left, self.needs)
