"""Triggers that are switched off: accountdb's own go on again, other people's are told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg import sql

from accountdb.guards.definition import TRIGGERS
from accountdb.pg.connect import Connection
from accountdb.setup.cleaning.model import FILE, Action, Leftover, composed, dotted, owner_runs
from accountdb.sql import block

_CAPTURE = ("accountdb_capture", "accountdb_capture_truncate")
# The mode that each has to be in: guards, and the two that pgsync reads by.
_RIGHT = TRIGGERS | dict.fromkeys(_CAPTURE, "A")
_CONTRACT = ("set_updated_at", "bump_version")
_ENABLE = {
    "O": "ALTER TABLE {} ENABLE TRIGGER {}",
    "R": "ALTER TABLE {} ENABLE REPLICA TRIGGER {}",
    "A": "ALTER TABLE {} ENABLE ALWAYS TRIGGER {}",
}


@dataclass(frozen=True)
class Trigger:
    """One trigger. ``mode`` is D (disabled), O, R or A; ``constraint`` is the foreign key that it belongs to."""

    table_oid: int
    schema: str
    table: str
    name: str
    mode: str
    internal: bool
    function_schema: str
    function: str
    constraint: str | None
    may: bool
    owner: str

    @property
    def right_mode(self) -> str | None:
        """The mode that one of accountdb's own has to be in; None of another's."""
        if self.internal:
            return None
        if self.function_schema == "accountdb" and self.name in _RIGHT:
            return _RIGHT[self.name]
        of_contract = self.function_schema == "public" and self.function in _CONTRACT
        return "O" if of_contract and self.name.startswith("trg_") else None


def read(conn: Connection) -> tuple[Trigger, ...]:
    """Disabled triggers, and accountdb's own in whatever mode."""
    return tuple(Trigger(*row) for row in conn.execute(block(FILE, "triggers")))


def plan(region: str, triggers: Iterable[Trigger]) -> tuple[Leftover, ...]:
    """What becomes of each. Pure."""
    triggers = tuple(triggers)
    found = [_decide(region, one) for one in triggers if not one.internal and _is_off(one)]
    keys: dict[tuple[int, str, str, str, str | None], list[str]] = {}
    for one in triggers:
        if one.internal and one.mode == "D":
            key = (one.table_oid, one.schema, one.table, one.owner, one.constraint)
            keys.setdefault(key, []).append(one.name)
    found += [_constraint(region, key, names) for key, names in keys.items()]
    return tuple(found)


def _is_off(one: Trigger) -> bool:
    if one.right_mode is not None and one.name in _RIGHT:
        return one.mode not in (one.right_mode, "A")
    return one.mode == "D"


def _decide(region: str, one: Trigger) -> Leftover:
    mode = one.right_mode
    table = sql.Identifier(one.schema, one.table)
    why = "it is disabled" if one.mode == "D" else f"it is in mode {one.mode}, not {mode}"
    if mode is None:
        action, note = Action.KEEP, "it is not accountdb's"
    elif not one.may:
        action, note = Action.BY_HAND, owner_runs(one.owner)
    else:
        action = Action.ENABLE
        again = "pgsync reads the whole table until pgsync --install-capture or migratectl init has run again"
        note = again if one.name in _CAPTURE else ""
    return Leftover(
        region,
        "trigger",
        f"{dotted(one.name)} on {dotted(one.schema, one.table)}",
        action,
        composed(_ENABLE[mode or "O"], table, sql.Identifier(one.name)),
        why,
        note,
        state=(one.table_oid, one.mode),
    )


def _constraint(region: str, key: tuple[int, str, str, str, str | None], names: list[str]) -> Leftover:
    oid, schema, table, _, constraint = key
    statements = "; ".join(
        composed(_ENABLE["O"], sql.Identifier(schema, table), sql.Identifier(name)) for name in names
    )
    return Leftover(
        region,
        "constraint",
        f"{dotted(constraint or 'without a name')} on {dotted(schema, table)}",
        Action.BY_HAND,
        statements,
        "its triggers are disabled (DISABLE TRIGGER ALL): nothing checks it",
        "a superuser runs it; what was written meanwhile was not checked",
        state=(oid, *names),
    )
