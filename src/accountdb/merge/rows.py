"""Rows that are judged one by one: what each region has to do, and doing it through the region's guard.

Each region is given the other's copy, and its own guard judges it, by what stands there at that
moment: the same judge as for what streams bring, so the same verdict. A decision that a newer
change has overtaken does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from psycopg import sql

from accountdb.catalog.tables import Table
from accountdb.compare.diff import Comparison
from accountdb.compare.model import Key, Shape
from accountdb.contract.decide import Action, Copy, Decision, Part, decide
from accountdb.merge.recording import Recorder
from accountdb.merge.writer import FILE, Writer, filled, make_stage, stage_name, writable
from accountdb.pg.connect import Connection
from accountdb.sql import block

BATCH = 500


@dataclass(frozen=True)
class Judged:
    """One row that the regions hold differently, and what becomes of it."""

    key: Key
    decision: Decision

    @property
    def deletes(self) -> bool:
        """Whether a copy has to go."""
        return Action.DELETE in (self.decision.a.action, self.decision.b.action)


def decisions(found: Comparison, shape: Shape, keys: Sequence[Key]) -> list[Judged]:
    """What is to be done for some rows: nothing for those that are equal."""
    if not keys:
        return []
    looker = found.looker(shape)
    details, dead = looker.details(keys), looker.dead(keys)
    positions = _writable_positions(shape)
    judged = []
    for key, (a, b) in zip(keys, details, strict=True):
        copies = [_writable(detail.copy, positions) if detail and detail.copy else None for detail in (a, b)]
        decision = decide(copies[0], copies[1], dead.get(UUID(key[0]), {}))
        if not decision.settled:
            judged.append(Judged(key, decision))
    return judged


@dataclass(frozen=True)
class Regions:
    """Both regions of a merge, one writer for each."""

    tables: Mapping[str, Table]
    a: Writer
    b: Writer
    recorders: Mapping[str, Recorder] = field(default_factory=dict, repr=False)
    """By region, where what is written has to be remembered."""

    def write(self, shape: Shape, work: Sequence[Judged]) -> None:
        """Have each region insert and update what it has to."""
        table = self.tables[shape.title]

        def apply(writer: Writer, parts: list[Part]) -> None:
            copies = [p.result for p in parts if p.action in (Action.INSERT, Action.UPDATE) and p.result]
            if copies:
                writer.run(lambda conn: self._insert(writer, conn, table, copies))

        self._both(work, apply)

    def delete(self, shape: Shape, work: Sequence[Judged]) -> None:
        """Have each region delete what is dead."""
        table = self.tables[shape.title]

        def apply(writer: Writer, parts: list[Part]) -> None:
            dead = [(p.own.uuid, p.own.created_at, p.heir) for p in parts if p.action is Action.DELETE and p.own]
            if dead:
                writer.run(lambda conn: self._delete(writer, conn, table, dead))

        self._both(work, apply)

    def _both(self, work: Sequence[Judged], apply: Callable[[Writer, list[Part]], None]) -> None:
        with ThreadPoolExecutor(2) as pool:
            for start in range(0, len(work), BATCH):
                batch = work[start : start + BATCH]
                sides = (
                    (self.a, [judged.decision.a for judged in batch]),
                    (self.b, [judged.decision.b for judged in batch]),
                )
                for future in [pool.submit(apply, writer, parts) for writer, parts in sides]:
                    future.result()

    def _insert(self, writer: Writer, conn: Connection, table: Table, copies: Sequence[Copy]) -> None:
        make_stage(conn, table)
        columns = [sql.Identifier(name) for name in ("accountdb_n", *writable(table))]
        statement = sql.SQL(block(FILE, "receive")).format(
            into=stage_name(table), columns=sql.SQL(", ").join(columns), format=sql.SQL("text")
        )
        with conn.cursor() as cursor, cursor.copy(statement) as copy:
            for number, row in enumerate(copies):
                copy.write_row((number, *row.values))
        with self._recorded(writer, conn, table, [row.uuid for row in copies], staged=True):
            conn.execute(filled("insert_judged", table), {"unused": None})

    def _delete(
        self, writer: Writer, conn: Connection, table: Table, dead: Sequence[tuple[UUID, datetime, UUID | None]]
    ) -> None:
        with self._recorded(writer, conn, table, [uuid for uuid, _, _ in dead], staged=False):
            for uuid, created_at, heir in dead:
                conn.execute(block(FILE, "merged_into"), (heir,))
                for step in ("bury", "delete"):
                    conn.execute(filled(step, table), (uuid, created_at))
            conn.execute(block(FILE, "merged_into"), (None,))

    def _recorded(
        self, writer: Writer, conn: Connection, table: Table, keys: Iterable[UUID], *, staged: bool
    ) -> AbstractContextManager[None]:
        recorder = self.recorders.get(writer.name)
        return recorder.recorded(conn, table, keys, staged=staged) if recorder else nullcontext()


def _writable_positions(shape: Shape) -> list[int]:
    return [n for n, column in enumerate(shape.columns) if not column.generated]


def _writable(copy: Copy, positions: Sequence[int]) -> Copy:
    """A copy as it is written: generated columns are not."""
    return replace(copy, values=tuple(copy.values[n] for n in positions))
