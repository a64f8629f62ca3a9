"""The plan of a fix: every statement, labelled, in an order that works. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from accountdb.drift.compare import compare
from accountdb.drift.fix import columns, constraints, relations, routines, tables, types
from accountdb.drift.fix.deciding import GONE, MADE, Action, Scene
from accountdb.drift.fix.leaving import left_by_decision, left_kinds
from accountdb.drift.fix.model import Facts, Fix, FixStatement, Left
from accountdb.drift.fix.parts import ATTACHMENT, DEFAULT, MEMBER, OLD_TYPE, OWNERSHIP, RANK, REPLICA_IDENTITY, real
from accountdb.drift.fix.rights import born, dress
from accountdb.drift.fix.side import RELATIONS
from accountdb.drift.structure import Definition, Identity, Structure

_Write: TypeAlias = Callable[[Scene, Identity, Definition], list[FixStatement]]
_Alter: TypeAlias = Callable[[Scene, Identity, Definition, Definition], list[FixStatement]]

_CREATE: dict[str, _Write] = {
    "schema": types.create_schema,
    "extension": types.create_extension,
    "enum": types.create_enum,
    "composite": types.create_composite,
    "domain": types.create_domain,
    "sequence": types.create_sequence,
    OWNERSHIP: types.give,
    "function": routines.create,
    "aggregate": routines.create,
    "trigger": routines.create_trigger,
    "rule": routines.create_rule,
    "table": tables.create,
    ATTACHMENT: tables.attach,
    REPLICA_IDENTITY: tables.set_replica_identity,
    "column": columns.create,
    DEFAULT: columns.set_default,
    "constraint": constraints.create,
    "index": constraints.create_index,
    "statistics": constraints.create_statistics,
    "view": relations.create_view,
    "materialized_view": relations.create_materialized,
    "policy": relations.create_policy,
    "publication": relations.create_publication,
    MEMBER: relations.add_member,
}
_DROP: dict[str, _Write] = {
    "schema": types.drop_schema,
    "extension": types.drop_extension,
    "enum": types.set_aside,
    "composite": types.set_aside,
    "domain": types.set_aside,
    "sequence": types.drop_sequence,
    OWNERSHIP: types.take,
    "function": routines.drop,
    "aggregate": routines.drop,
    "trigger": routines.drop_trigger,
    "rule": routines.drop_rule,
    "table": tables.drop,
    ATTACHMENT: tables.detach,
    REPLICA_IDENTITY: tables.default_replica_identity,
    "column": columns.drop,
    DEFAULT: columns.drop_default,
    "constraint": constraints.drop,
    "index": constraints.drop_index,
    "statistics": constraints.drop_statistics,
    "view": relations.drop_view,
    "materialized_view": relations.drop_materialized,
    "policy": relations.drop_policy,
    "publication": relations.drop_publication,
    MEMBER: relations.drop_member,
}
_ALTER: dict[str, _Alter] = {
    "extension": types.alter_extension,
    "enum": types.alter_enum,
    "domain": types.alter_domain,
    "sequence": types.alter_sequence,
    OWNERSHIP: lambda scene, one, _, after: types.give(scene, one, after),
    "function": routines.alter,
    "trigger": routines.alter_trigger,
    "rule": routines.alter_rule,
    "table": tables.alter,
    REPLICA_IDENTITY: lambda scene, one, _, after: tables.set_replica_identity(scene, one, after),
    "column": columns.alter,
    DEFAULT: lambda scene, one, _, after: columns.set_default(scene, one, after),
    "constraint": constraints.alter,
    "view": relations.alter_view,
    "publication": relations.alter_publication,
}
_OWNED = frozenset(
    {
        *("schema", "enum", "composite", "domain", "sequence", "function", "aggregate"),
        *("table", "statistics", "view", "materialized_view", "publication"),
    }
)
"""The kinds whose objects have an owner of their own."""


def plan_fix(reference: Structure, target: Structure, facts: Facts | None = None) -> Fix:
    """What makes the structure ``target`` equal to ``reference``: no statement where they are equal.

    ``facts`` are what else is known of the target. Renames are never guessed: they are a drop and a
    create, with the rename as a suggestion. What cannot be mended by a statement is in ``left``.
    """
    scene = Scene(reference, target, facts or Facts())
    left = [*left_kinds(compare(reference, target)), *left_by_decision(scene)]
    drops = _written(scene, reversed(_in_order(scene.target.needs, scene.actions)), _drop)
    makes = _written(scene, _making_order(scene), _make)
    statements: list[FixStatement] = []
    for written, more in (drops, makes):
        statements += written
        left += more
    alone = [one for one in statements if one.alone]
    ordered = (*alone, *(one for one in statements if not one.alone))
    return Fix(ordered, tuple(_told(scene, left)), _needs(scene))


def _told(scene: Scene, left: Iterable[Left]) -> list[Left]:
    """Each once, named as the comparison names it."""
    parts = scene.target.parts | scene.reference.parts
    found = {(real(one.identity, parts), one.why): None for one in left}
    return [Left(identity, why) for identity, why in found]


def _written(
    scene: Scene, order: Iterable[Identity], write: Callable[[Scene, Identity], tuple[list[FixStatement], list[Left]]]
) -> tuple[list[FixStatement], list[Left]]:
    statements: list[FixStatement] = []
    left: list[Left] = []
    for one in order:
        written, more = write(scene, one)
        statements += written
        left += more
    return statements, left


def _drop(scene: Scene, one: Identity) -> tuple[list[FixStatement], list[Left]]:
    if scene.actions.get(one) not in GONE or scene.is_implicit(one) or one.kind not in _DROP:
        return [], []
    return _DROP[one.kind](scene, one, scene.target.parts[one]), []


def _make(scene: Scene, one: Identity) -> tuple[list[FixStatement], list[Left]]:
    action = scene.actions.get(one)
    if one.kind == OLD_TYPE:
        kind = next(k for k in ("enum", "domain") if scene.actions.get(Identity(k, *one[1:])) is Action.REBUILD)
        return types.drop_old(scene, one, Identity(kind, *one[1:])), []
    if action not in MADE or one.kind not in _CREATE:
        return [], []
    after = scene.reference.parts[one]
    if action is Action.ALTER:
        before = scene.target.parts[one]
        written = _ALTER[one.kind](scene, one, before, after) if one.kind in _ALTER else []
    else:
        before = born(one.kind)
        written = _CREATE[one.kind](scene, one, after)
        if one.kind in _OWNED and written:
            written = [replace(written[0], makes=True), *written[1:]]
    dressed, left = dress(scene, one, before, after)
    return written + dressed, left


def _making_order(scene: Scene) -> list[Identity]:
    """The parts of the reference, each after what it needs; old types when their columns have moved."""
    needs = {one: set(needed) for one, needed in scene.reference.needs.items()}
    for one, needed in scene.reference.needs.items():
        owner = scene.reference.owner(one) if one.kind in ("column", DEFAULT) else None
        if owner is not None and scene.actions.get(owner) in (Action.CREATE, Action.REBUILD):
            # A column of a new table is made with it: the table needs what its columns need.
            needs[owner] |= {part for part in needed if part.kind not in ("column", DEFAULT)} - {owner}
        if one.kind == ATTACHMENT and not scene.reference.is_partition((one.schema, one.name)):
            # CREATE TABLE ... INHERITS names the parents.
            mine = Identity("table", *one[1:])
            needs[mine] |= {part for part in needed if part.kind == "table"} - {mine}
    for one, action in scene.actions.items():
        if one.kind in ("enum", "domain") and action is Action.REBUILD:
            users = {part for part in scene.reference.needed_by.get(one, ()) if part in scene.actions}
            needs[Identity(OLD_TYPE, *one[1:])] = users | {one}
    return _in_order(needs, needs)


def _in_order(needs: Mapping[Identity, set[Identity]], wanted: Iterable[Identity]) -> list[Identity]:
    """The parts of ``needs`` that are ``wanted``, each after what it needs; the rest by kind and name.

    Where texts seem to need each other in a circle, kind and name decide.
    """
    waiting = {one: len(needed & needs.keys()) for one, needed in needs.items()}
    followers: dict[Identity, list[Identity]] = {}
    for one, needed in needs.items():
        for other in needed & needs.keys():
            followers.setdefault(other, []).append(one)
    ready = [(_rank(one), one) for one, count in waiting.items() if count == 0]
    heapq.heapify(ready)
    blocked = sorted(needs, key=lambda one: (_rank(one), one), reverse=True)
    order: list[Identity] = []
    done: set[Identity] = set()
    while len(order) < len(needs):
        one = heapq.heappop(ready)[1] if ready else blocked.pop()
        if one in done:
            continue
        done.add(one)
        order.append(one)
        for other in followers.get(one, ()):
            waiting[other] -= 1
            if waiting[other] == 0:
                heapq.heappush(ready, (_rank(other), other))
    chosen = set(wanted)
    return [one for one in order if one in chosen]


def _rank(one: Identity) -> int:
    return RANK.get(one.kind, len(RANK))


def _needs(scene: Scene) -> dict[Identity, frozenset[Identity]]:
    """For each part that is touched, the parts without which it cannot be."""
    out: dict[Identity, frozenset[Identity]] = {}
    for one, action in scene.actions.items():
        found: set[Identity] = set()
        if action in MADE:
            found |= {part for part in scene.reference.needs.get(one, ()) if part in scene.actions}
        found |= {part for part in scene.target.needed_by.get(one, ()) if scene.is_gone(part)}
        if one.kind in RELATIONS:
            # Its name may be that of another relation, which goes.
            found |= {part for part in scene.target.named.get((one.schema, one.name), ()) if scene.is_gone(part)} - {
                one
            }
        owner = scene.target.owner(one)
        if action is Action.DROP and owner is not None and scene.is_gone(owner):
            found.add(owner)
        carriers = {scene.carrier(part) if scene.is_gone(part) else part for part in found}
        out[one] = frozenset(carriers - {one})
    for one in scene.actions:
        if one.kind in ("enum", "domain"):
            old = Identity(OLD_TYPE, *one[1:])
            out[old] = frozenset({one, *(p for p in scene.target.needed_by.get(one, ()) if p in scene.actions)})
    return out
