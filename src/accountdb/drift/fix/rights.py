"""Comments and grants, of every kind of object. Pure."""

from __future__ import annotations

from accountdb.drift.fix import names
from accountdb.drift.fix.deciding import Scene, leaf
from accountdb.drift.fix.model import FixStatement, Label, Left
from accountdb.drift.fix.parts import owned
from accountdb.drift.structure import GRANT, Definition, Identity, grantee

_ALONE = {
    "schema": "SCHEMA",
    "extension": "EXTENSION",
    "enum": "TYPE",
    "composite": "TYPE",
    "domain": "DOMAIN",
    "sequence": "SEQUENCE",
    "table": "TABLE",
    "view": "VIEW",
    "materialized_view": "MATERIALIZED VIEW",
    "statistics": "STATISTICS",
    "publication": "PUBLICATION",
}
_ON_TABLE = {"constraint": "CONSTRAINT", "trigger": "TRIGGER", "rule": "RULE", "policy": "POLICY"}
_BORN_WITH = {
    "enum": {f"{GRANT}PUBLIC": "USAGE"},
    "composite": {f"{GRANT}PUBLIC": "USAGE"},
    "domain": {f"{GRANT}PUBLIC": "USAGE"},
    "function": {f"{GRANT}PUBLIC": "EXECUTE"},
    "aggregate": {f"{GRANT}PUBLIC": "EXECUTE"},
}


def born(kind: str) -> Definition:
    """What PUBLIC may do with a new object of a kind."""
    return _BORN_WITH.get(kind, {})


def qualified(one: Identity) -> str:
    """An object's name as SQL, without the word for its kind."""
    return names.name(one.name) if one.schema == "" or one.kind == "schema" else names.name(one.schema, one.name)


def table(one: Identity) -> str:
    """The name of the table or view that a part belongs to."""
    return names.name(one.schema, (owned(one) or (one.name, ""))[0])


def phrase(one: Identity, definition: Definition) -> str:
    """What COMMENT ON is followed by."""
    if one.kind in _ALONE:
        return f"{_ALONE[one.kind]} {qualified(one)}"
    if one.kind in ("function", "aggregate"):
        return signature(one, definition)
    if one.kind == "column":
        return f"COLUMN {table(one)}.{names.name(leaf(one))}"
    if one.kind == "index":
        return f"INDEX {names.name(one.schema, leaf(one))}"
    return f"{_ON_TABLE[one.kind]} {names.name(leaf(one))} ON {table(one)}"


def signature(one: Identity, definition: Definition) -> str:
    """A routine with its argument types, as DROP and COMMENT ON take it."""
    found = names.routine(str(definition["definition"]), one.name)
    return f"{found.word} {names.name(found.schema, found.name)}({names.executable(found.arguments)})"


def dress(scene: Scene, one: Identity, before: Definition, after: Definition) -> tuple[list[FixStatement], list[Left]]:
    """Bring the comment and the grants of an object from ``before`` to ``after``."""
    out: list[FixStatement] = []
    if before.get("comment") != after.get("comment"):
        out.append(_comment(one, f"COMMENT ON {phrase(one, after)}", after.get("comment")))
    if before.get("index_comment") != after.get("index_comment"):
        on = f"COMMENT ON INDEX {names.name(one.schema, leaf(one))}"
        out.append(_comment(one, on, after.get("index_comment")))
    granted, left = _grants(scene, one, before, after)
    return out + granted, left


def _comment(one: Identity, on: str, text: object) -> FixStatement:
    value = "NULL" if text is None else names.literal(str(text))
    return FixStatement(f"{on} IS {value}", Label.SAFE, (one,), "its comment")


def _grants(
    scene: Scene, one: Identity, before: Definition, after: Definition
) -> tuple[list[FixStatement], list[Left]]:
    out: list[FixStatement] = []
    left: list[Left] = []
    keys = sorted(key for key in before.keys() | after.keys() if key.startswith(GRANT))
    revoked = []
    for key in keys:
        if before.get(key) == after.get(key):
            continue
        role = grantee(key)
        if role is not None and scene.facts.roles is not None and role not in scene.facts.roles:
            left.append(
                Left(one, f"there is no role {role} to grant anything to; make it (CREATE ROLE), then check again")
            )
            continue
        change = _change(one, after if after else before, role, _privileges(before, key), _privileges(after, key))
        revoked += [key] if any(each.sql.startswith("REVOKE") for each in change) else []
        out += change
    return out + (_columns_again(scene, one, revoked) if one.kind == "table" else []), left


def _privileges(definition: Definition, key: str) -> dict[str, bool]:
    """Each privilege with whether it may be granted on."""
    found = str(definition.get(key) or "").split(", ")
    return {word.rstrip("*"): word.endswith("*") for word in found if word}


def _change(
    one: Identity, definition: Definition, role: str | None, before: dict[str, bool], after: dict[str, bool]
) -> list[FixStatement]:
    who = "PUBLIC" if role is None else names.name(role)
    steps = (
        ("REVOKE ", [p for p in before if p not in after], f" FROM {who}"),
        ("REVOKE GRANT OPTION FOR ", [p for p in before if before[p] and p in after and not after[p]], f" FROM {who}"),
        ("GRANT ", [p for p in after if p not in before and not after[p]], f" TO {who}"),
        ("GRANT ", [p for p in after if after[p] and not before.get(p)], f" TO {who} WITH GRANT OPTION"),
    )
    return [
        FixStatement(f"{verb}{_on(one, definition, found)}{tail}", Label.SAFE, (one,), "who may use it")
        for verb, found, tail in steps
        if found
    ]


def _on(one: Identity, definition: Definition, privileges: list[str]) -> str:
    if one.kind == "column":
        listed = ", ".join(f"{privilege} ({names.name(leaf(one))})" for privilege in privileges)
        return f"{listed} ON TABLE {table(one)}"
    word = {"view": "TABLE", "materialized_view": "TABLE"}.get(one.kind, _ALONE.get(one.kind))
    if one.kind in ("function", "aggregate"):
        found = names.routine(str(definition["definition"]), one.name)
        arguments = "" if found.arguments == "*" else names.executable(found.arguments)
        kind = "PROCEDURE" if found.word == "PROCEDURE" else "FUNCTION"
        return f"{', '.join(privileges)} ON {kind} {names.name(found.schema, found.name)}({arguments})"
    return f"{', '.join(privileges)} ON {word} {qualified(one)}"


def _columns_again(scene: Scene, one: Identity, revoked: list[str]) -> list[FixStatement]:
    """REVOKE on a table takes the same right on each of its columns: those that stay are granted again."""
    out: list[FixStatement] = []
    for column in scene.reference.columns.get((one.schema, one.name), {}).values():
        definition = scene.reference.parts[column]
        for key in revoked:
            if key in definition and scene.target.parts.get(column, {}).get(key) == definition[key]:
                change = _change(column, definition, grantee(key), {}, _privileges(definition, key))
                out += [FixStatement(each.sql, each.label, (one, column), each.why) for each in change]
    return out
