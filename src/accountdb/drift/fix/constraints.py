"""Constraints, indexes and extended statistics. Pure."""

from __future__ import annotations

import re

from accountdb.drift.fix import names
from accountdb.drift.fix.deciding import Action, Scene, leaf
from accountdb.drift.fix.model import FixStatement, Label
from accountdb.drift.fix.parts import ATTACHMENT, owned
from accountdb.drift.fix.rights import qualified, table
from accountdb.drift.structure import Definition, Identity

_ONLY = re.compile(r" ON ONLY ")
_DEFERRABLE = re.compile(r"(?: NOT)? DEFERRABLE(?: INITIALLY (?:DEFERRED|IMMEDIATE))?$")


def create(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """ADD CONSTRAINT, unless the parent's brings it."""
    if _from_parent(scene, one, scene.reference.counterparts(one, scene.reference.parents.get(_table(one), ()))):
        return []
    text = names.executable(str(definition["definition"]))
    later = "" if definition.get("validated") is not False else " NOT VALID"
    existing = Identity("table", *_table(one)) in scene.target.parts
    why = "reads every row; fails while one does not fit"
    if text.startswith(("PRIMARY", "UNIQUE", "EXCLUDE")):
        why = "builds an index; fails while two rows collide"
    elif text.startswith("FOREIGN"):
        why = "reads every row, locks both tables; fails while a row has no parent"
    if later:
        why = "for new rows; those that are there are not read"
    label = Label.LOCKS if existing and not later else Label.SAFE
    return [
        FixStatement(
            f"ALTER TABLE {table(one)} ADD CONSTRAINT {names.name(leaf(one))} {text}{later}", label, (one,), why
        )
    ]


def drop(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """DROP CONSTRAINT. A child's goes with its parent's, unless the child has it of its own too."""
    parents = scene.target.counterparts(one, scene.target.parents.get(_table(one), ()))
    maybe = "IF EXISTS " if any(scene.is_gone(parent) for parent in parents) else ""
    return [
        FixStatement(
            f"ALTER TABLE {table(one)} DROP CONSTRAINT {maybe}{names.name(leaf(one))}",
            Label.LOCKS,
            (one,),
            "rows are no longer checked" if scene.actions.get(one) is Action.DROP else "it is made again below",
        )
    ]


def alter(scene: Scene, one: Identity, before: Definition, after: Definition) -> list[FixStatement]:
    """Validation, and when a foreign key is checked."""
    out = []
    on = f"ALTER TABLE {table(one)}"
    if before.get("validated") is False and after.get("validated") is True:
        sql = f"{on} VALIDATE CONSTRAINT {names.name(leaf(one))}"
        out.append(
            FixStatement(sql, Label.SAFE, (one,), "reads every row while writers go on; fails while one does not fit")
        )
    if before["definition"] != after["definition"]:
        found = _DEFERRABLE.search(str(after["definition"]))
        when = found.group().strip() if found else "NOT DEFERRABLE"
        sql = f"{on} ALTER CONSTRAINT {names.name(leaf(one))} {when}"
        out.append(FixStatement(sql, Label.LOCKS, (one,), "when it is checked"))
    return out


def _table(one: Identity) -> tuple[str, str]:
    return (one.schema, (owned(one) or ("", ""))[0])


def _from_parent(scene: Scene, one: Identity, parents: list[Identity]) -> bool:
    """Whether the table is attached all the while, and the parent gets the same."""
    attachment = Identity(ATTACHMENT, *_table(one))
    if scene.actions.get(Identity("table", *_table(one))) in (Action.CREATE, Action.REBUILD):
        # CREATE TABLE ... INHERITS brings what stands on the parent by then; a partition is attached later.
        return bool(parents) and not scene.reference.is_partition(_table(one))
    made = [parent for parent in parents if scene.actions.get(parent) in (Action.CREATE, Action.REBUILD)]
    return bool(made) and attachment not in scene.actions


def create_index(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """CREATE INDEX. That of a partitioned table takes in what its partitions have already."""
    text = names.executable(str(definition["definition"]))
    owner = scene.reference.owner(one)
    partitioned = owner is not None and scene.reference.parts[owner].get("form") == "partitioned table"
    text = _ONLY.sub(" ON ", text, count=1) if partitioned else text
    existing = owner in scene.target.parts and owner is not None and scene.actions.get(owner) is not Action.REBUILD
    why = "writers wait while it is built" + ("; fails while two rows collide" if "UNIQUE" in text[:20] else "")
    out = [FixStatement(text, Label.LOCKS if existing else Label.SAFE, (one,), why)]
    # A table that is attached later brings its matching indexes with it.
    above = _kept_parent(scene, definition) if Identity(ATTACHMENT, *_table(one)) not in scene.actions else None
    if above is not None:
        mine = names.name(one.schema, leaf(one))
        sql = f"ALTER INDEX {above} ATTACH PARTITION {mine}"
        out.append(FixStatement(sql, Label.SAFE, (one,), "it serves the index of the partitioned table"))
    return out


def _kept_parent(scene: Scene, definition: Definition) -> str | None:
    """The parent's index that is there and stays, when this one has to be attached to it by name."""
    for pair in names.pairs_in_order(str(definition.get("parent", ""))):
        for found in scene.target.leaves.get(pair, ()):
            if found not in scene.actions:
                return names.name(*pair)
    return None


def drop_index(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """DROP INDEX; loses nothing. A partition's goes with that of the partitioned table."""
    above = [
        f for pair in names.pairs_in_order(str(definition.get("parent", ""))) for f in scene.target.leaves.get(pair, ())
    ]
    maybe = "IF EXISTS " if any(scene.is_gone(found) for found in above) else ""
    why = "queries that used it read more" if scene.actions.get(one) is Action.DROP else "it is made again below"
    return [FixStatement(f"DROP INDEX {maybe}{names.name(one.schema, leaf(one))}", Label.LOCKS, (one,), why)]


def create_statistics(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """CREATE STATISTICS; ANALYZE fills them."""
    return [FixStatement(names.executable(str(definition["definition"])), Label.SAFE, (one,), "ANALYZE fills it")]


def drop_statistics(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """DROP STATISTICS."""
    return [FixStatement(f"DROP STATISTICS {qualified(one)}", Label.SAFE, (one,), "the planner estimates without it")]
