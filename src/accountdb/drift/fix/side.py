"""One of the two structures, with what each of its parts needs. Pure.

What a part needs is read from the text of its definition, in which the server qualifies every name. A
name that only looks like one (an alias, a column of the same name elsewhere) makes a need too many: then a
view is made again that could have stayed, never the other way round.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property

from accountdb.drift.fix import names
from accountdb.drift.fix.parts import ATTACHMENT, DEFAULT, MEMBER, OWNERSHIP, REPLICA_IDENTITY, expanded, owned
from accountdb.drift.structure import GRANT, Definition, Identity, Structure

RELATIONS = ("table", "view", "materialized_view")
_ROUTINES = ("function", "aggregate")
_OWN_COLUMNS = frozenset({"constraint", "index", "trigger", "policy", "rule", "statistics"})
_KEY = re.compile(r"PRIMARY KEY|UNIQUE")
_UNREAD = frozenset({"comment", "index_comment", "labels", "parent", "owned_by", "member", "publication"})


class Side:
    """The parts of one structure, found by table, by name and by need."""

    def __init__(self, structure: Structure) -> None:
        """Nothing but the structure decides."""
        self.structure = structure
        self.parts = expanded(structure)
        self.columns: dict[tuple[str, str], dict[str, Identity]] = defaultdict(dict)
        self.belongings: dict[tuple[str, str], list[Identity]] = defaultdict(list)
        self.leaves: dict[tuple[str, str], list[Identity]] = defaultdict(list)
        for one in self.parts:
            parts = owned(one)
            if parts is None:
                continue
            self.belongings[one.schema, parts[0]].append(one)
            if one.kind == "column":
                self.columns[one.schema, parts[0]][parts[1]] = one
            elif one.kind in ("index", "constraint"):
                self.leaves[one.schema, parts[1]].append(one)

    @cached_property
    def named(self) -> dict[tuple[str, str], list[Identity]]:
        """What a qualified name can mean; routines by their name without arguments."""
        out: dict[tuple[str, str], list[Identity]] = defaultdict(list)
        for one, definition in self.parts.items():
            if one.kind in _ROUTINES:
                out[one.schema, names.routine(str(definition["definition"]), one.name).name].append(one)
            elif one.kind in (*RELATIONS, "sequence", "enum", "domain", "composite"):
                out[one.schema, one.name].append(one)
        return out

    @cached_property
    def parents(self) -> dict[tuple[str, str], list[tuple[str, str]]]:
        """The tables that a table is a partition of, or inherits from."""
        return {
            one[1:]: names.pairs_in_order(str(definition["parents"]))
            for one, definition in self.parts.items()
            if one.kind == ATTACHMENT and "parents" in definition
        }

    @cached_property
    def children(self) -> dict[tuple[str, str], list[tuple[str, str]]]:
        """The opposite of ``parents``."""
        out: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        for child, parents in self.parents.items():
            for parent in parents:
                out[parent].append(child)
        return out

    @cached_property
    def identities(self) -> dict[tuple[str, str], Identity]:
        """The sequence of each identity column, by schema and the column's name in the structure."""
        return {
            (one.schema, str(definition["identity"])): one
            for one, definition in self.parts.items()
            if one.kind == "sequence" and "identity" in definition
        }

    @cached_property
    def needs(self) -> dict[Identity, set[Identity]]:
        """What must be there before each part, and outlive it."""
        return {one: set(self._needs(one, definition)) - {one} for one, definition in self.parts.items()}

    @cached_property
    def needed_by(self) -> dict[Identity, set[Identity]]:
        """The opposite of ``needs``."""
        out: dict[Identity, set[Identity]] = defaultdict(set)
        for one, needed in self.needs.items():
            for other in needed:
                out[other].add(one)
        return out

    def owner(self, one: Identity) -> Identity | None:
        """The table or view that a part belongs to."""
        parts = owned(one)
        if parts is None:
            return None
        return next((o for k in RELATIONS if (o := Identity(k, one.schema, parts[0])) in self.parts), None)

    def column_named(self, schema: str, owned_by: str) -> Identity | None:
        """The column that ``table.column`` of a sequence means; a name with a dot can be read in two ways."""
        for at in (at for at, letter in enumerate(owned_by) if letter == "."):
            found = self.columns.get((schema, owned_by[:at]), {}).get(owned_by[at + 1 :])
            if found is not None:
                return found
        return None

    def inherited(self, column: Identity) -> list[Identity]:
        """The columns of parent tables that a column comes from."""
        table, leaf = owned(column) or ("", "")
        parents = self.parents.get((column.schema, table), [])
        return [found for parent in parents if (found := self.columns.get(parent, {}).get(leaf)) is not None]

    def is_partition(self, table: tuple[str, str]) -> bool:
        """Whether a table is a partition of another."""
        return "partition_bound" in self.parts.get(Identity(ATTACHMENT, *table), {})

    def counterparts(self, one: Identity, tables: Iterable[tuple[str, str]]) -> list[Identity]:
        """The parts of the same kind and own name that belong to ``tables``."""
        leaf = (owned(one) or ("", ""))[1]
        return [
            other
            for table in tables
            for other in self.belongings.get(table, ())
            if other.kind == one.kind and (owned(other) or ("", ""))[1] == leaf
        ]

    def _needs(self, one: Identity, definition: Definition) -> Iterator[Identity]:
        owner = self.owner(one)
        if owner is not None:
            yield owner
        yield from self._by_text(one, definition)
        yield from self._by_nature(one, definition)

    def _by_text(self, one: Identity, definition: Definition) -> Iterator[Identity]:
        table = (one.schema, (owned(one) or ("", ""))[0])
        for key, value in definition.items():
            if not isinstance(value, str) or key in _UNREAD or key.startswith(GRANT):
                continue
            found = names.references(value)
            if one.kind in _OWN_COLUMNS or key == "generated" or one.kind == DEFAULT:
                yield from self._columns(table, found.words)
            for pair in found.pairs:
                yield from self.named.get(pair, ())
                if one.kind not in ("column", ATTACHMENT):
                    yield from self._columns(pair, found.words)

    def _columns(self, table: tuple[str, str], words: frozenset[str]) -> list[Identity]:
        return [column for name, column in self.columns.get(table, {}).items() if name in words]

    def _by_nature(self, one: Identity, definition: Definition) -> Iterator[Identity]:
        match one.kind:
            case "column":
                yield from self.inherited(one)
            case "default":
                yield Identity("column", *one[1:])
            case "sequence" if "identity" in definition:
                yield Identity("column", one.schema, str(definition["identity"]))
            case "constraint":
                yield from self._of_constraint(one, str(definition["definition"]))
            case "index":
                children = self.children.get((one.schema, (owned(one) or ("", ""))[0]), ())
                yield from (Identity(ATTACHMENT, *child) for child in children)
                yield from self.attached(one)
            case "trigger":
                table = (one.schema, (owned(one) or ("", ""))[0])
                yield from (Identity(ATTACHMENT, *child) for child in self.children.get(table, ()))
                yield from self.counterparts(one, self.parents.get(table, ()))
            case "view" | "materialized_view":
                yield from self._of_query(str(definition["definition"]))
            case _:
                yield from self._of_pseudo(one, definition)

    def _of_pseudo(self, one: Identity, definition: Definition) -> Iterator[Identity]:
        if one.kind == OWNERSHIP:
            yield Identity("sequence", *one[1:])
            column = self.column_named(one.schema, str(definition["owned_by"]))
            if column is not None:
                yield column
        elif one.kind == ATTACHMENT:
            yield from self._of_attachment(one)
        elif one.kind == REPLICA_IDENTITY:
            yield Identity("table", *one[1:])
            index = str(definition["replica_identity"]).removeprefix("index ")
            yield from (x for x in self.leaves.get((one.schema, index), ()) if (owned(x) or ("",))[0] == one.name)
        elif one.kind == MEMBER:
            yield Identity("publication", "", str(definition["publication"]))
            for pair in names.references(str(definition["member"])).pairs:
                yield from self.named.get(pair, ())
                yield from self._columns(pair, names.references(str(definition["shape"])).words)

    def attached(self, index: Identity) -> list[Identity]:
        """The indexes of partitions that are attached to this one."""
        return self._attached.get((index.schema, (owned(index) or ("", ""))[1]), [])

    @cached_property
    def _attached(self) -> dict[tuple[str, str], list[Identity]]:
        out: dict[tuple[str, str], list[Identity]] = defaultdict(list)
        for one, definition in self.parts.items():
            if one.kind == "index" and "parent" in definition:
                for pair in names.pairs_in_order(str(definition["parent"])):
                    out[pair].append(one)
        return out

    def _of_attachment(self, one: Identity) -> Iterator[Identity]:
        table = (one.schema, one.name)
        yield Identity("table", *table)
        for part in self.belongings.get(table, ()):
            if part.kind in ("column", "index") or (part.kind == "constraint" and self._checks(part)):
                yield part
        for parent in self.parents.get(table, ()):
            yield from self.columns.get(parent, {}).values()

    def _checks(self, constraint: Identity) -> bool:
        return str(self.parts[constraint]["definition"]).startswith("CHECK")

    def _of_constraint(self, one: Identity, text: str) -> Iterator[Identity]:
        table = (one.schema, (owned(one) or ("", ""))[0])
        if text.startswith("CHECK"):
            # A parent's is made after its children's, which it then takes over, and dropped before them.
            yield from self.counterparts(one, self.children.get(table, ()))
        if not text.startswith("FOREIGN KEY"):
            return
        target = text.partition(" REFERENCES ")[2]
        wanted = _listed(names.inside(target))
        for key in (key for pair in names.pairs_in_order(target)[:1] for key in self.belongings.get(pair, ())):
            definition = str(self.parts[key].get("definition", ""))
            if key.kind == "constraint" and _KEY.match(definition):
                if _listed(names.inside(definition)) == wanted:
                    yield key
            elif key.kind == "index" and definition.startswith("CREATE UNIQUE"):
                yield key

    def _of_query(self, text: str) -> Iterator[Identity]:
        """A query that groups by a primary key needs that key."""
        found = names.references(text)
        if "group" not in found.words:
            return
        for pair in found.pairs:
            for part in self.belongings.get(pair, ()):
                if part.kind == "constraint" and str(self.parts[part]["definition"]).startswith("PRIMARY"):
                    yield part


def _listed(columns: str | None) -> set[str]:
    return set(names.elements(columns or ""))
