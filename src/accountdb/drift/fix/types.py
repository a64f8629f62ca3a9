"""Schemas, extensions, enums, domains, composite types and sequences. Pure."""

from __future__ import annotations

from accountdb.drift.fix import columns, names
from accountdb.drift.fix.deciding import Action, Scene, labels
from accountdb.drift.fix.model import FixStatement, Label
from accountdb.drift.fix.rights import qualified, table
from accountdb.drift.structure import Definition, Identity

_CHECK = "check "


def create_schema(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """CREATE SCHEMA."""
    return [FixStatement(f"CREATE SCHEMA {qualified(one)}", Label.SAFE, (one,), "a new schema")]


def drop_schema(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """DROP SCHEMA, without CASCADE: what is in it and is not compared keeps it."""
    why = "fails while something is in it that is not compared"
    return [FixStatement(f"DROP SCHEMA {qualified(one)}", Label.SAFE, (one,), why)]


def create_extension(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """CREATE EXTENSION in its schema and version."""
    schema = str(definition["schema"])
    # One that names its own schema makes it; any other that is not compared must be there first.
    known = schema == "pg_catalog" or Identity("schema", schema, schema) in scene.reference.parts
    own = schema == one.name and not known
    # Between major versions, which ship other ones, the version is not compared.
    version = f" VERSION {names.literal(str(definition['version']))}" if "version" in definition else ""
    sql = f"CREATE EXTENSION {qualified(one)}{'' if own else f' SCHEMA {names.name(schema)}'}{version}"
    out = [FixStatement(sql, Label.SAFE, (one,), "may need an administrator", superuser=True)]
    if not known and not own:
        sql = f"CREATE SCHEMA IF NOT EXISTS {names.name(schema)}"
        out.insert(0, FixStatement(sql, Label.SAFE, (one,), "for the extension below", superuser=True))
    return out


def drop_extension(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """DROP EXTENSION, without CASCADE."""
    why = "with what it keeps in tables of its own"
    return [FixStatement(f"DROP EXTENSION {qualified(one)}", Label.LOSES, (one,), why, superuser=True)]


def alter_extension(scene: Scene, one: Identity, before: Definition, after: Definition) -> list[FixStatement]:
    """Its version and its schema."""
    out = []
    if "version" in after and before.get("version") != after["version"]:
        sql = f"ALTER EXTENSION {qualified(one)} UPDATE TO {names.literal(str(after['version']))}"
        out.append(FixStatement(sql, Label.LOCKS, (one,), "fails where its package has no such step", superuser=True))
    if before.get("schema") != after.get("schema"):
        sql = f"ALTER EXTENSION {qualified(one)} SET SCHEMA {names.name(str(after['schema']))}"
        out.append(FixStatement(sql, Label.SAFE, (one,), "where it is", superuser=True))
    return out


def create_enum(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """CREATE TYPE ... AS ENUM."""
    listed = ", ".join(names.literal(label) for label in labels(definition))
    return [FixStatement(f"CREATE TYPE {qualified(one)} AS ENUM ({listed})", Label.SAFE, (one,), "a new type")]


def alter_enum(scene: Scene, one: Identity, before: Definition, after: Definition) -> list[FixStatement]:
    """ADD VALUE for labels that were only added, each in its place."""
    have, out = labels(before), []
    wanted = labels(after)
    for at, label in enumerate(wanted):
        if label in have:
            continue
        place = f" AFTER {names.literal(wanted[at - 1])}" if at else f" BEFORE {names.literal(have[0])}" if have else ""
        sql = f"ALTER TYPE {qualified(one)} ADD VALUE IF NOT EXISTS {names.literal(label)}{place}"
        out.append(
            FixStatement(sql, Label.SAFE, (one,), "commits by itself: a new value is not usable before", alone=True)
        )
        have.insert(at, label)
    return out


def old_name(scene: Scene, one: Identity) -> str:
    """The name of a type for the moment in which its columns move to the new one."""
    taken = {part.name for part in (*scene.target.parts, *scene.reference.parts) if part.schema == one.schema}
    stem = one.name.encode()[:50].decode(errors="ignore")
    return next(name for n in range(1, 10_000) if (name := f"{stem}_old{n}") not in taken)


def set_aside(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """DROP TYPE or DOMAIN; of one that is made again only the name goes, until its columns have moved."""
    word = "DOMAIN" if one.kind == "domain" else "TYPE"
    if scene.actions[one] is Action.DROP or one.kind == "composite":
        return [FixStatement(f"DROP {word} {qualified(one)}", Label.SAFE, (one,), "no column has it any more")]
    sql = f"ALTER {word} {qualified(one)} RENAME TO {names.name(old_name(scene, one))}"
    return [FixStatement(sql, Label.SAFE, (one,), "its columns move to the new type below")]


def drop_old(scene: Scene, one: Identity, real: Identity) -> list[FixStatement]:
    """DROP of what ``set_aside`` renamed."""
    word = "DOMAIN" if real.kind == "domain" else "TYPE"
    sql = f"DROP {word} {names.name(one.schema, old_name(scene, real))}"
    return [FixStatement(sql, Label.SAFE, (one,), "all columns have moved")]


def create_domain(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """CREATE DOMAIN with its checks."""
    words = [f"CREATE DOMAIN {qualified(one)} AS {names.executable(str(definition['type']))}"]
    if "collation" in definition:
        words.append(f"COLLATE {definition['collation']}")
    if "default" in definition:
        words.append(f"DEFAULT {names.executable(str(definition['default']))}")
    if definition.get("not_null") is True:
        words.append("NOT NULL")
    checks = {key: str(value) for key, value in definition.items() if key.startswith(_CHECK)}
    now = {key: value for key, value in checks.items() if not value.endswith(" NOT VALID")}
    words += [f"CONSTRAINT {names.name(key[len(_CHECK) :])} {names.executable(value)}" for key, value in now.items()]
    out = [FixStatement(" ".join(words), Label.SAFE, (one,), "a new type")]
    return out + [_add_check(one, key, value) for key, value in checks.items() if key not in now]


def _add_check(one: Identity, key: str, value: str) -> FixStatement:
    sql = f"ALTER DOMAIN {qualified(one)} ADD CONSTRAINT {names.name(key[len(_CHECK) :])} {names.executable(value)}"
    late = value.endswith(" NOT VALID")
    why = "for new values" if late else "reads every row that has it; fails while one does not fit"
    return FixStatement(sql, Label.SAFE if late else Label.LOCKS, (one,), why)


def alter_domain(scene: Scene, one: Identity, before: Definition, after: Definition) -> list[FixStatement]:
    """Its default, NOT NULL and checks."""
    on = f"ALTER DOMAIN {qualified(one)}"
    checks = sorted(key for key in before.keys() | after.keys() if key.startswith(_CHECK))
    differing = [key for key in checks if before.get(key) != after.get(key)]
    dropped = [key for key in differing if key in before]
    out = [
        FixStatement(
            f"{on} DROP CONSTRAINT {names.name(key[len(_CHECK) :])}", Label.SAFE, (one,), "values are no longer checked"
        )
        for key in dropped
    ]
    default = after.get("default")
    # Said again after a dropped check, which alone leaves a transaction in a state in which newer servers
    # refuse savepoints ("unprocessed inval messages").
    if before.get("default") != default or dropped:
        what = "DROP DEFAULT" if default is None else f"SET DEFAULT {names.executable(str(default))}"
        out.append(FixStatement(f"{on} {what}", Label.SAFE, (one,), "for new rows"))
    if before.get("not_null") != after.get("not_null"):
        word, label = ("SET", Label.LOCKS) if after.get("not_null") is True else ("DROP", Label.SAFE)
        why = "reads every row that has it" if word == "SET" else "it may be empty"
        out.append(FixStatement(f"{on} {word} NOT NULL", label, (one,), why))
    return out + [_add_check(one, key, str(after[key])) for key in differing if key in after]


def create_composite(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """CREATE TYPE ... AS (attributes)."""
    text = names.executable(str(definition["definition"]))
    return [FixStatement(f"CREATE TYPE {qualified(one)} AS ({text})", Label.SAFE, (one,), "a new type")]


def create_sequence(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """CREATE SEQUENCE; that of an identity column is made with the column."""
    if "identity" in definition:
        return []
    sql = f"CREATE SEQUENCE {qualified(one)} AS {definition['type']} {columns.counting(definition)}"
    return [FixStatement(sql, Label.SAFE, (one,), "a new sequence")]


def drop_sequence(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """DROP SEQUENCE; that of an identity column goes with DROP IDENTITY."""
    if "identity" in definition:
        return []
    return [FixStatement(f"DROP SEQUENCE {qualified(one)}", Label.LOSES, (one,), "its count goes")]


def alter_sequence(scene: Scene, one: Identity, before: Definition, after: Definition) -> list[FixStatement]:
    """How it counts; never where it stands."""
    keys = ("type", "increment", "minimum", "maximum", "start", "cache", "cycle")
    if all(before.get(key) == after.get(key) for key in keys):
        return []
    kind = f"AS {after['type']} " if before.get("type") != after.get("type") else ""
    why = "how it counts, not where it stands"
    return [FixStatement(f"ALTER SEQUENCE {qualified(one)} {kind}{columns.counting(after)}", Label.SAFE, (one,), why)]


def give(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """OWNED BY; a new sequence goes on after the greatest value of a column that was there."""
    column = scene.reference.column_named(one.schema, str(definition["owned_by"]))
    if column is None:
        return []
    of, own = table(column), names.name(column.leaf)
    out = [
        FixStatement(
            f"ALTER SEQUENCE {qualified(one)} OWNED BY {of}.{own}", Label.SAFE, (one,), "it goes with that column"
        )
    ]
    kept = column in scene.target.parts and scene.actions.get(column) not in (Action.CREATE, Action.REBUILD)
    if kept and scene.actions.get(Identity("sequence", *one[1:])) is Action.CREATE:
        out.append(columns.continued(one, qualified(one), of, own))
    return out


def take(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """OWNED BY NONE, so that it does not go with its column."""
    return [
        FixStatement(
            f"ALTER SEQUENCE {qualified(one)} OWNED BY NONE", Label.SAFE, (one,), "it stays without the column"
        )
    ]
