"""A joint run that died between its commits while streams run: rows of the old form may be under way.

The region that has the new form (the leader) cannot take them, and its stream stands still for ever: a row
bears a column that is gone, or breaks a new constraint. So the leader takes the old form back, by what the
other region still has of it, until its stream has run dry; then both take the new form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from accountdb.drift.compare import compare
from accountdb.drift.fingerprint import core
from accountdb.drift.fix.model import Facts
from accountdb.drift.fix.planning import plan_fix
from accountdb.drift.fix.running import run
from accountdb.drift.read import read_structure
from accountdb.drift.structure import Identity, Structure
from accountdb.pg.connect import Connection
from accountdb.replication.drain import NotDryError, run_dry
from accountdb.replication.engine import Engine
from accountdb.setup.migrating import streams

_DRY_WITHIN_S = 5.0
_TAKES_PART = frozenset({"table", "column", "constraint", "index", "enum", "domain", "composite"})


def runs_dry(providers: Mapping[str, Connection]) -> bool:
    """Whether what these regions have written is applied on the other side in a few seconds."""
    try:
        run_dry(providers, within_s=_DRY_WITHIN_S)
    except NotDryError:
        return False
    return True


def old_form(leader: Structure, other: Structure) -> Structure:
    """What the leader has to be so that rows of the other region's form fit, and its own rows stay. Pure.

    All that the other has and the leader lacks, with no column that has to have a value; nothing that
    only the leader has and that a row could break.
    """
    objects = dict(leader.objects)
    for drift in compare(leader, other):
        one = drift.identity
        if drift.kind not in _TAKES_PART or drift.schema != "public":
            continue
        if drift.kind == "table" and drift.change == "extra":
            objects.update({i: d for i, d in other.objects.items() if (i.schema, i.owner or i.name) == one[1:]})
        elif drift.kind == "column" and drift.change == "extra":
            objects[one] = {**other.objects[one], "not_null": False}
        elif drift.kind == "column" and drift.change == "changed":
            both = leader.objects[one].get("not_null") and other.objects[one].get("not_null")
            objects[one] = {**other.objects[one], "not_null": bool(both)}
        elif drift.change == "missing" and _forbids(one, leader):
            del objects[one]
        elif drift.change == "changed" and drift.kind in ("enum", "domain", "composite"):
            objects[one] = other.objects[one]
    return replace(leader, objects=objects)


def _forbids(one: Identity, structure: Structure) -> bool:
    """Whether a row can break it."""
    unique = "UNIQUE" in str(structure.objects[one].get("definition"))
    return one.kind == "constraint" or (one.kind == "index" and unique)


def take_old_form(leader: Connection, other: Connection, engine: Engine) -> None:
    """Bring the leader to the old form, commit that, and have its streams try again at once."""
    there = core(read_structure(other))
    other.rollback()
    _become(leader, lambda mine: old_form(mine, there))
    leader.commit()
    retry(leader, engine)


def take_form_of(leader: Connection, other: Connection) -> None:
    """Bring the leader to what the other region is in its open transaction, in one of its own that stays open."""
    there = core(read_structure(other))
    _become(leader, lambda _: there)


def _become(conn: Connection, wanted: Callable[[Structure], Structure]) -> None:
    mine = core(read_structure(conn))
    fix = plan_fix(wanted(mine), mine, Facts())
    if fix.statements:
        run(conn, fix.statements)
        streams.take_in(conn, None, None)


def retry(conn: Connection, engine: Engine) -> None:
    """A worker that failed waits before its next try; this one tries at once."""
    conn.autocommit = True
    try:
        for name in _names(engine, conn):
            engine.resume(conn, name)
    finally:
        conn.autocommit = False


def _names(engine: Engine, conn: Connection) -> Iterable[str]:
    return [subscription.name for subscription in engine.standing(conn).subscriptions]
