"""A structure as the parts that can be made, dropped and changed by themselves. Pure.

What is one object to a comparison is sometimes several to the server: a column and its default, a
sequence and the column that owns it, a table and its place under another, a publication and each of
its tables. Only as parts of their own can they stand in an order that works.
"""

from __future__ import annotations

from collections.abc import Mapping

from accountdb.drift.structure import Attribute, Definition, Identity, Structure

DEFAULT, OWNERSHIP, ATTACHMENT = "default", "ownership", "attachment"
REPLICA_IDENTITY, MEMBER, OLD_TYPE = "replica_identity", "publication_member", "old_type"

RANK = {
    kind: rank
    for rank, kind in enumerate(
        (
            "schema",
            "extension",
            "enum",
            "composite",
            "domain",
            "sequence",
            "function",
            "aggregate",
            "table",
            "column",
            DEFAULT,
            OWNERSHIP,
            OLD_TYPE,
            "constraint",
            "index",
            "statistics",
            ATTACHMENT,
            "view",
            "materialized_view",
            "rule",
            "trigger",
            "policy",
            REPLICA_IDENTITY,
            "publication",
            MEMBER,
        )
    )
}
"""The order in which parts are made, where none needs another."""

_PLACE = ("parents", "partition_bound")


def owned(one: Identity) -> tuple[str, str] | None:
    """The table or view that a part belongs to, and its own name; None for what stands alone."""
    like = Identity("column", *one[1:]) if one.kind == DEFAULT else one
    owner = like.owner
    return None if owner is None else (owner, like.leaf)


def real(one: Identity, parts: Mapping[Identity, Definition]) -> Identity:
    """The object of the comparison that a part belongs to."""
    kind = {DEFAULT: "column", OWNERSHIP: "sequence", ATTACHMENT: "table", REPLICA_IDENTITY: "table"}.get(one.kind)
    if kind is not None:
        return Identity(kind, one.schema, one.name)
    if one.kind == MEMBER:
        return Identity("publication", "", str(parts[one]["publication"]))
    if one.kind == OLD_TYPE:
        return next((Identity(k, *one[1:]) for k in ("enum", "domain") if Identity(k, *one[1:]) in parts), one)
    return one


def expanded(structure: Structure) -> dict[Identity, Definition]:
    """The parts of ``structure``."""
    out: dict[Identity, Definition] = {}
    identities = {
        f"{one.owner}.{one.leaf}": one
        for one, definition in structure.objects.items()
        if one.kind == "column" and "identity" in definition
    }
    for one, definition in structure.objects.items():
        rest = dict(definition)
        if one.kind == "column" and "default" in rest:
            out[Identity(DEFAULT, *one[1:])] = {"default": rest.pop("default")}
        elif one.kind == "table":
            _split_table(one, rest, out)
        elif one.kind == "publication":
            _split_publication(one, rest, out)
        elif one.kind == "sequence" and "owned_by" in rest:
            owner = str(rest.pop("owned_by"))
            mine = identities.get(owner)
            if mine is not None and mine.schema == one.schema:
                rest["identity"] = mine.name
            else:
                out[Identity(OWNERSHIP, *one[1:])] = {"owned_by": owner}
        out[one] = rest
    return out


def _split_table(one: Identity, rest: dict[str, Attribute], out: dict[Identity, Definition]) -> None:
    place = {key: rest.pop(key) for key in _PLACE if key in rest}
    if place:
        out[Identity(ATTACHMENT, *one[1:])] = place
    if "replica_identity" in rest:
        out[Identity(REPLICA_IDENTITY, *one[1:])] = {"replica_identity": rest.pop("replica_identity")}


def _split_publication(one: Identity, rest: dict[str, Attribute], out: dict[Identity, Definition]) -> None:
    for key in [key for key in rest if key.startswith(("table ", "schema "))]:
        member = {"publication": one.name, "member": key, "shape": rest.pop(key)}
        out[Identity(MEMBER, "", f"{one.name}\n{key}")] = member
