"""Migrating several regions: all of them or none, found and finished where the last commit was lost."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg

from accountdb.catalog.tables import read_tables
from accountdb.drift.describe import describe
from accountdb.drift.fingerprint import fingerprint
from accountdb.drift.read import read_structure
from accountdb.drift.verify import compare_regions
from accountdb.errors import AccountdbError, Refused
from accountdb.migrations import runner
from accountdb.migrations.files import Migration
from accountdb.migrations.ledger import Journal, begun, has_run, last_run, ledger
from accountdb.migrations.locks import patiently
from accountdb.migrations.planning import Plan, Step
from accountdb.migrations.steps import LockedError, Patience, run_apart
from accountdb.migrations.together import RegionState, Unfinished, steps_of, unfinished
from accountdb.pg.connect import Connection, told
from accountdb.replication.drain import run_dry
from accountdb.replication.engine import Engine
from accountdb.replication.model import State
from accountdb.setup import fence, recovering, streams
from accountdb.setup.streams import Effects

Tell = Callable[[str], None]

_NAMED = 5


def look(conn: Connection) -> str:
    """The fingerprint of a region's structure, as this session sees it now."""
    return fingerprint(read_structure(conn))


class Together:
    """One migration of several regions. The caller holds the migration lock in each."""

    def __init__(
        self,
        conns: Mapping[str, Connection],
        watched: Mapping[str, tuple[str, int]],
        patience: Patience,
        tell: Tell,
        *,
        allow_data: bool = False,
    ) -> None:
        """``conns``: a connection a region. ``tell`` gets a line for each thing that is done for good."""
        self._conns = conns
        self._watched = watched
        self._patience = patience
        self._tell = tell
        self._allow_data = allow_data
        self._standings = streams.read_standings(conns)

    def finish(self, files: Mapping[str, Sequence[Migration]]) -> None:
        """Finish what an earlier run left unfinished; nothing where it did not.

        Raises AccountdbError where the regions stand at different versions for another reason, or differ.
        """
        for name, conn in self._conns.items():
            for table in fence.down(conn):
                self._tell(f"{name}: a fence that an earlier run left on {table} is taken down")
            conn.commit()
        states = self._states()
        found = unfinished(states)
        if found is not None:
            self._finish(found, steps_of(found.run, files))
        # A file that runs statement by statement may be half done in one region: it goes on from there.
        if not any(begun(conn) for conn in self._conns.values()):
            self._check_equal()

    def _states(self) -> dict[str, RegionState]:
        last = {name: last_run(conn) for name, conn in self._conns.items()}
        runs = {run[0].run for run in last.values() if run}
        states = {
            name: RegionState(
                ledger(conn),
                look(conn),
                last[name],
                frozenset(str(run) for run in runs if has_run(conn, run)),
                begun(conn),
            )
            for name, conn in self._conns.items()
        }
        for conn in self._conns.values():
            conn.commit()
        return states

    def _finish(self, found: Unfinished, steps: tuple[Step, ...]) -> None:
        run, wanted = found.run[0].run, found.run[-1].after
        for name in found.regions:
            conn = self._conns[name]
            self._tell(f"{name}: the last run was committed in {found.leader} and did not come through here; finishing")
            regions = found.run[0].regions
            engine = self._standings.engines.get(name)
            if steps[0].script.together:
                effects = streams.rehearse(conn, steps, engine, self._patience) if engine else None
                fenced = streams.to_fence(effects, self._standings.replicated) if effects else ()
                with self._fenced(fenced, [name]):
                    if fenced:
                        self._let_through(found.leader, name)
                    patiently(
                        lambda: self._finish_here(
                            found.leader, name, steps, Journal(regions, run), effects, wanted
                        ),
                        self._patience,
                        self._watch(name),
                    )
            else:
                run_apart(conn, steps[0], Journal(regions, run), look, self._patience)
            for step in steps:
                self._tell(f"{name}: {step.title}")
        with self._fenced(()):
            self._stream()

    def _let_through(self, leader: str, name: str) -> None:
        """Have the leader take in what this region has written in the old form since the last run died."""
        engine = self._standings.engines.get(leader)
        if engine is None or recovering.runs_dry({name: self._conns[name]}):
            return
        self._tell(f"{leader}: takes the old form again until its stream has run dry")
        patiently(
            lambda: self._take_old_form(leader, name, engine),
            self._patience,
            self._watch(leader),
        )
        run_dry({name: self._conns[name]})

    def _take_old_form(self, leader: str, name: str, engine: Engine) -> None:
        with _rolled_back([self._conns[leader], self._conns[name]]):
            try:
                recovering.take_old_form(self._conns[leader], self._conns[name], engine)
            except psycopg.errors.LockNotAvailable as error:
                raise LockedError(f"{leader}: {told(error).message}") from error

    def _finish_here(
        self,
        leader: str,
        name: str,
        steps: Sequence[Step],
        journal: Journal,
        effects: Effects | None,
        wanted: str | None,
    ) -> None:
        conn = self._conns[name]
        with _rolled_back([conn, self._conns[leader]]):
            after = self._run(name, steps, journal, effects)
            if after != wanted:
                raise AccountdbError(
                    f"{name}: finishing the last run makes another structure than it made in the other region;"
                    " nothing was done here",
                    hint="migratectl check names the differences",
                )
            # Where it has taken the old form again. Committed first: so a death leaves what the run itself left.
            self._take_form_of(leader, name)
            self._conns[leader].commit()
            conn.commit()

    def _take_form_of(self, leader: str, name: str) -> None:
        try:
            recovering.take_form_of(self._conns[leader], self._conns[name])
        except psycopg.errors.LockNotAvailable as error:
            raise LockedError(f"{leader}: {told(error).message}") from error

    def _check_equal(self, when: str = "before the migration, so nothing was done") -> None:
        first, *others = self._conns
        for name in others:
            drifts = compare_regions(self._conns[first], self._conns[name])
            self._conns[first].rollback()
            self._conns[name].rollback()
            if drifts:
                raise AccountdbError(
                    f"{first} and {name} differ {when}: {_listed(drifts, first, name)}",
                    hint="migratectl check --fix-sql FILE writes what makes them equal; then migrate again",
                )

    def apply(self, plan: Plan) -> None:
        """Run the steps of ``plan`` in all regions or in none. The regions are equal, and stay so."""
        for steps in segments(plan.steps):
            if steps[0].script.together:
                self._apply(steps)
            else:
                self._apply_apart(steps[0])
            for name in self._conns:
                for step in steps:
                    self._tell(f"{name}: {step.title}")

    def _apply(self, steps: Sequence[Step]) -> None:
        effects = self._rehearse(steps) if self._standings.live else {}
        fenced = sorted({t for e in effects.values() for t in streams.to_fence(e, self._standings.replicated)})
        if fenced:
            self._refuse_stopped()
        with self._fenced(fenced):
            if fenced:
                run_dry({name: self._conns[name] for name in self._standings.engines})
            patiently(lambda: self._once(steps, effects), self._patience, self._watched)
            # A new table has its fence until every stream takes it in: what was written before would be passed over.
            self._stream()

    def _refuse_stopped(self) -> None:
        """Nobody waits for a stream that is known to stand still."""
        for name, engine in self._standings.engines.items():
            for subscription in engine.standing(self._conns[name]).subscriptions:
                if subscription.state in (State.DISABLED, State.PENDING):
                    raise AccountdbError(
                        f"{name}: {subscription.name} is {subscription.state}, so it cannot run dry first;"
                        " nothing was done in any region",
                        hint="migratectl region resume, or region join; then migrate again",
                    )
            self._conns[name].commit()

    def _rehearse(self, steps: Sequence[Step]) -> dict[str, Effects]:
        """What the steps do in each region. Refuses rows that they write where the stream would write them too."""
        found: dict[str, Effects] = {}
        for name, conn in self._conns.items():
            engine = self._standings.engines.get(name)
            found[name] = patiently(
                lambda: streams.rehearse(conn, steps, engine, self._patience),  # noqa: B023
                self._patience,
                self._watch(name),
            )
            both = set(found[name].written) & self._standings.replicated
            if both and not self._allow_data:
                raise Refused(
                    f"{name}: the migration writes rows of {', '.join(sorted(both))}, which is replicated: they would"
                    " be written in every region and come through the stream as well",
                    hint="change data in one region, by a program or psql; --allow-data runs it in all as it is",
                )
        return found

    @contextmanager
    def _fenced(self, tables: Sequence[str], regions: Sequence[str] = ()) -> Iterator[None]:
        """Nobody but the streams writes ``tables`` in ``regions`` (none: in all) within the block.

        Every fence is down after it.
        """
        if not self._standings.live:
            yield
            return
        if tables:
            self._tell(f"streams run dry before {', '.join(tables)} change; writers of these are told to try again")
        try:
            for name, conn in self._conns.items():
                if not tables or (regions and name not in regions):
                    continue
                patiently(lambda: self._raise_fence(conn, tables), self._patience, self._watch(name))  # noqa: B023
            yield
        finally:
            for conn in self._conns.values():
                if not conn.broken:
                    conn.rollback()
                    fence.down(conn)
                    conn.commit()

    def _raise_fence(self, conn: Connection, tables: Sequence[str]) -> None:
        with _rolled_back([conn]):
            try:
                fence.up(conn, streams.identifiers(read_tables(conn), tables), self._patience)
            except psycopg.errors.LockNotAvailable as error:
                raise LockedError(
                    f"a table of {', '.join(tables)} is written without end: {told(error).message}"
                ) from None
            conn.commit()

    def _once(self, steps: Sequence[Step], effects: Mapping[str, Effects]) -> None:
        """All steps in an open transaction of each region, compared, and then committed."""
        run = uuid.uuid4()
        with _rolled_back(list(self._conns.values())):
            with ThreadPoolExecutor(len(self._conns)) as pool:
                done = [
                    pool.submit(self._run, name, steps, Journal(len(self._conns), run), effects.get(name))
                    for name in self._conns
                ]
                after = [one.result() for one in done]
            if len(set(after)) > 1:
                self._refuse_difference()
            self._commit(steps)

    def _refuse_difference(self) -> None:
        """Raises AccountdbError where the structures really differ, inside the open transactions."""
        first, *others = self._conns
        for other in others:
            drifts = compare_regions(self._conns[first], self._conns[other])
            if drifts:
                raise AccountdbError(
                    "after the migration the regions would differ, so nothing was done: "
                    + _listed(drifts, first, other),
                    hint="make the migration's result depend on nothing that differs between the regions",
                )

    def _run(self, name: str, steps: Sequence[Step], journal: Journal, effects: Effects | None) -> str | None:
        conn = self._conns[name]
        engine = self._standings.engines.get(name)
        try:
            fence.down(conn)
            if engine is not None:
                streams.let_go(conn, engine, steps)
            after = runner.together(conn, steps, journal, look, self._patience)
            new = streams.take_in(conn, engine, effects)
            if new:
                fence.up(conn, streams.identifiers(read_tables(conn), new), self._patience)
        except AccountdbError as error:
            named = f"{name}: {error.message}; nothing was done in any region"
            kind = LockedError if isinstance(error, LockedError) else AccountdbError
            raise kind(named, hint=error.hint) from error
        except psycopg.Error as error:
            raise AccountdbError(f"{name}: {told(error).message}; nothing was done in any region") from error
        return after

    def _commit(self, steps: Sequence[Step]) -> None:
        committed: list[str] = []
        for name, conn in self._conns.items():
            try:
                conn.commit()
            except psycopg.Error as error:
                if not committed:
                    raise AccountdbError(
                        f"{name}: {told(error).message} while committing {steps[-1].title}",
                        hint="the same command again: it finds how far each region is, and finishes",
                    ) from error
                raise AccountdbError(
                    f"{steps[-1].title} is applied in {', '.join(committed)}; {name} was lost while committing:"
                    f" {told(error).message}",
                    hint="the same command again finishes it there, once the region is back",
                ) from error
            committed.append(name)

    def _apply_apart(self, step: Step) -> None:
        """A file that is in no transaction: one region after the other, each from where it has come."""
        run = uuid.uuid4()
        for name, conn in self._conns.items():
            journal = Journal(len(self._conns), run)
            patiently(
                lambda: run_apart(conn, step, journal, look, self._patience),  # noqa: B023
                self._patience,
                self._watch(name),
            )
        self._check_equal(f"after {step.title}")

    def _stream(self) -> None:
        """Have the streams take in what is new. Run again it changes nothing."""
        if not self._standings.live:
            return
        for conn in self._conns.values():
            conn.commit()
            conn.autocommit = True
        try:
            streams.follow(self._conns, self._standings)
        finally:
            for conn in self._conns.values():
                if not conn.broken:
                    conn.autocommit = False

    def _watch(self, name: str) -> dict[str, tuple[str, int]]:
        return {name: self._watched[name]}


@contextmanager
def _rolled_back(conns: Sequence[Connection]) -> Iterator[None]:
    """Roll back what is open when the block ends, by whatever way."""
    try:
        yield
    finally:
        for conn in conns:
            if not conn.broken:
                conn.rollback()


def segments(steps: Sequence[Step]) -> list[tuple[Step, ...]]:
    """Steps that are committed together: neighbours in a transaction; one that is in none stands alone. Pure."""
    found: list[tuple[Step, ...]] = []
    for step in steps:
        if found and step.script.together and found[-1][0].script.together:
            found[-1] = (*found[-1], step)
        else:
            found.append((step,))
    return found


def _listed(drifts: Sequence[object], first: str, other: str) -> str:
    lines = [describe(drift) for drift in drifts[:_NAMED]]  # type: ignore[arg-type]
    more = f"; and {len(drifts) - _NAMED} more" if len(drifts) > _NAMED else ""
    return f"({first} -> {other}) " + "; ".join(lines) + more
