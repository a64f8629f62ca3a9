"""Tables, their place under other tables, row security, replica identity. Pure."""

from __future__ import annotations

from accountdb.drift.fix import columns, names
from accountdb.drift.fix.deciding import Action, Scene
from accountdb.drift.fix.model import FixStatement, Label
from accountdb.drift.fix.parts import ATTACHMENT
from accountdb.drift.fix.rights import qualified
from accountdb.drift.structure import Definition, Identity
from accountdb.sql import block


def create(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """CREATE TABLE with its columns. A partition is attached later, by itself."""
    pair = (one.schema, one.name)
    place = scene.reference.parts.get(Identity(ATTACHMENT, *pair), {})
    heirs = "parents" in place and "partition_bound" not in place
    own = [
        columns.described(scene, column, scene.reference.parts[column])
        for column in scene.reference.columns.get(pair, {}).values()
        if not (heirs and _as_parent(scene, column))
    ]
    unlogged = "UNLOGGED " if definition.get("persistence") == "unlogged" else ""
    tail = f" INHERITS ({place['parents']})" if heirs else ""
    if "partition_key" in definition:
        tail += f" PARTITION BY {names.executable(str(definition['partition_key']))}"
    listed = ",\n    ".join(own)
    body = f"(\n    {listed}\n)" if own else "()"
    renamed = _renamed(scene, one)
    return [
        FixStatement(
            f"CREATE {unlogged}TABLE {qualified(one)} {body}{tail}", Label.SAFE, (one,), f"a new table{renamed}"
        ),
        *_security(one, {}, definition),
        *(
            statement
            for column in scene.reference.columns.get(pair, {}).values()
            for statement in columns.storage(one, column, scene.reference.parts[column])
        ),
    ]


def _as_parent(scene: Scene, column: Identity) -> bool:
    """Whether a column is just what the parent gives."""
    side = scene.reference
    mine = side.parts[column], side.parts.get(Identity("default", *column[1:]))
    return any((side.parts[p], side.parts.get(Identity("default", *p[1:]))) == mine for p in side.inherited(column))


def _renamed(scene: Scene, one: Identity) -> str:
    """A suggestion, where a table with the same columns goes as this one comes."""
    mine = {
        name: scene.reference.parts[c].get("type")
        for name, c in scene.reference.columns.get((one.schema, one.name), {}).items()
    }
    for found, action in scene.actions.items():
        same = scene.target.parts.get(found, {}).get("form") == scene.reference.parts[one].get("form")
        if found.kind == "table" and action is Action.DROP and found.schema == one.schema and same:
            theirs = scene.target.columns.get((found.schema, found.name), {})
            if mine and mine == {name: scene.target.parts[c].get("type") for name, c in theirs.items()}:
                new = names.name(one.name)
                return (
                    f"; if it is {found.name} under a new name, run instead of this and of its DROP:"
                    f" ALTER TABLE {qualified(found)} RENAME TO {new}"
                )
    return ""


def drop(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """DROP TABLE: with zero rows too it loses data, for nobody looked."""
    if definition["form"] == "partitioned table":
        # Its rows are in its partitions, which are dropped or detached by statements of their own.
        return [FixStatement(f"DROP TABLE {qualified(one)}", Label.LOSES, (one,), "with the partitions that are left")]
    return [FixStatement(f"DROP TABLE {qualified(one)}", Label.LOSES, (one,), "its rows go")]


def alter(scene: Scene, one: Identity, before: Definition, after: Definition) -> list[FixStatement]:
    """Persistence and row security."""
    out = []
    if before.get("persistence") != after.get("persistence"):
        word = "UNLOGGED" if after["persistence"] == "unlogged" else "LOGGED"
        why = "a crash empties an unlogged table" if word == "UNLOGGED" else "it survives a crash from now on"
        out.append(FixStatement(f"ALTER TABLE {qualified(one)} SET {word}", Label.REWRITES, (one,), why))
    return out + _security(one, before, after)


def _security(one: Identity, before: Definition, after: Definition) -> list[FixStatement]:
    old, new = str(before.get("row_security", "")), str(after.get("row_security", ""))
    words = {
        "enabled": ("ENABLE ROW LEVEL SECURITY", "DISABLE ROW LEVEL SECURITY"),
        "forced": ("FORCE ROW LEVEL SECURITY", "NO FORCE ROW LEVEL SECURITY"),
    }
    return [
        FixStatement(
            f"ALTER TABLE {qualified(one)} {on if key in new else off}", Label.SAFE, (one,), "who sees which rows"
        )
        for key, (on, off) in words.items()
        if (key in old) != (key in new)
    ]


def attach(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """Put a table under its parents; CREATE TABLE ... INHERITS has done it for a new heir."""
    above = names.pairs_in_order(str(definition.get("parents", "")))
    parents = [names.name(*pair) for pair in above]
    mine = qualified(one)
    if "partition_bound" in definition:
        bound = names.executable(str(definition["partition_bound"]))
        why = "reads its rows, unless a check says that they belong there"
        new = all(
            scene.actions.get(Identity("table", *pair)) is Action.CREATE for pair in ((one.schema, one.name), *above)
        )
        label = Label.SAFE if new else Label.LOCKS
        return [FixStatement(f"ALTER TABLE {parents[0]} ATTACH PARTITION {mine} {bound}", label, (one,), why)]
    if scene.actions.get(Identity("table", *one[1:])) in (Action.CREATE, Action.REBUILD):
        return []
    return [
        FixStatement(f"ALTER TABLE {mine} INHERIT {parent}", Label.LOCKS, (one,), "queries of the parent see its rows")
        for parent in parents
    ]


def detach(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """Take a table from under its parents; its rows stay in it."""
    parents = [names.name(*pair) for pair in names.pairs_in_order(str(definition.get("parents", "")))]
    mine, why = qualified(one), "its rows stay in it; queries of the parent no longer see them"
    if "partition_bound" not in definition:
        return [FixStatement(f"ALTER TABLE {mine} NO INHERIT {each}", Label.LOCKS, (one,), why) for each in parents]
    out = [FixStatement(f"ALTER TABLE {parents[0]} DETACH PARTITION {mine}", Label.LOCKS, (one,), why)]
    above = (
        part for pair in scene.target.parents[one.schema, one.name] for part in scene.target.belongings.get(pair, ())
    )
    if scene.actions[one] is not Action.REBUILD or any(
        part.kind == "constraint" and scene.is_gone(part) for part in above
    ):
        out.append(_without_copies(scene, one))
    return out


def _without_copies(scene: Scene, one: Identity) -> FixStatement:
    """What a partition had of its parent's keys stays as keys of its own, under names that no structure knows."""
    own = [part for part in scene.target.belongings.get((one.schema, one.name), ()) if part.kind == "constraint"]
    kept = ", ".join(names.literal(each.leaf) for each in own)
    text = block("drift_fix/detach.sql", "without_copies")
    return FixStatement(
        names.filled(text, table=names.literal(qualified(one)), kept=kept),
        Label.LOCKS,
        (one,),
        "the keys that it had of its parent go",
    )


def set_replica_identity(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """What UPDATE and DELETE tell the other region of the old row."""
    found = str(definition["replica_identity"])
    word = f"USING INDEX {names.name(found[6:])}" if found.startswith("index ") else found.upper()
    return [_identity(one, word)]


def default_replica_identity(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """Back to the primary key."""
    return [_identity(one, "DEFAULT")]


def _identity(one: Identity, word: str) -> FixStatement:
    why = "how replication finds the row that was changed"
    return FixStatement(f"ALTER TABLE {qualified(one)} REPLICA IDENTITY {word}", Label.SAFE, (one,), why)
