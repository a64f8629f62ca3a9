"""Commands as hints write them: complete, with the DSN of each region as its variable. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable

from accountdb.pg.dsn import options, variable

# What a hint with ``join`` cannot know.
ADDRESSES = "where the servers reach each other by other addresses than you do, give those"


def resume(region: str, subscription: str, siblings: Collection[str] = ()) -> str:
    """Have a subscription try at once; it is named where the region has others."""
    return f"migratectl region resume --dsn {variable(region)}{_named(subscription, siblings)}"


def pause(region: str, subscription: str, siblings: Collection[str] = ()) -> str:
    """Hold a subscription."""
    return f"migratectl region pause --dsn {variable(region)}{_named(subscription, siblings)}"


def password(region: str, subscription: str, provider: str, siblings: Collection[str] = ()) -> str:
    """Give a subscription the password that the operator's own connection to its provider has."""
    return (
        f"migratectl region password --dsn {variable(region)}{_named(subscription, siblings)}"
        f" --provider-dsn {variable(provider)}"
    )


def resync(names: Iterable[str], region: str) -> str:
    """Make the streams into a region anew, and bring what it missed."""
    return f"migratectl region resync {options(names)} --region {shlex.quote(region)}"


def resync_all(names: Iterable[str]) -> str:
    """Make every stream between the regions anew."""
    return f"migratectl region resync {options(names)} --all"


def unblock(names: Iterable[str]) -> str:
    """Look at the change that a stream cannot apply."""
    return f"migratectl unblock {options(names)}"


def join(region: str, node: str, provider: str) -> str:
    """Have a region follow another, by the name that the guide gives to a subscription."""
    own, subscription = variable(region), shlex.quote(f"sub_from_{provider}")
    return (
        f"migratectl region join --dsn {own} --node {shlex.quote(node)} --node-dsn {own}"
        f" --subscription {subscription} --provider-dsn {variable(provider)}"
    )


def init(region: str, mode: str) -> str:
    """Put a region's guards and rights in order."""
    return f"migratectl init --dsn {variable(region)} --mode {mode}"


def doctor(names: Iterable[str]) -> str:
    """Look at everything, with what mends it."""
    return f"migratectl doctor {options(names)}"


def refresh(names: Iterable[str]) -> str:
    """Have each region offer, and follow, all that belongs to it."""
    return f"migratectl region refresh {options(names)}"


def end_slot(region: str, slot: str) -> tuple[str, str]:
    """Take a slot away that nobody needs any more, and whoever still reads from it off."""
    name = "'" + slot.replace("'", "''") + "'"
    slots = f"FROM pg_replication_slots WHERE slot_name = {name}"
    return (
        psql(region, f"SELECT pg_terminate_backend(active_pid), pg_sleep(2) {slots} AND active"),
        psql(region, f"SELECT pg_drop_replication_slot(slot_name) {slots} AND NOT active"),
    )


def psql(region: str, statement: str) -> str:
    """One statement in a region."""
    return f"psql {variable(region)} -c {shlex.quote(statement)}"


def _named(subscription: str, siblings: Collection[str]) -> str:
    return f" --subscription {shlex.quote(subscription)}" if set(siblings) - {subscription} else ""
