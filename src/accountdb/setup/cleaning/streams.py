"""Slots, origins and pglogical nodes of regions that left.

An inactive slot may be that of a region whose link is cut: without it, what that region has not got yet is lost to it.
So a slot goes by proof only: it is lost already; or the region that it bears the name of was asked, and has no
subscription that uses it; or a person names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from accountdb.errors import AccountdbError, Refused, UsageError
from accountdb.pg.connect import Connection
from accountdb.replication.engine import standing
from accountdb.replication.model import Mode, Standing
from accountdb.replication.native import slot_name
from accountdb.setup.cleaning.model import FILE, SETTLED_S, Action, Care, Leftover, dotted, filled, owner_runs
from accountdb.sql import block

_NATIVE_ORIGIN = re.compile(r"pg_([0-9]+)(?:_[0-9]+)?")
_COPYING_SLOT = re.compile(r"pg_[0-9]+_sync_[0-9]+_[0-9]+")
_MAX_NAME_BYTES = 63
# pglogical shortens longer names by a hash.
_MAX_PGLOGICAL_PART = 16


@dataclass(frozen=True)
class Slot:
    """A logical slot of this database, and the log that it keeps. ``away_s`` is None where the server cannot say."""

    name: str
    plugin: str
    active: bool
    lost: bool
    synced: bool
    confirmed: str | None
    kept_bytes: int | None
    away_s: float | None


@dataclass(frozen=True)
class Facts:
    """What one region has of streams. ``users`` are its subscriptions by the slot that each reads.

    ``standing`` is None, and so are ``nodes`` and ``pglogical_slots``, where this role may not look.
    """

    standing: Standing | None
    slots: tuple[Slot, ...]
    users: Mapping[str, str]
    subscription_oids: frozenset[int]
    origins: tuple[tuple[int, str], ...]
    database: str
    databases: tuple[str, ...]
    pglogical: bool
    nodes: tuple[tuple[int, str], ...] | None
    may_drop_slot: bool
    may_drop_origin: bool
    superuser: bool
    guarded: int = 0


def read(conn: Connection) -> tuple[Facts, tuple[str, ...]]:
    """The facts, and what this role could not look at."""
    hidden: list[str] = []
    _, prepared, may_drop_slot, may_drop_origin, superuser = conn.execute(block(FILE, "region")).fetchone() or ()
    subscriptions = conn.execute(block(FILE, "subscriptions")).fetchall()
    users = {slot: name for _, name, slot in subscriptions if slot}
    there = conn.execute(block("replication/pglogical.sql", "may_read")).fetchone()
    pglogical = bool(there and there[2])
    current: Standing | None = None
    try:
        current = standing(conn) if prepared else None
    except (AccountdbError, psycopg.errors.InsufficientPrivilege):
        hidden.append("the subscriptions of pglogical")
    if current is not None:
        users |= {s.slot: s.name for s in current.subscriptions if s.slot}
    nodes = _nodes(conn) if pglogical else ()
    if nodes is None:
        hidden.append("the nodes of pglogical")
    database, databases = conn.execute(block(FILE, "databases")).fetchone() or ("", [])
    return Facts(
        current,
        tuple(Slot(*row) for row in conn.execute(block(FILE, "slots"))),
        users,
        frozenset(oid for oid, _, _ in subscriptions),
        tuple((ident, name) for ident, name in conn.execute(block(FILE, "origins"))),
        database,
        tuple(databases),
        pglogical,
        nodes,
        may_drop_slot,
        may_drop_origin,
        superuser,
        (conn.execute(block(FILE, "guarded")).fetchone() or (0,))[0],
    ), tuple(hidden)


def _nodes(conn: Connection) -> tuple[tuple[int, str], ...] | None:
    try:
        return tuple((ident, name) for ident, name in conn.execute(block(FILE, "nodes")))
    except psycopg.errors.InsufficientPrivilege:
        return None


def plan(region: str, all_facts: Mapping[str, Facts], named: Sequence[str]) -> tuple[Leftover, ...]:
    """What becomes of each in ``region``. Pure. ``named`` are the slots that a person named."""
    facts = all_facts[region]
    others = {name: one for name, one in all_facts.items() if name != region}
    return (
        *(_slot(region, facts, others, slot, named) for slot in facts.slots if not slot.active),
        *_origins(region, facts),
        *_nodes_left(region, facts),
        *_guards(region, facts),
    )


def check_named(all_facts: Mapping[str, Facts], named: Sequence[str]) -> None:
    """Raises UsageError for a slot that no region has, Refused for one that is in use. Pure."""
    for name in named:
        having = [(region, slot) for region, facts in all_facts.items() for slot in facts.slots if slot.name == name]
        if not having:
            away = [slot.name for facts in all_facts.values() for slot in facts.slots if not slot.active]
            raise UsageError(
                f"--slot: there is no slot {name} of a subscription to this database",
                hint=f"inactive ones: {', '.join(away) or 'none'}",
            )
        for region, slot in having:
            if slot.active:
                raise Refused(
                    f"slot {name} is active: its subscriber is connected",
                    hint="migratectl region leave on the subscriber's side removes it",
                )
            if slot.synced:
                raise Refused(
                    f"slot {name} is copied from this server's primary",
                    hint="remove it on the server that it is copied from",
                )
            user = user_of(slot, {other: facts for other, facts in all_facts.items() if other != region})
            if user is not None:
                raise Refused(
                    f"slot {name} is used by subscription {user[1]} of {user[0]}",
                    hint=f"migratectl region leave --subscription {user[1]} there removes both",
                )


def user_of(slot: Slot, others: Mapping[str, Facts]) -> tuple[str, str] | None:
    """The region and the subscription that read a slot, of the regions that were asked. Pure."""
    return next(((name, one.users[slot.name]) for name, one in others.items() if slot.name in one.users), None)


def _slot(region: str, facts: Facts, others: Mapping[str, Facts], slot: Slot, named: Sequence[str]) -> Leftover:
    action, why, note = _verdict(facts, others, slot, named)
    care = Care.NONE
    if action is Action.REMOVE and slot.name not in named and not slot.lost and slot.away_s is None:
        care, note = Care.WATCH, "since when is not known: it is watched for a minute first"
    if action is Action.REMOVE and not facts.may_drop_slot:
        action, note = Action.BY_HAND, owner_runs()
    statement = filled("drop_slot", name=sql.Literal(slot.name)) if action in (Action.REMOVE, Action.BY_HAND) else ""
    return Leftover(
        region, "replication slot", dotted(slot.name), action, statement, why, note, (slot.name, slot.confirmed), care
    )


def _verdict(facts: Facts, others: Mapping[str, Facts], slot: Slot, named: Sequence[str]) -> tuple[Action, str, str]:
    away = "inactive" if slot.away_s is None else f"inactive for {_period(slot.away_s)}"
    holds = f"{away}, keeps {size(slot.kept_bytes)} of log"
    if slot.synced:
        return Action.KEEP, holds, "this server copies it from its primary"
    if slot.name in named:
        return Action.REMOVE, f"{holds}, named with --slot", ""
    user = user_of(slot, others)
    if user is not None:
        region, name = user
        if slot.lost:
            return Action.KEEP, f"lost, but {name} of {region} still uses it", f"{region}: region leave, join, merge"
        return Action.KEEP, f"{holds}; {name} of {region} uses it", "its link is cut, or it is paused"
    if slot.lost:
        return Action.REMOVE, "lost: log that its subscriber needs is gone, nobody can read from it again", ""
    partners = {name: one for name, one in others.items() if _are_partners(facts, one)} if _all(facts, others) else {}
    left = next((name for name, one in partners.items() if _bears_name_of(slot, one)), None)
    if left is not None:
        young = slot.away_s is not None and slot.away_s < SETTLED_S
        if not young:
            return Action.REMOVE, f"{holds}; {left}, whose name it bears, has no subscription that uses it", ""
        return Action.KEEP, f"{holds}; a region join may have made it just now", "look again in a minute"
    return Action.KEEP, f"{holds}; its subscriber may only be away", f"--slot {slot.name} removes it"


def _all(here: Facts, others: Mapping[str, Facts]) -> bool:
    """Whether every region that this one follows was asked: one that was not may have a name that begins alike."""
    return here.standing is None or len(here.standing.subscriptions) <= len(others)


def _bears_name_of(slot: Slot, other: Facts) -> bool:
    """Whether a slot was made by ``region join`` of the region that has this node name."""
    node = other.standing.node if other.standing is not None else None
    if node is None or slot.plugin != "pgoutput" or _COPYING_SLOT.fullmatch(slot.name):
        return False
    start = slot_name(node, "")
    return len(start) < _MAX_NAME_BYTES and slot.name.startswith(start) and slot.name != start


def _are_partners(here: Facts, other: Facts) -> bool:
    """Whether nothing speaks against it: a copy of a region bears its node name too, and has none of its slots."""
    followed = {s.slot for s in here.standing.subscriptions if s.slot} if here.standing is not None else set()
    return not followed or bool(followed & {slot.name for slot in other.slots})


def _origins(region: str, facts: Facts) -> Iterable[Leftover]:
    for ident, name in facts.origins:
        native = _NATIVE_ORIGIN.fullmatch(name)
        if native is not None:
            left = int(native[1]) not in facts.subscription_oids
            why = f"subscription {native[1]} is gone"
        else:
            left = _is_pglogical_origin(name, facts)
            why = "it is named as one of pglogical in this database, and no subscription has it"
        if left:
            yield Leftover(
                region,
                "replication origin",
                dotted(name),
                Action.REMOVE if facts.may_drop_origin else Action.BY_HAND,
                filled("drop_origin", name=sql.Literal(name)),
                why,
                "" if facts.may_drop_origin else owner_runs(),
                (ident,),
            )


def _is_pglogical_origin(name: str, facts: Facts) -> bool:
    """Whether an origin is this database's and no subscription's. Origins are the server's, subscriptions not."""
    if not facts.pglogical or facts.standing is None or facts.nodes is None or name in facts.users:
        return False
    mine = _origin_start(facts.database)
    longer = (_origin_start(other) for other in facts.databases if other != facts.database)
    return (
        len(facts.database.encode()) <= _MAX_PGLOGICAL_PART
        and name.startswith(mine)
        and not any(start.startswith(mine) and name.startswith(start) for start in longer)
    )


def _origin_start(database: str) -> str:
    """How the origins of a database's pglogical subscriptions begin; of a long name, what is left of it."""
    part = database.encode()
    part = part if len(part) <= _MAX_PGLOGICAL_PART else part[: _MAX_PGLOGICAL_PART - 8]
    return (
        "pgl_"
        + re.sub(r"[^a-z0-9_]", "_", part.decode("latin-1"))
        + ("_" if len(part) == len(database.encode()) else "")
    )


def _nodes_left(region: str, facts: Facts) -> Iterable[Leftover]:
    for ident, name in facts.nodes or ():
        yield Leftover(
            region,
            "pglogical node",
            dotted(name),
            Action.REMOVE if facts.superuser else Action.BY_HAND,
            filled("drop_node", name=sql.Literal(name)),
            "it is not this region's, and no subscription here has to do with it",
            "" if facts.superuser else owner_runs(),
            (ident,),
        )


def _period(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def size(count: int | None) -> str:
    """An amount of log in words."""
    if count is None:
        return "an unknown amount"
    return f"{count / 1024**2:.1f} MB" if count < 1024**3 else f"{count / 1024**3:.1f} GB"


def _guards(region: str, facts: Facts) -> Iterable[Leftover]:
    """Guards of a region without streams are kept: they note deletes, which a later join or merge needs."""
    current = facts.standing
    if facts.guarded and current is not None and current.mode is not Mode.PGSYNC and not current.joined:
        yield Leftover(
            region,
            "guards",
            f"of {facts.guarded} tables",
            Action.KEEP,
            "",
            "the region is in no stream now, and they note its deletes for the next join",
            "migratectl table remove TABLE takes one away",
        )
