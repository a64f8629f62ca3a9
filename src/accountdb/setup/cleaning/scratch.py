"""Scratch databases that an interrupted ``migratectl verify --schema`` left on the server."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from psycopg import sql

from accountdb.drift.scratch import PREFIX, refuse_stuck
from accountdb.errors import AccountdbError
from accountdb.pg.connect import Connection
from accountdb.setup.cleaning.model import FILE, SETTLED_S, Action, Care, Leftover, composed, dotted, owner_runs
from accountdb.sql import block

_PATTERN = f"^{re.escape(PREFIX)}[0-9a-f]{{16}}$"


@dataclass(frozen=True)
class Scratch:
    """One scratch database. ``age_s`` is None where this role cannot know it; ``used`` counts its transactions;
    ``broken``: an interrupted DROP DATABASE has left it, and nobody can connect to it any more.
    """

    oid: int
    name: str
    may: bool
    owner: str
    connections: int
    age_s: float | None
    broken: bool
    used: int


def read(conn: Connection) -> tuple[tuple[Scratch, ...], str]:
    """The scratch databases of the server, and why none could be dropped; empty where one can."""
    found = tuple(Scratch(*row) for row in conn.execute(block(FILE, "scratches"), {"pattern": _PATTERN}))
    found = tuple(_aged(conn, one) for one in found)
    obstacle = ""
    if found:
        try:
            refuse_stuck(conn)
        except AccountdbError as error:
            obstacle = error.message
    return found, obstacle


def _aged(conn: Connection, one: Scratch) -> Scratch:
    """With the age by its files, where this role may look at them: a commit's time is not kept for ever."""
    may = conn.execute(block(FILE, "may_stat")).fetchone()
    row = conn.execute(block(FILE, "age"), {"oid": one.oid}).fetchone() if may and may[0] else None
    return replace(one, age_s=row[0]) if row and row[0] is not None else one


def plan(region: str, scratches: Iterable[Scratch], obstacle: str) -> tuple[Leftover, ...]:
    """What becomes of each. Pure."""
    return tuple(_decide(region, one, obstacle) for one in scratches)


def _decide(region: str, one: Scratch, obstacle: str) -> Leftover:
    why, care = "migratectl verify --schema was broken off, nobody is connected", Care.NONE
    young = one.age_s is not None and one.age_s < SETTLED_S
    if one.connections or (young and not one.broken):
        who = f"{one.connections} sessions are connected" if one.connections else f"it is {one.age_s:.0f} s old"
        action, why, note = Action.KEEP, who, "a running migratectl verify --schema needs it"
    elif obstacle:
        action, note = Action.BY_HAND, obstacle
    elif not one.may:
        action, note = Action.BY_HAND, owner_runs(one.owner)
    else:
        action, note = Action.REMOVE, ""
        if one.age_s is None and not one.broken:
            care, note = Care.WATCH, "its age is not known to this role: it is watched for a minute first"
    # No FORCE: a session that comes meanwhile keeps it.
    statement = composed("DROP DATABASE {}", sql.Identifier(one.name)) if action is not Action.KEEP else ""
    state = (one.oid, one.used) if care is Care.WATCH else (one.oid,)
    return Leftover(region, "scratch database", dotted(one.name), action, statement, why, note, state, care)
