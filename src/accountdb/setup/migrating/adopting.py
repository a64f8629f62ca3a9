"""Taking over a live database: one that golang-migrate managed, or one without any history."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from accountdb.drift.compare import compare
from accountdb.drift.describe import describe
from accountdb.drift.fingerprint import core, digests, fingerprint
from accountdb.drift.read import read_structure
from accountdb.drift.scratch import scratch_database
from accountdb.drift.structure import Structure
from accountdb.errors import AccountdbError, Refused
from accountdb.migrations import runner
from accountdb.migrations.files import Migration, shipped
from accountdb.migrations.ledger import Journal, golang, ledger, prepare
from accountdb.migrations.planning import Plan, Step
from accountdb.pg import session as sessions
from accountdb.pg.connect import Connection, session
from accountdb.sql import folder, text

_KNOWN = "drift/known.json"
_NAMED = 5


@cache
def known() -> dict[int, frozenset[tuple[str, ...]]]:
    """What each version of the package's own files makes: kind, schema, name and digest of every object."""
    document = json.loads(text(_KNOWN))["versions"]
    return {int(version): frozenset(tuple(one) for one in objects) for version, objects in document.items()}


def version_of(structure: Structure) -> int:
    """The newest version whose objects all stand here as it makes them, whatever else there is; 0 for none."""
    found = _objects(structure)
    return max((version for version, objects in known().items() if objects <= found), default=0)


def _objects(structure: Structure) -> frozenset[tuple[str, ...]]:
    return frozenset((*one, digest) for one, digest in digests(structure).items())


def adopt_own(conn: Connection, tell: Callable[[str], None]) -> None:
    """Note the package's own files as applied where their tables stand and nothing is noted, and commit.

    Without effect on a region that has a ledger, or that stands at no known version: then the files run,
    which bring whatever is there under the row contract. Raises AccountdbError where golang-migrate left a
    file half done.
    """
    if ledger(conn):
        conn.commit()
        return
    theirs = golang(conn)
    if theirs is not None and theirs.dirty:
        raise AccountdbError(
            f"golang-migrate left version {theirs.version} dirty: a file of it failed half-way",
            hint="mend it and run its own `force VERSION`, then migrate here",
        )
    standing = version_of(read_structure(conn))
    conn.commit()
    if standing:
        _note(conn, [m for m in shipped() if m.version <= standing], tell)


def adopt_folder(
    conn: Connection, files: Sequence[Migration], dsn: str, tell: Callable[[str], None], *, by_structure: bool
) -> None:
    """Note the files of a folder as applied: those that golang-migrate has noted, or by what stands here.

    ``by_structure``: each version of the folder is made in a scratch database on the server of ``dsn``, and
    the one that equals this database is taken. Without effect where a file of the folder is noted
    already. Raises Refused where no version equals it, with what is nearest.
    """
    series = files[0].series
    if any(entry.series == series for entry in ledger(conn)):
        conn.commit()
        return
    theirs = golang(conn)
    if theirs is not None:
        found = [m for m in files if m.version <= theirs.version]
        conn.commit()
        if files and theirs.version not in {m.version for m in files}:
            raise AccountdbError(
                f"golang-migrate has noted version {theirs.version}, and no file of the folder has it",
                hint="name the folder that golang-migrate was run with",
            )
        tell(f"golang-migrate has noted version {theirs.version}: its files are taken as applied")
        _note(conn, found, tell)
        return
    if by_structure:
        mine = read_structure(conn)
        conn.commit()
        _note(conn, files[: _equal_version(mine, files, dsn)], tell)


def _equal_version(mine: Structure, files: Sequence[Migration], dsn: str) -> int:
    """How many of ``files`` make what stands here."""
    nearest: tuple[int, str] | None = None
    with scratch_database(dsn) as scratch, session(scratch) as conn:
        runner.migrate(conn)
        for count in range(len(files) + 1):
            if count:
                runner.apply(conn, Plan(0, 0, (Step(files[count - 1], True),)))
            made = core(read_structure(conn))
            conn.commit()
            drifts = compare(made, core(mine))
            if not drifts:
                return count
            lines = "; ".join(describe(drift) for drift in drifts[:_NAMED])
            apart = len(_objects(made) ^ _objects(mine))
            if nearest is None or apart < nearest[0]:
                at = files[count - 1].title if count else "no file"
                nearest = (apart, f"nearest is {at}, with {len(drifts)} differences: {lines}")
    raise Refused(
        f"this database equals no version of the folder; {nearest[1] if nearest else ''}",
        hint="mend the differences; or without --adopt, which runs every file",
    )


def _note(conn: Connection, files: Sequence[Migration], tell: Callable[[str], None]) -> None:
    with conn.transaction():
        sessions.act_as_owner(conn)
        prepare(conn)
        now = fingerprint(read_structure(conn))
        journal = Journal()
        for migration in files:
            journal.note(conn, Step(migration, True), 0, now, now, how="adopted")
        conn.execute("RESET ROLE")
    if files:
        tell(f"adopted: what stands here equals {files[-1].title}, nothing was run")


def known_text(dsn: str) -> str:
    """``known.json``, made in a scratch database on the server of ``dsn``."""
    versions: dict[str, list[list[str]]] = {}
    with scratch_database(dsn) as scratch, session(scratch) as conn:
        for migration in shipped():
            runner.migrate(conn, migration.version)
            versions[str(migration.version)] = sorted(list(one) for one in _objects(read_structure(conn)))
            conn.commit()
    document: Mapping[str, object] = {
        "generated_by": "python -m accountdb.setup.migrating.adopting DSN",
        "versions": versions,
    }
    return json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    (Path(str(folder())) / _KNOWN).write_text(known_text(sys.argv[1]), encoding="utf-8")
