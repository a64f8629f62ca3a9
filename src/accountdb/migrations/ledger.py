"""The ledger of a region: what is applied, what was ever done, and how far a file has come."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from accountdb.errors import AccountdbError
from accountdb.migrations.files import LEDGER_FILE
from accountdb.migrations.planning import Applied, Step
from accountdb.pg.connect import Connection
from accountdb.sql import block, text

_FILE = "migrations.sql"


@dataclass(frozen=True)
class Logged:
    """One step that was done. Steps of one ``run`` were committed together, in ``regions`` regions."""

    run: uuid.UUID
    position: int
    series: str
    version: int
    name: str
    direction: str
    checksum: str
    regions: int
    before: str | None
    after: str | None

    @property
    def title(self) -> str:
        """The file and its direction."""
        return f"{self.version:04d}_{self.name} {self.direction}"


@dataclass(frozen=True)
class Golang:
    """What golang-migrate has noted. ``dirty``: a file failed half-way."""

    version: int
    dirty: bool


@dataclass
class Journal:
    """Notes the steps of one run in one region. ``regions``: in how many it is committed together."""

    regions: int = 1
    run: uuid.UUID = field(default_factory=uuid.uuid4)
    position: int = 0

    def note(
        self,
        conn: Connection,
        step: Step,
        seconds: float,
        before: str | None,
        after: str | None,
        how: str | None = None,
    ) -> None:
        """Note a step as done, in the caller's transaction. ``how``: other than its direction."""
        migration = step.migration
        values = {
            "series": migration.series,
            "version": migration.version,
            "name": migration.name,
            "checksum": migration.checksum,
            "seconds": seconds,
        }
        conn.execute(block(_FILE, "apply" if step.up else "take_back"), values)
        conn.execute(block(_FILE, "forget_progress"), {**values, "direction": step.direction})
        more = {"direction": how or step.direction, "before": before, "after": after}
        conn.execute(
            block(_FILE, "log"),
            {**values, **more, "run": self.run, "position": self.position, "regions": self.regions},
        )
        self.position += 1


def ledger(conn: Connection) -> tuple[Applied, ...]:
    """What is applied here, in order; empty for a database that never was migrated."""
    there, newest = _shape(conn)
    if not there:
        return ()
    return tuple(Applied(*entry) for entry in conn.execute(block(_FILE, "ledger" if newest else "old_ledger")))


def last_run(conn: Connection) -> tuple[Logged, ...]:
    """The steps that were committed last, together; empty where nothing is logged."""
    if not _shape(conn)[1]:
        return ()
    return tuple(Logged(*entry) for entry in conn.execute(block(_FILE, "last_run")))


def has_run(conn: Connection, run: uuid.UUID) -> bool:
    """Whether this run was committed here too."""
    if not _shape(conn)[1]:
        return False
    row = conn.execute(block(_FILE, "has_run"), {"run": run}).fetchone()
    return bool(row and row[0])


def progress(conn: Connection, step: Step) -> tuple[int, int]:
    """Of a file that runs statement by statement: the last statement that was begun, and the last one done.

    (0, 0) before the first. Raises AccountdbError where the file was changed half-way.
    """
    if not _shape(conn)[1]:
        return 0, 0
    key = {"series": step.migration.series, "version": step.migration.version, "direction": step.direction}
    row = conn.execute(block(_FILE, "progress"), key).fetchone()
    if row is None:
        return 0, 0
    begun, done, checksum = row
    if checksum != step.migration.checksum:
        raise AccountdbError(
            f"migration {step.title} was changed after {done} of its statements were done here",
            hint="restore the file as it was begun; a change belongs into a new migration",
        )
    return begun, done


def begun(conn: Connection) -> bool:
    """Whether a file that runs statement by statement was begun here and is not through."""
    if not _shape(conn)[1]:
        return False
    row = conn.execute(block(_FILE, "begun")).fetchone()
    return bool(row and row[0])


def note_progress(conn: Connection, step: Step, begun: int, done: int) -> None:
    """Note how far the file has come, in the caller's transaction."""
    values = {
        "series": step.migration.series,
        "version": step.migration.version,
        "direction": step.direction,
        "checksum": step.migration.checksum,
        "begun": begun,
        "done": done,
    }
    conn.execute(block(_FILE, "note_progress"), values)


def prepare(conn: Connection) -> None:
    """Make the ledger where there is none, or an old one, in the caller's transaction and as its role."""
    if not _shape(conn)[1]:
        conn.execute(text(LEDGER_FILE).encode())


def golang(conn: Connection) -> Golang | None:
    """What golang-migrate has noted in this database; None where it never was."""
    row = conn.execute(block(_FILE, "has_golang")).fetchone()
    if not (row and row[0]):
        return None
    found = conn.execute(block(_FILE, "golang")).fetchone()
    return Golang(*found) if found else None


def _shape(conn: Connection) -> tuple[bool, bool]:
    row = conn.execute(block(_FILE, "shape")).fetchone()
    assert row is not None
    return row[0], row[1]
