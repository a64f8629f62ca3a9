"""What of several structures can be compared at all, and what is left out of all of them; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

from accountdb.drift.kinds import DATABASE_KINDS, NotCompared
from accountdb.drift.structure import GRANT, Attribute, Identity, Structure

_MAINTAIN_SINCE = 17
# Attributes of a subscription that an older server does not know.
_SUBSCRIPTION_SINCE = {
    "binary": 14,
    "streaming": 14,
    "two_phase": 15,
    "disable_on_error": 15,
    "origin": 16,
    "password_required": 16,
    "run_as_owner": 16,
}
_COMMENTS = ("comment", "index_comment")
_OWN_SCHEMAS = ("accountdb",)

Sides = Mapping[str, Structure]
_Keep = Callable[[Identity, str, Attribute], Attribute]


def alike(sides: Sides) -> tuple[dict[str, Structure], tuple[NotCompared, ...]]:
    """``sides`` without what some of them cannot have or cannot tell, and what that is.

    A kind that one role may not read; the privilege MAINTAIN, which only 17 and later have, and so
    GRANT ALL gives; the versions of extensions between major versions, which ship other ones.
    """
    told: list[NotCompared] = []
    unread = {kind: f"{name}: {why}" for name, side in sides.items() for kind, why in side.unread.items()}
    told += [NotCompared(kind.replace("_", " ") + "s", why) for kind, why in unread.items()]
    found = {name: _without_kinds(side, unread) for name, side in sides.items()}
    majors = {side.major for side in sides.values() if side.major is not None}
    if len(majors) < 2:
        return found, tuple(told)
    told.append(NotCompared("versions and comments of extensions", "each major version ships its own"))
    found = {name: _mapped(side, _without_version) for name, side in found.items()}
    oldest = min(majors)
    if oldest < _MAINTAIN_SINCE:
        told.append(NotCompared("the privilege MAINTAIN", "only PostgreSQL 17 and later have it"))
        found = {name: _mapped(side, _without_maintain) for name, side in found.items()}
    unknown = {name for name, since in _SUBSCRIPTION_SINCE.items() if oldest < since}
    if any(one.kind == "subscription" for side in found.values() for one in side.objects) and unknown:
        told.append(
            NotCompared(f"{', '.join(sorted(unknown))} of subscriptions", f"PostgreSQL {oldest} does not know it")
        )
        found = {name: _mapped(side, _without(unknown)) for name, side in found.items()}
    return found, tuple(told)


def _without(unknown: AbstractSet[str]) -> _Keep:
    return lambda one, name, value: None if one.kind == "subscription" and name in unknown else value


UNDECIDED = (
    NotCompared("extensions, publications, subscriptions, replication sets", "a region's mode decides them"),
    NotCompared("grants to roles other than PUBLIC", "the operator gives them: init --grant-to"),
    NotCompared("comments where the schema has none", "the operator's: what to release in a conflict, what is secret"),
    NotCompared("rights and comment of the schema public", "it belongs to the database, not to accountdb"),
)
"""What a schema file does not decide."""


def decided(structure: Structure, by: Structure) -> Structure:
    """``structure`` without what the schema ``by`` does not decide: see UNDECIDED."""

    def keep(one: Identity, name: str, value: Attribute) -> Attribute:
        if name in _COMMENTS and name not in by.objects.get(one, {}):
            return None
        return None if name.startswith(GRANT) and name != f"{GRANT}PUBLIC" else value

    kept = _mapped(_without_kinds(structure, DATABASE_KINDS), keep)
    return replace(kept, objects={one: found for one, found in kept.objects.items() if not _of_the_server(one)})


def _of_the_server(one: Identity) -> bool:
    return one.kind == "schema" and one.schema not in _OWN_SCHEMAS


def _without_kinds(structure: Structure, kinds: Mapping[str, str] | frozenset[str]) -> Structure:
    return replace(structure, objects={one: found for one, found in structure.objects.items() if one.kind not in kinds})


def _mapped(structure: Structure, keep: _Keep) -> Structure:
    """``structure`` with each attribute as ``keep`` gives it back; None drops it."""
    objects = {
        one: {name: kept for name, value in definition.items() if (kept := keep(one, name, value)) is not None}
        for one, definition in structure.objects.items()
    }
    return replace(structure, objects=objects)


def _without_version(one: Identity, name: str, value: Attribute) -> Attribute:
    return None if one.kind == "extension" and name in ("version", "comment") else value


def _without_maintain(_: Identity, name: str, value: Attribute) -> Attribute:
    if not name.startswith(GRANT):
        return value
    return ", ".join(word for word in str(value).split(", ") if word.rstrip("*") != "MAINTAIN") or None
