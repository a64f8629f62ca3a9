"""What happens to each part, and to the parts that stand in the way of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum

from accountdb.drift.fix import names
from accountdb.drift.fix.model import Facts
from accountdb.drift.fix.parts import ATTACHMENT, DEFAULT, MEMBER, OWNERSHIP, RANK, REPLICA_IDENTITY, owned
from accountdb.drift.fix.side import RELATIONS, Side
from accountdb.drift.structure import Definition, Identity, Structure

_TYPES = ("enum", "domain")
_REMADE = frozenset(
    {
        "trigger",
        "rule",
        "policy",
        "view",
        "materialized_view",
        "function",
        "aggregate",
        DEFAULT,
        "composite",
    }
)
_DEFERRABLE = re.compile(r"(?: NOT)? DEFERRABLE(?: INITIALLY (?:DEFERRED|IMMEDIATE))?$")


class Action(Enum):
    """What happens to a part. REBUILD is a drop and a create."""

    CREATE = "create"
    DROP = "drop"
    ALTER = "alter"
    REBUILD = "rebuild"


GONE = (Action.DROP, Action.REBUILD)
MADE = (Action.CREATE, Action.REBUILD, Action.ALTER)


class Scene:
    """Both sides and what is decided: everything that the writers of statements look at."""

    def __init__(self, reference: Structure, target: Structure, facts: Facts) -> None:
        """Decides at once."""
        self.reference, self.target, self.facts = Side(reference), Side(target), facts
        self.actions: dict[Identity, Action] = {}
        self.retyped: set[Identity] = set()
        """Columns whose type changes, or is made anew under the same name."""
        self._decide()
        self._close()

    def is_gone(self, one: Identity) -> bool:
        """Whether the part is dropped, for good or to be made again."""
        return self.actions.get(one) in GONE

    def is_implicit(self, one: Identity) -> bool:
        """Whether a part of the target goes with what it belongs to, without a statement."""
        return self.carrier(one) != one

    def carrier(self, one: Identity) -> Identity:
        """The part whose drop takes this one along; itself where none does."""
        owner = self._above(one)
        if owner is None or not self.is_gone(owner) or (one.kind == "constraint" and self._ties_dropped(one, owner)):
            return one
        return self.carrier(owner)

    def _above(self, one: Identity) -> Identity | None:
        target = self.target
        if one.kind == DEFAULT:
            return Identity("column", *one[1:])
        if one.kind in (ATTACHMENT, REPLICA_IDENTITY):
            return Identity("table", *one[1:])
        if one.kind == OWNERSHIP:
            return Identity("sequence", *one[1:])
        if one.kind == "sequence" and one in target.parts:
            if "identity" in target.parts[one]:
                column = Identity("column", one.schema, str(target.parts[one]["identity"]))
                return column if column in target.parts else None
            ownership = Identity(OWNERSHIP, *one[1:])
            if self.actions.get(ownership) in (Action.DROP, None) and ownership in target.parts:
                return target.column_named(one.schema, str(target.parts[ownership]["owned_by"]))
        if one.kind == MEMBER:
            return Identity("publication", "", str(target.parts[one]["publication"]))
        return target.owner(one)

    def _ties_dropped(self, one: Identity, owner: Identity) -> bool:
        """Whether a foreign key ties two tables that both go: neither could be dropped first."""
        others = self.target.needs.get(one, set()) - {owner}
        return any(other.kind == "table" and self.is_gone(other) for other in others)

    def _decide(self) -> None:
        reference, target = self.reference.parts, self.target.parts
        for one in reference.keys() | target.keys():
            if one.kind not in RANK:
                continue
            before, after = target.get(one), reference.get(one)
            if before == after:
                continue
            if before is None:
                self.actions[one] = Action.CREATE
            elif after is None:
                self.actions[one] = Action.DROP
            elif _must_rebuild(one.kind, before, after):
                self.actions[one] = Action.REBUILD
            else:
                self.actions[one] = Action.ALTER
                if one.kind == "column" and _type(before) != _type(after):
                    self.retyped.add(one)

    def _close(self) -> None:
        """Take in whatever stands in the way, until nothing more does."""
        todo = [one for one in self.target.parts if self.is_gone(one) or one in self.retyped]
        todo += [one for one in self.actions if one.kind == "table" and self._moves(one)]
        while todo:
            one = todo.pop()
            for other in self.target.needed_by.get(one, ()):
                if other in self.reference.parts and self._react(other, one):
                    todo.append(other)
            if self.is_gone(one) and one.kind in RELATIONS:
                self._remake_belongings(one)

    def _moves(self, table: Identity) -> bool:
        before, after = self.target.parts.get(table), self.reference.parts.get(table)
        return bool(before and after and before.get("persistence") != after.get("persistence"))

    def _remake_belongings(self, owner: Identity) -> None:
        """What belonged to a table or view that is made again is made again with it."""
        if self.actions[owner] is not Action.REBUILD:
            return
        for one, in_target in self.target.parts.items():
            if self._above(one) != owner:
                continue
            if one in self.reference.parts and self.actions.get(one) is not Action.REBUILD:
                self.actions[one] = Action.REBUILD
            elif one not in self.reference.parts and in_target is not None:
                self.actions[one] = Action.DROP

    def _react(self, one: Identity, disturbed: Identity) -> bool:
        """Decide what ``disturbed`` means for ``one``, which needs it; whether that is news."""
        if self.actions.get(one) in (Action.REBUILD, Action.DROP, Action.CREATE):
            return False
        wanted = self._reaction(one, disturbed)
        if wanted == "retype":
            news = one not in self.retyped
            self.retyped.add(one)
            self.actions.setdefault(one, Action.ALTER)
            return news
        if wanted is None:
            return False
        self.actions[one] = Action.REBUILD
        return True

    def _reaction(self, one: Identity, disturbed: Identity) -> str | Action | None:
        gone = self.is_gone(disturbed)
        if one.kind in _REMADE:
            # A trigger of a partition follows that of its parent.
            return None if disturbed.kind in (ATTACHMENT, one.kind) and one.kind == "trigger" else Action.REBUILD
        react: dict[str, Callable[[Identity, Identity, bool], str | Action | None]] = {
            "column": self._column_reacts,
            "domain": lambda _, other, gone: Action.REBUILD if gone and other.kind in _TYPES else None,
            # The server itself moves statistics to a column's new type.
            "statistics": lambda _, other, gone: Action.REBUILD if gone else None,
            "constraint": self._constraint_reacts,
            "index": self._index_reacts,
            ATTACHMENT: lambda _, other, gone: Action.REBUILD if gone and other.kind == "table" else None,
            OWNERSHIP: lambda _, other, gone: Action.REBUILD if gone and other.kind == "column" else None,
            REPLICA_IDENTITY: lambda _, other, gone: Action.REBUILD if gone else None,
            MEMBER: lambda _, other, gone: Action.REBUILD if other.kind != "publication" or gone else None,
        }
        return react[one.kind](one, disturbed, gone) if one.kind in react else None

    def _column_reacts(self, one: Identity, other: Identity, gone: bool) -> str | Action | None:
        if other.kind in _TYPES and gone:
            return "retype"
        if "generated" not in self.target.parts[one]:
            return None
        inherited = other in self.target.inherited(one)
        return Action.REBUILD if (gone or other in self.retyped) and not inherited else None

    def _constraint_reacts(self, one: Identity, other: Identity, gone: bool) -> Action | None:
        foreign = str(self.target.parts[one]["definition"]).startswith("FOREIGN")
        if other.kind == "table" and not gone:
            return Action.REBUILD if foreign else None
        if other in self.retyped and not gone:
            return Action.REBUILD if foreign else None
        inherited = other.kind == "constraint" and not foreign
        return Action.REBUILD if gone and not inherited else None

    def _index_reacts(self, one: Identity, other: Identity, gone: bool) -> Action | None:
        return Action.REBUILD if gone and other.kind not in (ATTACHMENT, "index") else None


def _type(definition: Definition) -> tuple[object, object]:
    return definition.get("type"), definition.get("collation")


def _must_rebuild(kind: str, before: Definition, after: Definition) -> bool:
    differ = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    match kind:
        case "enum":
            return "labels" in differ and not only_added(labels(before), labels(after))
        case "domain":
            return bool(differ & {"type", "collation"})
        case "composite":
            return "definition" in differ
        case "table":
            return bool(differ & {"form", "partition_key"})
        case "column":
            return _column_is_remade(before, after)
        case "constraint":
            return _constraint_is_remade(differ, before, after)
        case "index":
            return bool(differ & {"definition", "parent"}) or ("valid" in differ and after["valid"] is True)
        case "policy":
            return not differ <= {"comment"}
        case "function" | "aggregate":
            return "definition" in differ and (kind == "aggregate" or head(before) != head(after))
        case "publication":
            return "all_tables" in differ
        case "attachment" | "publication_member":
            return True
        case _:
            return "definition" in differ


def _column_is_remade(before: Definition, after: Definition) -> bool:
    if "generated" not in after:
        return False
    return any(before.get(key) != after.get(key) for key in ("generated", "type", "collation"))


def _constraint_is_remade(differ: set[str], before: Definition, after: Definition) -> bool:
    if "definition" in differ:
        return not only_deferred(before, after)
    validated = "validated" in differ and after["validated"] is False
    enforced = "mode" in differ and after.get("mode") == "O"
    return validated or enforced or ("index_valid" in differ and after.get("index_valid") is True)


def only_deferred(before: Definition, after: Definition) -> bool:
    """Whether two foreign keys differ in nothing but when they are checked."""
    first, second = str(before["definition"]), str(after["definition"])
    return first.startswith("FOREIGN KEY") and _DEFERRABLE.sub("", first) == _DEFERRABLE.sub("", second)


def labels(definition: Definition) -> list[str]:
    """The labels of an enum."""
    return [names.string(token) for token in names.loud(str(definition.get("labels", ""))) if token.kind == "string"]


def only_added(before: list[str], after: list[str]) -> bool:
    """Whether ``after`` is ``before`` with labels put in."""
    rest = iter(after)
    return all(label in rest for label in before)


def head(definition: Definition) -> str:
    """What CREATE OR REPLACE cannot change of a function: its arguments and its result."""
    text = str(definition["definition"])
    return "\n".join(text.split("\n")[: 2 if "\n RETURNS " in text[: text.find("\n LANGUAGE ")] else 1])


def leaf(one: Identity) -> str:
    """A part's own name."""
    parts = owned(one)
    return one.name if parts is None else parts[1]
