"""The regions of one migration, and what is done to each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psycopg

from accountdb.catalog.tables import read_tables
from accountdb.drift.compare import Drift
from accountdb.drift.describe import describe
from accountdb.drift.fingerprint import look
from accountdb.drift.verify import compare_regions
from accountdb.errors import AccountdbError
from accountdb.migrations import runner
from accountdb.migrations.ledger import Journal
from accountdb.migrations.locks import T, patiently
from accountdb.migrations.planning import Step
from accountdb.migrations.steps import LockedError, Patience, run_apart
from accountdb.pg.connect import Connection, told
from accountdb.setup.migrating import fence, streams
from accountdb.setup.migrating.streams import Effects, Standings

Tell = Callable[[str], None]

_NAMED = 5
_LOCKED = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


@dataclass(frozen=True)
class Regions:
    """Several regions under one migration lock each. ``tell`` gets a line for each thing that is done for good.

    ``watched`` as in ``locks.patiently``.
    """

    conns: Mapping[str, Connection]
    watched: Mapping[str, tuple[str, int]]
    patience: Patience
    tell: Tell
    standings: Standings = field(init=False)

    def __post_init__(self) -> None:
        """Look at what streams, once."""
        object.__setattr__(self, "standings", streams.read_standings(self.conns))

    def try_in(self, name: str, act: Callable[[], T]) -> T:
        """``act()``, tried again while it meets a lock in this region."""
        return patiently(act, self.patience, {name: self.watched[name]})

    def run(self, name: str, steps: Sequence[Step], journal: Journal, effects: Effects | None) -> str | None:
        """Run and note ``steps`` in the region's open transaction; the fingerprint afterwards.

        Raises AccountdbError, which names the region, and LockedError.
        """
        conn = self.conns[name]
        engine = self.standings.engines.get(name)
        with self.named(name):
            fence.down(conn, self.patience)
            if engine is not None:
                streams.let_go(conn, engine, steps)
            after = runner.together(conn, steps, journal, look, self.patience)
            new = streams.take_in(conn, engine, effects)
            if new:
                fence.up(conn, streams.identifiers(read_tables(conn), new), self.patience)
        return after

    def run_apart(self, name: str, step: Step, journal: Journal) -> None:
        """Run and note a file that is in no transaction, from where it has come."""
        self.try_in(name, lambda: run_apart(self.conns[name], step, journal, look, self.patience))

    @contextmanager
    def named(self, name: str) -> Iterator[None]:
        """Errors within the block name the region, and those of locks can be tried again."""
        prefix, suffix = (f"{name}: ", "; nothing was done in any region") if name else ("", "")
        try:
            yield
        except AccountdbError as error:
            raise type(error)(f"{prefix}{error.message}{suffix}", hint=error.hint) from error
        except psycopg.Error as error:
            kind = LockedError if isinstance(error, _LOCKED) else AccountdbError
            raise kind(f"{prefix}{told(error).message}{suffix}") from error

    @contextmanager
    def fenced(self, tables: Sequence[str], names: Sequence[str] = ()) -> Iterator[None]:
        """Nobody but the streams writes ``tables`` in the regions ``names`` (none: in all) within the block.

        Every fence is down after it.
        """
        if not self.standings.live:
            yield
            return
        if tables:
            self.tell(f"streams run dry before {', '.join(tables)} change; writers of these are told to try again")
        try:
            for name in names or self.conns if tables else ():
                self.try_in(name, lambda name=name: self._raise_fence(name, tables))  # type: ignore[misc]
            yield
        finally:
            for name, conn in self.conns.items():
                if not conn.broken:
                    conn.rollback()
                    # One that stays turns nobody away once this run has ended, and its own error is what counts.
                    with suppress(AccountdbError):
                        self.clear(name)

    def clear(self, name: str) -> tuple[str, ...]:
        """Take down what fences stand in a region; the tables that had one.

        Raises LockedError while somebody reads one of them without end.
        """
        conn = self.conns[name]

        def act() -> tuple[str, ...]:
            with rolled_back([conn]), self.named(name):
                tables = fence.down(conn, self.patience)
                conn.commit()
                return tables

        return self.try_in(name, act)

    def _raise_fence(self, name: str, tables: Sequence[str]) -> None:
        conn = self.conns[name]
        with rolled_back([conn]), self.named(name):
            fence.up(conn, streams.identifiers(read_tables(conn), tables), self.patience)
            conn.commit()

    def follow(self) -> None:
        """Have the streams take in what is new. Run again it changes nothing."""
        if not self.standings.live:
            return
        for conn in self.conns.values():
            conn.commit()
            conn.autocommit = True
        try:
            streams.follow(self.conns, self.standings)
        finally:
            for conn in self.conns.values():
                if not conn.broken:
                    conn.autocommit = False

    def check_equal(self, when: str, hint: str) -> None:
        """Raises AccountdbError, with the first differences, where two regions differ as their sessions see them."""
        first, *others = self.conns
        for other in others:
            drifts = compare_regions(self.conns[first], self.conns[other])
            if drifts:
                raise AccountdbError(f"{when}: {_listed(drifts, first, other)}", hint=hint)


@contextmanager
def rolled_back(conns: Sequence[Connection]) -> Iterator[None]:
    """Roll back what is open when the block ends, by whatever way."""
    try:
        yield
    finally:
        for conn in conns:
            if not conn.broken:
                conn.rollback()


def _listed(drifts: Sequence[Drift], first: str, other: str) -> str:
    lines = [describe(drift) for drift in drifts[:_NAMED]]
    more = f"; and {len(drifts) - _NAMED} more" if len(drifts) > _NAMED else ""
    return f"({first} -> {other}) " + "; ".join(lines) + more
