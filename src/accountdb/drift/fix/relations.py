"""Views, materialised views, policies and publications. Pure."""

from __future__ import annotations

from accountdb.drift.fix import names
from accountdb.drift.fix.deciding import Action, Scene, leaf
from accountdb.drift.fix.model import FixStatement, Label
from accountdb.drift.fix.queries import runnable
from accountdb.drift.fix.rights import qualified, table
from accountdb.drift.structure import Definition, Identity


def create_view(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """CREATE VIEW with its options."""
    options = f" WITH ({definition['options']})" if "options" in definition else ""
    sql = f"CREATE VIEW {qualified(one)}{options} AS\n{_query(scene, one, definition)}"
    return [FixStatement(sql, Label.SAFE, (one,), "a view holds no rows")]


def _query(scene: Scene, one: Identity, definition: Definition) -> str:
    as_read = scene.facts.queries.get(one)
    if as_read is not None:
        return as_read.strip().rstrip(";")
    schemas = {one.name for one in scene.reference.parts if one.kind == "schema"}
    return runnable(str(definition["definition"]), schemas)


def drop_view(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """DROP VIEW."""
    why = "a view holds no rows" if scene.actions.get(one) is Action.DROP else "made again below"
    return [FixStatement(f"DROP VIEW {qualified(one)}", Label.SAFE, (one,), why)]


def alter_view(scene: Scene, one: Identity, before: Definition, after: Definition) -> list[FixStatement]:
    """Its options."""
    old, new = _options(before), _options(after)
    out = []
    gone = [key for key in old if key not in new]
    if gone:
        sql = f"ALTER VIEW {qualified(one)} RESET ({', '.join(gone)})"
        out.append(FixStatement(sql, Label.SAFE, (one,), "its options"))
    changed = [f"{key}={value}" for key, value in new.items() if old.get(key) != value]
    if changed:
        sql = f"ALTER VIEW {qualified(one)} SET ({', '.join(changed)})"
        out.append(FixStatement(sql, Label.SAFE, (one,), "its options"))
    return out


def _options(definition: Definition) -> dict[str, str]:
    listed = str(definition.get("options") or "")
    return dict(option.split("=", 1) for option in listed.split(", ") if "=" in option)


def create_materialized(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """CREATE MATERIALIZED VIEW, filled."""
    sql = f"CREATE MATERIALIZED VIEW {qualified(one)} AS\n{_query(scene, one, definition)}"
    label = Label.REWRITES if one in scene.target.parts else Label.SAFE
    return [FixStatement(sql, label, (one,), "computed from what the tables hold now")]


def drop_materialized(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """DROP MATERIALIZED VIEW: what it holds can be computed again."""
    sql = f"DROP MATERIALIZED VIEW {qualified(one)}"
    return [FixStatement(sql, Label.LOCKS, (one,), "its rows come from tables that stay")]


def create_policy(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """CREATE POLICY."""
    words = [
        f"CREATE POLICY {names.name(leaf(one))} ON {table(one)}",
        f"AS {'PERMISSIVE' if definition['permissive'] else 'RESTRICTIVE'} FOR {definition['command']}",
        f"TO {names.executable(str(definition['roles']))}",
    ]
    if "using" in definition:
        words.append(f"USING ({names.executable(str(definition['using']))})")
    if "check" in definition:
        words.append(f"WITH CHECK ({names.executable(str(definition['check']))})")
    return [FixStatement(" ".join(words), Label.SAFE, (one,), "who sees and writes which rows")]


def drop_policy(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """DROP POLICY."""
    sql = f"DROP POLICY {names.name(leaf(one))} ON {table(one)}"
    return [FixStatement(sql, Label.SAFE, (one,), "who sees and writes which rows")]


def roles(definition: Definition) -> list[str]:
    """The roles that a policy names."""
    found = names.loud(str(definition["roles"]))
    return [role for token in found if (role := names.identifier(token)) and token.text != "PUBLIC"]


def create_publication(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """CREATE PUBLICATION; its tables are added one by one."""
    everything = definition["all_tables"] is True
    all_tables = " FOR ALL TABLES" if everything else ""
    sql = f"CREATE PUBLICATION {qualified(one)}{all_tables} WITH ({_offers(definition)})"
    return [FixStatement(sql, Label.SAFE, (one,), "what the region offers", superuser=everything)]


def _offers(definition: Definition) -> str:
    via_root = "true" if definition["via_root"] else "false"
    return f"publish = {names.literal(str(definition['operations']))}, publish_via_partition_root = {via_root}"


def drop_publication(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """DROP PUBLICATION."""
    why = "who subscribes to it stops with an error"
    return [FixStatement(f"DROP PUBLICATION {qualified(one)}", Label.SAFE, (one,), why)]


def alter_publication(scene: Scene, one: Identity, before: Definition, after: Definition) -> list[FixStatement]:
    """What it sends."""
    if _offers(before) == _offers(after):
        return []
    return [
        FixStatement(f"ALTER PUBLICATION {qualified(one)} SET ({_offers(after)})", Label.SAFE, (one,), "what it sends")
    ]


def add_member(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """ADD TABLE or TABLES IN SCHEMA; its subscribers take it in with REFRESH PUBLICATION."""
    kind, _, text = str(definition["member"]).partition(" ")
    shape = f" {names.executable(str(definition['shape']))}" if definition["shape"] else ""
    what = f"TABLE {text}{shape}" if kind == "table" else f"TABLES IN SCHEMA {text}"
    sql = f"ALTER PUBLICATION {names.name(str(definition['publication']))} ADD {what}"
    return [FixStatement(sql, Label.SAFE, (one,), "subscribers take it in on refresh", superuser=kind != "table")]


def drop_member(scene: Scene, one: Identity, definition: Definition) -> list[FixStatement]:
    """DROP TABLE or TABLES IN SCHEMA of a publication."""
    kind, _, text = str(definition["member"]).partition(" ")
    what = f"TABLE {text}" if kind == "table" else f"TABLES IN SCHEMA {text}"
    sql = f"ALTER PUBLICATION {names.name(str(definition['publication']))} DROP {what}"
    return [FixStatement(sql, Label.SAFE, (one,), "no longer sent")]
