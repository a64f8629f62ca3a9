"""``migratectl migrate``: one region, or several that move together or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TypeAlias

from accountdb.drift.fingerprint import look
from accountdb.errors import Refused
from accountdb.migrations import runner
from accountdb.migrations.files import OWN, Migration, from_folder, shipped
from accountdb.migrations.ledger import ledger
from accountdb.migrations.locks import all_locked
from accountdb.migrations.planning import Plan, Step, plan
from accountdb.migrations.rehearsal import Rehearsed, rehearse
from accountdb.migrations.steps import Patience
from accountdb.pg import session
from accountdb.pg.connect import Connection, connect
from accountdb.replication.engine import standing
from accountdb.setup.migrating import streams
from accountdb.setup.migrating.adopting import adopt_folder, adopt_own
from accountdb.setup.migrating.finishing import finish
from accountdb.setup.migrating.regions import Regions, Tell
from accountdb.setup.migrating.together import apply

Series: TypeAlias = tuple[tuple[tuple[Migration, ...], int | None], ...]
"""Files, series by series, each with the version to go to (None: the newest)."""


@dataclass(frozen=True)
class Wish:
    """What ``migrate`` was asked for. ``to`` is a version of the folder where there is one, else of the package.

    ``adopt``: files of the folder are taken as applied by what stands in the database.
    """

    to: int | None = None
    folder: Path | None = None
    allow_down: bool = False
    allow_out_of_order: bool = False
    allow_alone: bool = False
    allow_data: bool = False
    adopt: bool = False
    patience: Patience = field(default_factory=Patience)

    def series(self) -> Series:
        """The files to run, as they are now."""
        if self.folder is None:
            return ((shipped(), self.to),)
        return ((shipped(), None), (from_folder(self.folder), self.to))

    def plan(self, conn: Connection, files: Sequence[Migration], to: int | None) -> Plan:
        """The plan for one series in one region."""
        found = plan(ledger(conn), files, to, allow_down=self.allow_down, allow_out_of_order=self.allow_out_of_order)
        conn.commit()
        return found


@dataclass(frozen=True)
class Moved:
    """How far a region has come: versions of the last series, and how many files of all ran."""

    region: str
    to_version: int
    applied: int


@dataclass(frozen=True)
class RegionPlan:
    """What is pending in a region. ``rehearsed``: what it would do there, where that was asked for."""

    region: str
    steps: tuple[Step, ...]
    rehearsed: tuple[Rehearsed, ...] = ()


def migrate(regions: Mapping[str, str], wish: Wish, tell: Tell = lambda line: None) -> tuple[Moved, ...]:
    """Migrate every region of ``regions`` (DSNs by name; "" for a single one): all or none.

    ``tell`` gets a line for each thing that is done for good. Raises AccountdbError, UsageError or Refused,
    and says then what is applied where.
    """
    # Read once: what is planned is what runs.
    series = wish.series()
    with ExitStack() as stack:
        conns = {name: stack.enter_context(connect(dsn, name=f"--{name or 'dsn'}")) for name, dsn in regions.items()}
        _apart(conns)
        watched = {name: runner.held(dsn, conns[name]) for name, dsn in regions.items()}
        with all_locked(conns):
            for name, conn in conns.items():
                _adopt(name, conn, regions[name], wish, series, tell)
            if len(conns) == 1:
                return tuple(_alone(name, conn, wish, series, watched, tell) for name, conn in conns.items())
            return _together(Regions(conns, watched, wish.patience, tell), wish, series)


def _adopt(name: str, conn: Connection, dsn: str, wish: Wish, series: Series, tell: Tell) -> None:
    def say(line: str) -> None:
        tell(f"{name}: {line}" if name else line)

    adopt_own(conn, say)
    if wish.folder is not None:
        adopt_folder(conn, series[-1][0], dsn, say, by_structure=wish.adopt)


def _apart(conns: Mapping[str, Connection]) -> None:
    for (a, conn_a), (b, conn_b) in combinations(conns.items(), 2):
        if session.same_database(conn_a, conn_b):
            raise Refused(f"{a} and {b} lead to the same database", hint=f"--{b} names the other region")
        conn_a.commit()
        conn_b.commit()


def _alone(
    name: str, conn: Connection, wish: Wish, series: Series, watched: Mapping[str, tuple[str, int]], tell: Tell
) -> Moved:
    applied, version = 0, 0
    Regions({name: conn}, watched, wish.patience, tell).clear(name)
    for files, to in series:
        planned = wish.plan(conn, files, to)
        if planned.steps and files[0].series != OWN:
            _refuse_joined(conn, wish)
        runner.apply(
            conn,
            planned,
            look=look,
            patience=wish.patience,
            watched=watched,
            on_step=lambda step: tell(step.title),
        )
        applied, version = applied + len(planned.steps), planned.to_version
    if applied:
        with conn.transaction():
            streams.take_in(conn, None, None)
    return Moved(name, version, applied)


def _refuse_joined(conn: Connection, wish: Wish) -> None:
    joined = standing(conn).joined
    conn.commit()
    if joined and not wish.allow_alone:
        raise Refused(
            "this region is joined, and the others would not be migrated with it: what it writes may not fit there",
            hint="migrate all: migratectl migrate --cn DSN --global DSN; --allow-alone migrates this one",
        )


def _together(regions: Regions, wish: Wish, series: Series) -> tuple[Moved, ...]:
    finish(regions, {files[0].series: files for files, _ in series})
    applied, version = 0, 0
    first = next(iter(regions.conns.values()))
    for files, to in series:
        # The regions are equal by now, so one plan is the plan of all.
        planned = wish.plan(first, files, to)
        apply(regions, planned, allow_data=wish.allow_data)
        applied, version = applied + len(planned.steps), planned.to_version
    return tuple(Moved(name, version, applied) for name in regions.conns)


def show_plan(regions: Mapping[str, str], wish: Wish, *, rehearsal: bool = False) -> tuple[RegionPlan, ...]:
    """What is pending in each region; applies nothing.

    ``rehearsal``: every pending file is run in a transaction that is rolled back, and what it locks and
    rewrites is told. That takes these locks, for as long as it runs.
    """
    series = wish.series()
    allowed = Wish(allow_down=True, allow_out_of_order=True)
    found = []
    for name, dsn in regions.items():
        with connect(dsn, name=f"--{name or 'dsn'}") as conn:
            steps = tuple(s for files, to in series for s in allowed.plan(conn, files, to).steps)
            done = rehearse(conn, steps, wish.patience) if rehearsal else ()
            found.append(RegionPlan(name, steps, done))
    return tuple(found)


def versions(regions: Mapping[str, str]) -> dict[str, int]:
    """The applied version of the package's own files in each region; 0 where none ever was."""
    found: dict[str, int] = {}
    for name, dsn in regions.items():
        with connect(dsn, name=f"--{name or 'dsn'}") as conn:
            found[name] = runner.version(conn)
    return found
