"""Proving a fix before it touches anything: on a throw-away copy of the structure, with rows."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg import sql

from accountdb import lab
from accountdb.drift.compare import compare
from accountdb.drift.describe import describe
from accountdb.drift.fix import rehearsal
from accountdb.drift.fix.model import Fix, FixStatement, Left
from accountdb.drift.fix.parts import RANK
from accountdb.drift.fix.planning import plan_fix
from accountdb.drift.fix.relations import roles as policy_roles
from accountdb.drift.fix.running import read_facts, run, run_alone
from accountdb.drift.fix.writing import said
from accountdb.drift.read import read_structure
from accountdb.drift.scope import alike
from accountdb.drift.scratch import scratch_database
from accountdb.drift.structure import GRANT, Identity, Structure, grantee
from accountdb.errors import AccountdbError
from accountdb.pg.connect import Connection, connect, session, told

_LATE = frozenset({"trigger", "rule", "policy"})
_EMBEDDED_SINCE = 16
_BY_HAND = "--fix-sql FILE writes the statements without proof"


@dataclass(frozen=True)
class Proof:
    """What was proven, and on what. ``unproven`` are objects that the scratch server could not have."""

    server: str
    statements: int
    tables: int
    rows: int
    seconds: float
    unproven: tuple[Left, ...] = ()


def prove(
    target_dsn: str,
    target: Structure,
    wanted: Structure,
    fix: Fix,
    *,
    queries: Mapping[Identity, str] | None = None,
    scratch_dsn: str | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Proof:
    """Run ``fix`` on a copy of ``target`` and hold the result against ``wanted``.

    The copy is made on a server of ``lab`` that is gone afterwards, or in a scratch database on the
    server of ``scratch_dsn``; ``queries`` are the target's views as its server writes them. It has up to
    1,000 rows of each table of ``target_dsn``. Raises AccountdbError (and MissingRightError,
    ConnectError) where the structure is not ``wanted`` after the fix, a row is not what it was, or it
    cannot be proven there.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        on_step("proving the fix on a scratch server")
        dsn = stack.enter_context(_scratch(target, wanted, scratch_dsn))
        conn = stack.enter_context(session(dsn, name="scratch", autocommit=True))
        target, wanted, unproven = _possible(conn, target, wanted)
        late = _make(conn, target, queries or {})
        rows = _fill(conn, target_dsn, target)
        _together(conn, late)
        compared = _differing(target, (target, wanted), conn, {left.identity for left in unproven})
        if compared:
            raise AccountdbError(f"the fix cannot be proven: the copy is not equal: {compared[0]}", hint=_BY_HAND)
        watching = rehearsal.watched(target, wanted, fix)
        before = rehearsal.contents(conn, watching)
        statements = [one for one in fix.statements if not _about(one, unproven)]
        try:
            run_alone(conn, [one for one in statements if one.alone])
            _together(conn, [one for one in statements if not one.alone])
        except AccountdbError as error:
            raise AccountdbError(f"the fix fails on the copy: {error.message}", hint=error.hint) from error
        remaining = {left.identity for left in (*fix.left, *unproven)}
        left_over = _differing(wanted, (target, wanted), conn, remaining)
        if left_over:
            raise AccountdbError(f"the fix leaves the copy different: {left_over[0]}", hint=_BY_HAND)
        rehearsal.survived(before, rehearsal.contents(conn, watching))
        version = str(conn.info.parameter_status("server_version"))
        return Proof(version, len(statements), len(watching), rows, time.monotonic() - began, unproven)


def _about(one: FixStatement, unproven: Sequence[Left]) -> bool:
    """Whether a statement is about an extension that the scratch server does not have."""
    return any(left.identity == one.objects[0] and left.identity.kind == "extension" for left in unproven)


@contextmanager
def _scratch(target: Structure, wanted: Structure, scratch_dsn: str | None) -> Iterator[str]:
    if scratch_dsn is not None:
        with scratch_database(scratch_dsn) as dsn:
            yield dsn
        return
    with (
        tempfile.TemporaryDirectory(prefix="accountdb-fix-") as folder,
        lab.up(Path(folder) / "lab", _mode(target), owner_pid=os.getpid()) as pending,
    ):
        dsn = pending.lab.region("cn").admin_dsn
        with connect(dsn, name="scratch", autocommit=True) as conn:
            _make_roles(conn, target, wanted)
        yield dsn


def _mode(target: Structure) -> lab.Mode:
    """The server that is nearest to the target's: PostgreSQL 15 where pglogical is, else the embedded one."""
    pglogical = Identity("extension", "", "pglogical") in target.objects
    older = target.major is not None and target.major < _EMBEDDED_SINCE
    return "pglogical" if (pglogical or older) and _has_15() else "pgsync"


def _has_15() -> bool:
    from accountdb.lab import binaries

    try:
        return bool(binaries.find("pglogical"))
    except AccountdbError:
        return False


def _make_roles(conn: Connection, *structures: Structure) -> None:
    """Roles that may not log in, for the grants and policies of the copy."""
    wanted: set[str] = set()
    for structure in structures:
        for one, definition in structure.objects.items():
            wanted |= {role for key in definition if key.startswith(GRANT) and (role := grantee(key))}
            wanted |= set(policy_roles(definition)) if one.kind == "policy" else set()
    there = {row[0] for row in conn.execute("SELECT rolname FROM pg_catalog.pg_roles").fetchall()}
    for role in sorted(wanted - there):
        conn.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))


def _possible(conn: Connection, target: Structure, wanted: Structure) -> tuple[Structure, Structure, tuple[Left, ...]]:
    """Both structures without what no scratch server can have, and what that is.

    Extensions that it lacks are left out: where something needs one, the copy fails, and says so.
    """
    facts = read_facts(conn)
    here = read_structure(conn)
    narrowed, _ = alike({"target": target, "wanted": wanted, "here": here})
    out = []
    unproven: dict[Identity, Left] = {}
    for structure in (narrowed["target"], narrowed["wanted"]):
        kept = {one: definition for one, definition in structure.objects.items() if one.kind in RANK}
        for one in [one for one in kept if one.kind == "extension" and one.name not in (facts.extensions or ())]:
            unproven[one] = Left(one, "the scratch server does not have it")
            del kept[one]
        out.append(replace(structure, objects=kept))
        for left in plan_fix(out[-1], here, facts).left:
            unproven.setdefault(left.identity, left)
    return out[0], out[1], tuple(unproven.values())


def _make(conn: Connection, target: Structure, queries: Mapping[Identity, str]) -> list[FixStatement]:
    """The structure in the empty database, but for what must wait until the rows are there."""
    plan = plan_fix(target, read_structure(conn), replace(read_facts(conn), queries=queries))
    late = [one for one in plan.statements if _is_late(one, target)]
    waiting = set(map(id, late))
    try:
        run_alone(conn, [one for one in plan.statements if one.alone])
        _together(conn, [one for one in plan.statements if not one.alone and id(one) not in waiting])
    except AccountdbError as error:
        raise AccountdbError(
            f"the fix cannot be proven: the copy of the structure cannot be made: {error.message}",
            hint="--scratch DSN names a server with the same extensions; " + _BY_HAND,
        ) from error
    return late


def _is_late(one: FixStatement, target: Structure) -> bool:
    """Triggers must not fire for copied rows, and not every copied row has its parent or passes a check."""
    part = one.objects[0]
    if part.kind != "constraint":
        return part.kind in _LATE
    definition = target.objects[part]
    return str(definition["definition"]).startswith("FOREIGN") or definition.get("validated") is False


def _together(conn: Connection, statements: Sequence[FixStatement]) -> None:
    with conn.transaction():
        run(conn, statements)


def _fill(scratch: Connection, target_dsn: str, target: Structure) -> int:
    try:
        with connect(target_dsn, name="region") as source, scratch.transaction():
            source.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            copied = rehearsal.copy(source, scratch, target)
            return copied - rehearsal.drop_orphans(scratch, target)
    except psycopg.Error as error:
        known = told(error, target_dsn)
        raise AccountdbError(
            f"the fix cannot be proven: rows cannot be copied: {known.message}",
            hint="the role must read every table; " + _BY_HAND,
        ) from error


def _differing(
    expected: Structure, regions: tuple[Structure, Structure], conn: Connection, but: set[Identity]
) -> list[str]:
    """How the copy differs from ``expected`` in what can be compared between the servers of all."""
    sides, _ = alike({"target": regions[0], "wanted": regions[1], "expected": expected, "found": read_structure(conn)})
    return [describe(drift) for drift in compare(sides["expected"], sides["found"]) if drift.identity not in but]


def summary(proof: Proof) -> str:
    """One line for a person."""
    names = ", ".join(said(left.identity) for left in proof.unproven)
    unproven = f"; not proven: {names}" if names else ""
    kept = f"{proof.rows} rows of {proof.tables} tables are what they were"
    return (
        f"proven on PostgreSQL {proof.server}: {proof.statements} statements, {kept}, no drift,"
        f" {proof.seconds:.1f} s{unproven}"
    )
