"""What no statement of a fix mends, and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from accountdb.drift.compare import Drift
from accountdb.drift.fix import columns, names, relations
from accountdb.drift.fix.deciding import MADE, Action, Scene
from accountdb.drift.fix.model import Left
from accountdb.drift.fix.parts import RANK
from accountdb.drift.structure import Identity

_ELSEWHERE = {
    "subscription": "not fixed here: migratectl region join makes it, region resume and pause switch it",
    "replication_set": "not fixed here: migratectl table add and remove change it, region join makes it",
    "guard": "not fixed here: migratectl init installs guards",
    "row_contract": "not fixed here: migratectl table add brings a table under the row contract",
    "parameter": "not fixed here: a parameter of the server; its administrator sets it",
}
_REFERENCE = "the reference itself is not in order there"


def left_kinds(drifts: Iterable[Drift]) -> Iterator[Left]:
    """What belongs to other commands."""
    for drift in drifts:
        if drift.kind not in RANK:
            yield Left(
                drift.identity, _ELSEWHERE.get(drift.kind, "not fixed here: no statement is known for this kind")
            )


def left_by_decision(scene: Scene) -> Iterator[Left]:
    """What the plan does not do, and what it takes out of ``scene.actions`` for that reason."""
    for one, action in list(scene.actions.items()):
        if action not in MADE:
            continue
        after = scene.reference.parts[one]
        why = _why(scene, one)
        if why is not None:
            del scene.actions[one]
            scene.retyped.discard(one)
            yield Left(one, why)
        elif one.kind == "column" and action is Action.CREATE and columns.needs_values(scene, one):
            yield Left(
                one,
                "NOT NULL: rows that are there have no value yet; the fix adds the column, fill it, then check again",
            )
        elif one.kind == "constraint" and after.get("mode", "O") != "O":
            yield Left(
                one,
                f"{_REFERENCE}: a foreign key is switched off (DISABLE TRIGGER ALL, by a superuser);"
                f" ALTER TABLE {names.name(one.schema, one.owner or '')} ENABLE TRIGGER ALL switches it on",
            )
        elif after.get("valid") is False or after.get("index_valid") is False:
            yield Left(one, f"{_REFERENCE}: its index is not valid; REINDEX INDEX mends it")


def _why(scene: Scene, one: Identity) -> str | None:
    if one.kind == "policy":
        return _lacking_role(scene, one)
    if one.kind == "extension" and scene.actions[one] is Action.CREATE:
        known = scene.facts.extensions
        missing = known is not None and one.name not in known
        return f"the server has no extension {one.name}; its administrator installs the package" if missing else None
    if one.kind == "composite" and scene.actions[one] is Action.REBUILD:
        return _stored(scene, one)
    if one.kind == "column" and one in scene.retyped:
        return _in_partition_key(scene, one)
    return None


def _lacking_role(scene: Scene, one: Identity) -> str | None:
    roles = scene.facts.roles
    lacking = [role for role in relations.roles(scene.reference.parts[one]) if roles is not None and role not in roles]
    return f"there is no role {', '.join(lacking)} for it; make it (CREATE ROLE), then check again" if lacking else None


def _stored(scene: Scene, one: Identity) -> str | None:
    users = [c for c in scene.target.needed_by.get(one, ()) if c.kind == "column" and not scene.is_gone(c)]
    if not users:
        return None
    return f"column {users[0].schema}.{users[0].name} stores it; move its values to a column of another type first"


def _in_partition_key(scene: Scene, one: Identity) -> str | None:
    owner = scene.target.owner(one)
    key = str(scene.target.parts[owner].get("partition_key", "")) if owner is not None else ""
    if owner is None or scene.is_gone(owner) or one.leaf not in names.references(key).words:
        return None
    return f"its table is partitioned by it ({key}), and the server does not change the type of such a column"
