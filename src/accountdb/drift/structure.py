"""What is compared: every object of a database's structure, by identity, with its attributes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

SCHEMAS = ("public", "accountdb")
"""The schemas that are compared unless the caller names others."""

Attribute: TypeAlias = str | bool | None
Definition: TypeAlias = Mapping[str, Attribute]
Tree: TypeAlias = dict[str, dict[str, dict[str, dict[str, Attribute]]]]

_ESSENTIAL_KINDS = frozenset(
    {"enum", "domain", "composite", "sequence", "table", "column", "constraint", "index", "trigger", "view", "function"}
)
_INESSENTIAL = frozenset({"comment", "index_comment", "storage", "parent", "row_security", "replica_identity"})

_PLAIN = re.compile(r"[^.\"]+")
_OWNED_NAME = re.compile(r'("(?:[^"]|"")*"|[^."]+)\.("(?:[^"]|"")*"|[^."]+)')


class Identity(NamedTuple):
    """What names one object. ``name`` is ``owner.name`` for what belongs to a table or view.

    >>> Identity("column", "public", "users.email").owner
    'users'
    """

    kind: str
    schema: str
    name: str

    @property
    def owner(self) -> str | None:
        """The table or view that this object belongs to; None for one that stands alone."""
        parts = _parts(self)
        return parts[0] if parts else None

    @property
    def leaf(self) -> str:
        """The object's own name, without the table."""
        parts = _parts(self)
        return parts[1] if parts else self.name


OWNED_KINDS = frozenset({"column", "constraint", "index", "trigger", "rule", "policy"})
"""The kinds whose objects belong to a table or view and come and go with it."""

OWNER_KINDS = ("table", "view", "materialized_view")

GRANT = "grant to "
"""How the attribute of a grant begins; the role follows."""


def grant_attribute(role: str | None) -> str:
    """The attribute that holds what ``role`` was granted; None is PUBLIC.

    A role's name stands as it is, but for one that could be taken for PUBLIC or has a quote in it.
    """
    if role is None:
        return f"{GRANT}PUBLIC"
    quoted = role == "PUBLIC" or '"' in role
    return GRANT + ('"' + role.replace('"', '""') + '"' if quoted else role)


def grantee(attribute: str) -> str | None:
    """The role of a ``grant to`` attribute; None for PUBLIC."""
    role = attribute.removeprefix(GRANT)
    if role == "PUBLIC":
        return None
    return role[1:-1].replace('""', '"') if role.startswith('"') else role


def identity(kind: str, schema: str, owner: str | None, name: str) -> Identity:
    """The identity of an object. A name with a dot or quote in it is quoted, so none is ambiguous."""
    return Identity(kind, schema, name if owner is None else f"{_piece(owner)}.{_piece(name)}")


def _piece(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def _parts(named: Identity) -> tuple[str, str] | None:
    if named.kind not in OWNED_KINDS:
        return None
    match = _OWNED_NAME.fullmatch(named.name)
    if match is None:
        raise ValueError(f"{named.kind} {named.name!r} is not owner.name")
    first, second = (part[1:-1].replace('""', '"') if part[0] == '"' else part for part in match.groups())
    return first, second


@dataclass(frozen=True)
class LeftOut:
    """An object that is there and is not compared, and why."""

    identity: Identity
    why: str


@dataclass(frozen=True)
class Structure:
    """The structure of some schemas of one database.

    ``objects`` maps each object to its definition; an attribute that does not apply or has no
    value is absent, never None. Two databases with the same structure have equal ``objects``,
    whatever the order of columns, the attribute numbers, the major version or the way in which
    they were made (15 and later). The rest takes no part in equality: ``left_out``; ``unread``, the
    kinds that the role may not read, each with why; ``major``, the server's version (None: of no server).
    """

    objects: Mapping[Identity, Definition]
    left_out: tuple[LeftOut, ...] = field(default=(), compare=False)
    unread: Mapping[str, str] = field(default_factory=dict, compare=False)
    major: int | None = field(default=None, compare=False)

    def counts(self) -> dict[str, int]:
        """How many objects there are of each kind."""
        return dict(Counter(found.kind for found in self.objects))

    def tree(self) -> Tree:
        """``objects`` as kind, schema, name, attribute: what is written as JSON."""
        out: Tree = {}
        for (kind, schema, name), definition in sorted(self.objects.items()):
            out.setdefault(kind, {}).setdefault(schema, {})[name] = dict(definition)
        return out

    @classmethod
    def from_tree(cls, tree: Tree) -> Structure:
        """The opposite of ``tree()``."""
        return cls(
            {
                Identity(kind, schema, name): definition
                for kind, schemas in tree.items()
                for schema, named in schemas.items()
                for name, definition in named.items()
            }
        )


def essential(structure: Structure) -> Structure:
    """``structure`` without what does not decide whether a row of one region fits into the other.

    That is: comments, grants, storage, policies, statistics, materialised views, what is replicated.
    """
    objects = {
        one: {name: value for name, value in definition.items() if not _inessential(name)}
        for one, definition in structure.objects.items()
        if one.kind in _ESSENTIAL_KINDS and not _of_materialized_view(one, structure)
    }
    return replace(structure, objects=objects)


def _of_materialized_view(one: Identity, structure: Structure) -> bool:
    return one.kind == "index" and Identity("materialized_view", one.schema, one.owner or "") in structure.objects


def _inessential(attribute: str) -> bool:
    return attribute in _INESSENTIAL or attribute.startswith(GRANT)
