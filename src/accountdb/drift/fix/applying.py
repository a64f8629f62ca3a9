"""Applying a fix: one transaction, compared before it commits."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import psycopg
from psycopg import sql

from accountdb.drift.compare import compare
from accountdb.drift.describe import describe
from accountdb.drift.fix.deciding import labels
from accountdb.drift.fix.model import Fix, Label
from accountdb.drift.fix.parts import RANK
from accountdb.drift.fix.running import run, run_alone
from accountdb.drift.read import read_structure
from accountdb.drift.scope import alike
from accountdb.drift.structure import Identity, Structure
from accountdb.errors import AccountdbError, Refused
from accountdb.pg.connect import Connection

_ATTEMPTS = 10
_LOCK_TIMEOUT = "5s"


@dataclass(frozen=True)
class Applied:
    """What was done: how many statements, after how many attempts to get the locks."""

    statements: int
    attempts: int
    seconds: float


def apply(
    conn: Connection, target: Structure, wanted: Structure, fix: Fix, *, on_wait: Callable[[int], None] = lambda _: None
) -> Applied:
    """Run ``fix``, which was made for ``target``, and commit when the structure is ``wanted``.

    ``conn`` is in autocommit. Labels of types are added first, each by itself: they can do nobody
    harm; all else is one transaction. Raises Refused where the structure is no longer ``target``,
    AccountdbError where it is not ``wanted`` afterwards, rows of a changed table are missing, or the
    locks cannot be had; then nothing but new labels has changed.
    """
    began = time.monotonic()
    if _now(conn, wanted) != _narrowed(target, wanted):
        raise Refused("the structure has changed since it was read", hint="run the command again")
    run_alone(conn, [one for one in fix.statements if one.alone])
    expected = _with_labels(_narrowed(target, wanted), wanted, fix)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with conn.transaction():
                _once(conn, expected, wanted, fix)
            return Applied(len(fix.statements), attempt, time.monotonic() - began)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            on_wait(attempt)
            time.sleep(random.uniform(0.1, 0.5) * attempt)
    raise AccountdbError(
        f"the locks could not be had in {_ATTEMPTS} attempts of {_LOCK_TIMEOUT}; nothing was changed",
        hint="SELECT pid, xact_start, query FROM pg_stat_activity ORDER BY xact_start shows who holds them",
    )


def _once(conn: Connection, expected: Structure, wanted: Structure, fix: Fix) -> None:
    counted = _counts(conn, fix, wanted, lock=True)
    if _now(conn, wanted) != expected:
        raise Refused("the structure has changed since it was read", hint="run the command again")
    run(conn, [one for one in fix.statements if not one.alone], lock_timeout=_LOCK_TIMEOUT)
    left = {one.identity for one in fix.left}
    differing = [d for d in compare(_narrowed(wanted, wanted), _now(conn, wanted)) if d.identity not in left]
    if differing:
        raise AccountdbError(
            f"after the fix the structure would still differ: {describe(differing[0])}; nothing was changed",
            hint="--fix-sql FILE writes the statements, to be changed by hand",
        )
    after = _counts(conn, fix, wanted, lock=False)
    for table, count in counted.items():
        if after[table] != count:
            raise AccountdbError(
                f"table {'.'.join(table)}: {count} rows before, {after[table]} after; nothing was changed"
            )


def _counts(conn: Connection, fix: Fix, wanted: Structure, *, lock: bool) -> dict[tuple[str, str], int]:
    """The rows of the tables that the fix does more than a moment's work on; with the lock that keeps them so."""
    lossy = {one.objects[0] for one in fix.loses if one.objects[0].kind == "table"}
    tables = {
        (one.objects[0].schema, one.objects[0].owner or one.objects[0].name)
        for one in fix.statements
        if one.label is not Label.SAFE and one.objects[0].kind in ("table", "column", "constraint", "index")
    }
    found = {}
    for table in sorted(tables):
        here = conn.execute(
            "SELECT pg_catalog.to_regclass(%s) IS NOT NULL", (sql.Identifier(*table).as_string(),)
        ).fetchone()
        identity = Identity("table", *table)
        if identity in lossy or identity not in wanted.objects or not (here and here[0]):
            continue
        if lock:
            timeout = sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(_LOCK_TIMEOUT))
            conn.execute(timeout)
            conn.execute(sql.SQL("LOCK TABLE ONLY {} IN SHARE ROW EXCLUSIVE MODE").format(sql.Identifier(*table)))
        row = conn.execute(sql.SQL("SELECT pg_catalog.count(*) FROM ONLY {}").format(sql.Identifier(*table))).fetchone()
        found[table] = int(row[0]) if row else 0
    return found


def _now(conn: Connection, wanted: Structure) -> Structure:
    return _narrowed(read_structure(conn), wanted)


def _narrowed(structure: Structure, wanted: Structure) -> Structure:
    """What of a structure can be compared with ``wanted``, and is of a kind that a fix looks at."""
    sides, _ = alike({"wanted": wanted, "found": structure})
    found = sides["found"]
    return replace(found, objects={one: value for one, value in found.objects.items() if one.kind in RANK})


def _with_labels(structure: Structure, wanted: Structure, fix: Fix) -> Structure:
    """``structure`` as it is once the labels that commit by themselves are added."""
    added = {one.objects[0] for one in fix.statements if one.alone}
    objects = {
        one: {**definition, "labels": wanted.objects[one]["labels"]} if one in added else definition
        for one, definition in structure.objects.items()
    }
    assert all(labels(objects[one]) for one in added)
    return replace(structure, objects=objects)
