"""Rows that are judged one by one: doing in each region what it has to, through the region's guard.

Each region is given the other's copy, and its own guard judges it, by what stands there at that
moment: the same judge as for what streams bring, so the same verdict. A decision that a newer
change has overtaken does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from psycopg import sql

from accountdb.catalog.tables import Table
from accountdb.compare.diff import Comparison
from accountdb.compare.model import Shape
from accountdb.contract.decide import Action, Part
from accountdb.merge.batch import EVERY, Batch, UnsettledError, Written, delete
from accountdb.merge.judging import Judged
from accountdb.merge.recording import Recorder
from accountdb.merge.writer import Writer
from accountdb.pg.connect import Connection

BATCH = 500


@dataclass(frozen=True)
class Regions:
    """Both regions of a merge, one writer for each; None for one that only gives. ``tables`` are by title."""

    found: Comparison
    tables: Mapping[str, Table]
    a: Writer | None
    b: Writer | None
    recorders: Mapping[str, Recorder] = field(default_factory=dict, repr=False)
    """By region, where what is written has to be remembered."""
    unseen: Callable[[Table], sql.Composable] = lambda _: EVERY
    """A condition on row t of a table: that the other region may never have seen it."""

    def write(self, shape: Shape, work: Sequence[Judged], *, patient: bool) -> Written:
        """Have each region insert and update what it has to.

        ``patient``: what needs a row that is still to come, or a value that is not given up, is left
        for later; else the guard judges it as it is.
        """
        done = Written()
        for one in self._both(work, partial(self._write, shape, patient)):
            done.waiting |= one.waiting
            done.along += one.along
        return done

    def delete(self, shape: Shape, work: Sequence[Judged]) -> None:
        """Have each region delete what is dead."""
        self._both(work, partial(self._delete, self.tables[shape.title]))

    def _both(self, work: Sequence[Judged], apply: Callable[[int, list[Part]], Written]) -> list[Written]:
        done = []
        with ThreadPoolExecutor(2) as pool:
            for start in range(0, len(work), BATCH):
                batch = work[start : start + BATCH]
                sides = ([one.decision.a for one in batch], [one.decision.b for one in batch])
                futures = [pool.submit(apply, side, parts) for side, parts in enumerate(sides) if self._writer(side)]
                done += [future.result() for future in futures]
        return done

    def _writer(self, side: int) -> Writer | None:
        return (self.a, self.b)[side]

    def _write(self, shape: Shape, patient: bool, side: int, parts: list[Part]) -> Written:
        wanted = [part for part in parts if part.action in (Action.INSERT, Action.UPDATE)]
        writer = self._writer(side)
        if not wanted or writer is None:
            return Written()
        table = self.tables[shape.title]
        recorder = self.recorders.get(writer.name)

        stubborn: frozenset[UUID] = frozenset()
        while True:

            def write(conn: Connection, stubborn: frozenset[UUID] = stubborn) -> Written:
                # Anew for each try: what stands may have changed.
                batch = Batch(self.found, shape, table, writer, side, recorder, patient, stubborn, self.unseen(table))
                return batch.write(conn, wanted)

            try:
                return writer.run(write)
            except UnsettledError as error:
                stubborn |= error.rows

    def _delete(self, table: Table, side: int, parts: list[Part]) -> Written:
        dead = [part for part in parts if part.action is Action.DELETE and part.own]
        writer = self._writer(side)
        if not dead or writer is None:
            return Written()
        recorder = self.recorders.get(writer.name)
        keys = [part.own.uuid for part in dead if part.own]

        def run(conn: Connection) -> None:
            with recorder.recorded(conn, table, keys, staged=False) if recorder else nullcontext():
                for part in dead:
                    delete(conn, table, part)

        writer.run(run)
        return Written()
