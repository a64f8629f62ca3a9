"""Columns and their defaults. Pure."""

from __future__ import annotations

import re
from dataclasses import replace

from accountdb.drift.fix import casts, names
from accountdb.drift.fix.deciding import Action, Scene, leaf
from accountdb.drift.fix.model import FixStatement, Label
from accountdb.drift.fix.parts import ATTACHMENT, DEFAULT, owned
from accountdb.drift.fix.rights import table
from accountdb.drift.structure import Definition, Identity
from accountdb.sql import block

_CALL = re.compile(r"\w\"?\(")
_STABLE = re.compile(r"\b(?:now|transaction_timestamp|statement_timestamp|accountdb\.node_name)\(\)")


def described(scene: Scene, one: Identity, definition: Definition, *, nullable: bool = False) -> str:
    """A column as CREATE TABLE and ADD COLUMN take it, with its default."""
    words = [names.name(leaf(one)), names.executable(str(definition["type"]))]
    if "collation" in definition:
        words.append(f"COLLATE {definition['collation']}")
    generated = str(definition.get("generated", ""))
    if generated:
        kind, _, expression = generated.partition(": ")
        words.append(f"GENERATED ALWAYS AS ({names.executable(expression)}) {kind.upper()}")
    if "identity" in definition:
        words.append(_identity(scene, one, definition))
    default = scene.reference.parts.get(Identity(DEFAULT, *one[1:]))
    if default is not None:
        words.append(f"DEFAULT {names.executable(str(default['default']))}")
    if definition.get("not_null") is True and not nullable:
        words.append("NOT NULL")
    return " ".join(words)


def _identity(scene: Scene, one: Identity, definition: Definition) -> str:
    word = f"GENERATED {str(definition['identity']).upper()} AS IDENTITY"
    sequence = scene.reference.identities.get((one.schema, one.name))
    if sequence is None:
        return word
    found = scene.reference.parts[sequence]
    return f"{word} (SEQUENCE NAME {names.name(*sequence[1:])} {counting(found)})"


def counting(definition: Definition) -> str:
    """How a sequence counts, as CREATE and ALTER SEQUENCE take it."""
    return (
        f"INCREMENT BY {definition['increment']} MINVALUE {definition['minimum']} MAXVALUE {definition['maximum']}"
        f" START WITH {definition['start']} CACHE {definition['cache']} {'' if definition['cycle'] else 'NO '}CYCLE"
    )


def create(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """ADD COLUMN, unless CREATE TABLE or the parent's ADD COLUMN brings it."""
    owner = scene.reference.owner(one)
    if (owner is not None and scene.actions.get(owner) in (Action.CREATE, Action.REBUILD)) or _comes_along(scene, one):
        return []
    pair = (one.schema, (owned(one) or ("", ""))[0])
    has_value = any(key in definition for key in ("generated", "identity")) or _default(scene, one) is not None
    empty = scene.facts.filled is not None and pair not in scene.facts.filled
    wants = definition.get("not_null") is True and not has_value and not empty
    label = _label_of_add(scene, one, definition)
    why = "a new column" + (_renamed(scene, one) or "")
    out = [
        FixStatement(
            f"ALTER TABLE {table(one)} ADD COLUMN {described(scene, one, definition, nullable=wants)}",
            label,
            (one,),
            why,
        )
    ]
    if wants and scene.facts.filled is None:
        out.append(
            _not_null(one, "the rows that are there need a value first: if there are any, put an UPDATE before this")
        )
    return out + _storage(one, {}, definition)


def needs_values(scene: Scene, one: Identity) -> bool:
    """Whether a new column is NOT NULL, has no value for rows that are there, and there are some."""
    definition = scene.reference.parts[one]
    pair = (one.schema, (owned(one) or ("", ""))[0])
    return (
        definition.get("not_null") is True
        and not any(key in definition for key in ("generated", "identity"))
        and _default(scene, one) is None
        and scene.facts.filled is not None
        and pair in scene.facts.filled
        and Identity("table", *pair) in scene.target.parts
        and not scene.is_gone(Identity("table", *pair))
        and not _comes_along(scene, one)
    )


def _default(scene: Scene, one: Identity) -> str | None:
    found = scene.reference.parts.get(Identity(DEFAULT, *one[1:]))
    return None if found is None else str(found["default"])


def _comes_along(scene: Scene, one: Identity) -> bool:
    """Whether the table is attached all the while, and the parent's column is made too."""
    attachment = Identity(ATTACHMENT, one.schema, (owned(one) or ("", ""))[0])
    parents = scene.reference.inherited(one)
    return attachment not in scene.actions and any(
        scene.actions.get(parent) in (Action.CREATE, Action.REBUILD) for parent in parents
    )


def _label_of_add(scene: Scene, one: Identity, definition: Definition) -> Label:
    if "generated" in definition:
        return Label.REWRITES if str(definition["generated"]).startswith("stored") else Label.SAFE
    default = _STABLE.sub("", _default(scene, one) or "")
    constrained = default and any(each.kind == "domain" for each in scene.reference.needs[one])
    return Label.REWRITES if "identity" in definition or _CALL.search(default) or constrained else Label.SAFE


def _renamed(scene: Scene, one: Identity) -> str | None:
    """A suggestion, where a column of the same shape goes as this one comes."""
    pair = (one.schema, (owned(one) or ("", ""))[0])
    shape = scene.reference.parts[one]
    for found in scene.target.columns.get(pair, {}).values():
        if scene.actions.get(found) is Action.DROP and scene.target.parts[found].get("type") == shape.get("type"):
            return (
                f"; if it is {leaf(found)} under a new name, run instead of this and of its DROP:"
                f" ALTER TABLE {table(one)} RENAME COLUMN {names.name(leaf(found))} TO {names.name(leaf(one))}"
            )
    return None


def drop(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """DROP COLUMN, unless the parent's DROP COLUMN takes it along."""
    attachment = Identity(ATTACHMENT, one.schema, (owned(one) or ("", ""))[0])
    if attachment not in scene.actions and any(scene.is_gone(parent) for parent in scene.target.inherited(one)):
        return []
    computed = "generated" in definition
    label = Label.LOCKS if computed else Label.LOSES
    if scene.actions[one] is Action.REBUILD:
        label = Label.REWRITES if computed else Label.LOSES
    why = "its values are computed from others" if computed else "its values go"
    heirs = [child for child in _below(scene, one) if scene.is_gone(child)]
    # A partition's column goes with its parent's; an heir may have it of its own too.
    own = [child for child in heirs if not scene.target.is_partition((child.schema, (owned(child) or ("",))[0]))]
    tables = [(table(one), "")] + [(table(child), "IF EXISTS ") for child in own]
    return [
        FixStatement(f"ALTER TABLE {name} DROP COLUMN {maybe}{names.name(leaf(one))}", label, (one, *heirs), why)
        for name, maybe in tables
    ]


def _below(scene: Scene, one: Identity) -> list[Identity]:
    """The same column in the tables below its own."""
    children = scene.target.children.get((one.schema, (owned(one) or ("",))[0]), ())
    found = scene.target.counterparts(one, children)
    return [each for child in found for each in (child, *_below(scene, child))]


def alter(scene: Scene, one: Identity, before: Definition, after: Definition) -> list[FixStatement]:
    """Type, identity, NOT NULL and storage. The default is a part of its own."""
    out: list[FixStatement] = []
    if "generated" in before and "generated" not in after:
        out.append(_alter(one, "DROP EXPRESSION", Label.SAFE, "its values stay, and are no longer computed"))
    if "identity" in before and "identity" not in after:
        out.append(_alter(one, "DROP IDENTITY", Label.LOSES, "the count of its sequence goes"))
    if one in scene.retyped and not _retyped_along(scene, one):
        out.append(_retype(scene, one, before, after))
    if after.get("not_null") is True and before.get("not_null") is not True:
        out.append(_not_null(one, "reads every row; fails while one has no value"))
    if "identity" in after and before.get("identity") != after["identity"]:
        out += _becomes_identity(scene, one, before, after)
    if before.get("not_null") is True and after.get("not_null") is not True:
        out.append(_alter(one, "DROP NOT NULL", Label.SAFE, "it may be empty"))
    return out + _storage(one, before, after)


def _alter(one: Identity, what: str, label: Label, why: str, *, only: str = "") -> FixStatement:
    return FixStatement(
        f"ALTER TABLE {only}{table(one)} ALTER COLUMN {names.name(leaf(one))} {what}", label, (one,), why
    )


def _not_null(one: Identity, why: str) -> FixStatement:
    return _alter(one, "SET NOT NULL", Label.LOCKS, why)


def _retyped_along(scene: Scene, one: Identity) -> bool:
    """Whether the parent's new type comes down to it: not where it is detached first."""
    attachment = Identity(ATTACHMENT, one.schema, (owned(one) or ("", ""))[0])
    return attachment not in scene.actions and any(parent in scene.retyped for parent in scene.target.inherited(one))


def _retype(scene: Scene, one: Identity, before: Definition, after: Definition) -> FixStatement:
    old, new = str(before["type"]), str(after["type"])
    column, wanted = names.name(leaf(one)), names.executable(new)
    collate = f" COLLATE {after['collation']}" if "collation" in after else ""
    remade = [each for each in scene.reference.needs[one] if scene.actions.get(each) is Action.REBUILD]
    if old == new and not remade:
        return _alter(one, f"TYPE {wanted}{collate}", Label.LOCKS, "another collation: its indexes are built anew")
    label, through_text, why = casts.judged(old, new)
    if remade:
        label, through_text, why = (
            Label.REWRITES,
            True,
            "moved to the new type; fails while a row has a value that it lacks",
        )
    cast = f"{column}::text::{wanted}" if through_text else f"{column}::{wanted}"
    found = _alter(one, f"TYPE {wanted}{collate} USING {cast}", label, why)
    return replace(found, objects=(one, *_below(scene, one)))


def _becomes_identity(scene: Scene, one: Identity, before: Definition, after: Definition) -> list[FixStatement]:
    word = str(after["identity"]).upper()
    if "identity" in before:
        return [_alter(one, f"SET GENERATED {word}", Label.SAFE, "who gives its values")]
    column = names.name(leaf(one))
    sequence = scene.reference.identities.get((one.schema, one.name))
    out = [_alter(one, f"ADD {_identity(scene, one, after)}", Label.SAFE, "it counts by itself")]
    if sequence is not None:
        out.append(continued(one, names.name(*sequence[1:]), table(one), column))
    return out


def continued(one: Identity, sequence: str, of: str, column: str) -> FixStatement:
    """A sequence that is new to a column goes on after the column's greatest value."""
    text = block("drift_fix/sequence.sql", "continued")
    statement = names.filled(text, sequence=names.literal(sequence), column=column, table=of)
    return FixStatement(statement, Label.SAFE, (one,), "it goes on after the greatest value that is there")


def storage(owner: Identity, one: Identity, definition: Definition) -> list[FixStatement]:
    """SET STORAGE of a column of the new table ``owner``."""
    return [FixStatement(each.sql, each.label, (owner, one), each.why) for each in _storage(one, {}, definition)]


def _storage(one: Identity, before: Definition, after: Definition) -> list[FixStatement]:
    if before.get("storage") == after.get("storage"):
        return []
    wanted = str(after.get("storage") or casts.default_storage(str(after["type"])))
    return [_alter(one, f"SET STORAGE {wanted.upper()}", Label.SAFE, "how long values are stored, from now on")]


def set_default(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """SET DEFAULT, unless the column is made with it."""
    column = Identity("column", *one[1:])
    if scene.actions.get(column) in (Action.CREATE, Action.REBUILD) and not _comes_along(scene, column):
        return []
    expression = names.executable(str(definition["default"]))
    return [_alter(one, f"SET DEFAULT {expression}", Label.SAFE, "for new rows", only="ONLY ")]


def drop_default(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """DROP DEFAULT."""
    return [_alter(one, "DROP DEFAULT", Label.SAFE, "for new rows", only="ONLY ")]
