"""Functions, procedures, aggregates, triggers and rules. Pure."""

from __future__ import annotations

from accountdb.drift.fix import names
from accountdb.drift.fix.deciding import Action, Scene, leaf
from accountdb.drift.fix.model import FixStatement, Label
from accountdb.drift.fix.parts import owned
from accountdb.drift.fix.rights import signature, table
from accountdb.drift.structure import Definition, Identity

_MODES = {"O": "ENABLE", "D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}


def create(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """CREATE (OR REPLACE) FUNCTION, PROCEDURE or AGGREGATE, as the server writes it."""
    text = names.executable(str(definition["definition"])).rstrip()
    why = "its callers get it from their next statement on" if one in scene.target.parts else "a new function"
    return [FixStatement(text, Label.SAFE, (one,), why)]


def drop(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """DROP FUNCTION, PROCEDURE or AGGREGATE."""
    final = scene.actions.get(one) is Action.DROP
    why = "callers that no structure names would fail" if final else "its arguments or its result change"
    return [FixStatement(f"DROP {signature(one, definition)}", Label.SAFE, (one,), why)]


def alter(scene: Scene, one: Identity, before: Definition, after: Definition) -> list[FixStatement]:
    """CREATE OR REPLACE, where the definition differs."""
    return create(scene, one, after) if before["definition"] != after["definition"] else []


def create_trigger(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """CREATE TRIGGER and its mode; a partition has its copy from its parent."""
    mode = str(definition["mode"])
    parents = scene.reference.counterparts(one, scene.reference.parents.get(_table(one), ()))
    if parents and " FOR EACH ROW " in str(definition["definition"]):
        inherited = scene.reference.parts[parents[0]]["mode"]
        return [] if mode == inherited else [_mode(one, "TRIGGER", mode)]
    text = names.executable(str(definition["definition"]))
    out = [FixStatement(text, Label.SAFE, (one,), "from the next statement of every session on")]
    return out if mode == "O" else [*out, _mode(one, "TRIGGER", mode)]


def drop_trigger(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """DROP TRIGGER; a partition's copy goes with that of its parent, or when it is detached."""
    parents = scene.target.counterparts(one, scene.target.parents.get(_table(one), ()))
    if parents and " FOR EACH ROW " in str(definition["definition"]):
        return []
    sql = f"DROP TRIGGER {names.name(leaf(one))} ON {table(one)}"
    return [
        FixStatement(
            sql, Label.SAFE, (one,), "what it did is no longer done" if _final(scene, one) else "made again below"
        )
    ]


def alter_trigger(scene: Scene, one: Identity, before: Definition, after: Definition) -> list[FixStatement]:
    """When it fires: for users, for replication, always, never."""
    return [] if before["mode"] == after["mode"] else [_mode(one, "TRIGGER", str(after["mode"]))]


def _mode(one: Identity, word: str, mode: str) -> FixStatement:
    sql = f"ALTER TABLE ONLY {table(one)} {_MODES[mode]} {word} {names.name(leaf(one))}"
    return FixStatement(sql, Label.SAFE, (one,), "when it fires: for users, for replication, always, never")


def _final(scene: Scene, one: Identity) -> bool:
    return scene.actions.get(one) is Action.DROP


def _table(one: Identity) -> tuple[str, str]:
    return (one.schema, (owned(one) or ("", ""))[0])


def create_rule(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """CREATE RULE and its mode."""
    text = names.executable(str(definition["definition"])).rstrip().rstrip(";")
    out = [FixStatement(text, Label.SAFE, (one,), "from the next statement of every session on")]
    mode = str(definition.get("mode", "O"))
    return out if mode == "O" else [*out, _mode(one, "RULE", mode)]


def drop_rule(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """DROP RULE."""
    sql = f"DROP RULE {names.name(leaf(one))} ON {table(one)}"
    return [
        FixStatement(
            sql, Label.SAFE, (one,), "what it did is no longer done" if _final(scene, one) else "made again below"
        )
    ]


def alter_rule(scene: Scene, one: Identity, before: Definition, after: Definition) -> list[FixStatement]:
    """When it acts."""
    return [] if before["mode"] == after["mode"] else [_mode(one, "RULE", str(after["mode"]))]
