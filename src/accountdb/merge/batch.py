"""What one region inserts and updates in one transaction, through its guard.

A guard knows what stands, not what is about to: two rows that exchange a value would each find it
taken by the other. So a row that holds a value which is brought, and that is itself to be replaced
or deleted, comes along in the same transaction and gives the value up before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from uuid import UUID

from psycopg import sql

from accountdb.catalog.tables import Reference, Table
from accountdb.compare.diff import Comparison
from accountdb.compare.model import Key, Shape
from accountdb.contract.decide import Action, Part
from accountdb.merge.judging import Judged, decisions
from accountdb.merge.recording import Recorder
from accountdb.merge.references import missing
from accountdb.merge.rivals import Claim, claimed, kept, stamps_of, vacate
from accountdb.merge.writer import FILE, Writer, filled, make_stage, stage_copies
from accountdb.pg.connect import Connection
from accountdb.pg.names import doubled
from accountdb.sql import block

# Nobody can tell what the other region has seen.
EVERY = sql.SQL("")
# So many rows may come along.
_MOST = 20_000


class UnsettledError(Exception):
    """Rows that were to give their values up did not, or were not replaced afterwards."""

    def __init__(self, rows: set[UUID]) -> None:
        super().__init__(f"{len(rows)} rows")
        self.rows = rows


@dataclass
class Written:
    """What became of a batch beyond what was asked: rows that have to wait, and what came along, by region."""

    waiting: set[Key] = field(default_factory=set)
    along: list[tuple[str, Action]] = field(default_factory=list)


@dataclass
class Batch:
    """One transaction of one region. ``side`` is the region's place in a decision.

    ``patient``: what needs a row that is still to come, or a value that is not given up, is left for
    later; else the guard judges it as it is. ``stubborn`` rows give nothing up. ``unseen`` is a condition on row t:
    that the other region may never have seen it.
    """

    found: Comparison
    shape: Shape
    table: Table
    writer: Writer
    side: int
    recorder: Recorder | None
    patient: bool
    stubborn: frozenset[UUID] = frozenset()
    unseen: sql.Composable = field(default_factory=lambda: EVERY)
    parts: dict[UUID, Part] = field(default_factory=dict)
    """What is staged."""
    doomed: dict[UUID, Part] = field(default_factory=dict)
    """Rows that hold a value which is brought, and that are dead."""

    def write(self, conn: Connection, wanted: Sequence[Part]) -> Written:
        """Insert and update, in this transaction. Raises UnsettledError: once more, with those rows stubborn."""
        done = Written()
        make_stage(conn, self.table)
        self._stage(conn, wanted)
        asked = set(self.parts)
        claims = self._gather(conn)
        waiting = self._awaiting(conn)
        if self.patient:
            self._leave(conn, waiting.keys() | self._blocked(claims), claims, done)
        else:
            self._go_without(conn, waiting, claims, done)
        with self._recorded(conn, [*self.parts, *self.doomed]):
            parts = {"generated": generated_of(self.table), "unseen": self.unseen}
            # The dead copy of a row that lives again is on record by its death.
            reborn = [uuid for uuid, part in self.parts.items() if part.reborn]
            conn.execute(filled("keep_overwritten", self.table, **parts), {"reborn": reborn})
            replaced = self._give_up(conn, claims, done)
            conn.execute(filled("insert_judged", self.table), {"unused": None})
            self._check(conn, replaced)
        done.waiting &= {(str(uuid),) for uuid in asked}
        done.along += [(self.writer.name, part.action) for uuid, part in self.parts.items() if uuid not in asked]
        return done

    def _stage(self, conn: Connection, parts: Iterable[Part]) -> None:
        new = {part.result.uuid: part for part in parts if part.result is not None}
        stage_copies(conn, self.table, [part.result for part in new.values() if part.result], len(self.parts))
        self.parts |= new

    def _gather(self, conn: Connection) -> set[Claim]:
        """Have come along who holds a value that is brought and will not keep it. Returns who claims what of whom."""
        seen: set[UUID] = set()
        while True:
            claims = claimed(conn, self.table)
            new = {claim.holder for claim in claims} - self.parts.keys() - seen
            if not new or len(self.parts) + len(self.doomed) > _MOST:
                return claims
            seen |= new
            for judged in decisions(self.found, self.shape, [(str(uuid),) for uuid in sorted(new)]):
                part = self._part(judged)
                if part.action is Action.UPDATE:
                    self._stage(conn, [part])
                elif part.action is Action.DELETE and part.own:
                    self.doomed[part.own.uuid] = part

    def _awaiting(self, conn: Connection) -> dict[UUID, list[Reference]]:
        """Rows whose parent is not here yet, and is to come: by which references."""
        found: defaultdict[UUID, list[Reference]] = defaultdict(list)
        shapes = {(shape.schema, shape.name): shape for shape in self.found.shapes}
        for reference in self.table.references:
            shape = shapes.get(reference.parent)
            if shape is None or reference.parent_columns != ("uuid",):
                continue
            lacking = conn.execute(missing(self.table, reference), {"unused": None}).fetchall()
            keys = sorted({(str(parent),) for _, parent in lacking})
            coming = {one.key for one in decisions(self.found, shape, keys) if self._part(one).action is Action.INSERT}
            for uuid, parent in lacking:
                if (str(parent),) in coming:
                    found[uuid].append(reference)
        return found

    def _go_without(
        self, conn: Connection, waiting: Mapping[UUID, Sequence[Reference]], claims: Iterable[Claim], done: Written
    ) -> None:
        """Nothing moves any more: parent and child wait for each other.

        A row that can do without its parent comes without, and last in the row order: once the parent is
        there, the whole row replaces it. A guard would empty the reference for good.
        """
        able = {uuid for uuid, references in waiting.items() if all(r.on_delete == "n" for r in references)}
        new = {uuid for uuid in able if self.parts[uuid].action is Action.INSERT}
        for uuid in new:
            touched = {name for reference in waiting[uuid] for name in reference.touched}
            empty = sql.SQL(", ").join(doubled(sql.SQL("{} = NULL").format(sql.Identifier(n))) for n in sorted(touched))
            conn.execute(filled("without", self.table, empty=empty), {"uuid": uuid})
        self._leave(conn, able - new, claims, done)

    def _part(self, judged: Judged) -> Part:
        return (judged.decision.a, judged.decision.b)[self.side]

    def _blocked(self, claims: Iterable[Claim]) -> set[UUID]:
        """Rows that want a value which its holder will not keep, but cannot give up now."""
        going = self.parts.keys() | (self.doomed.keys() if self.table.referenced_by else set())
        fixed = kept(self.table)
        return {c.by for c in claims if c.holder in going and (c.index in fixed or c.holder in self.stubborn)}

    def _leave(self, conn: Connection, waiting: set[UUID], claims: Iterable[Claim], done: Written) -> None:
        """Leave rows for later, and with them those that want a value which these then still hold."""
        while more := {c.by for c in claims if c.holder in waiting & self.parts.keys()} - waiting:
            waiting |= more
        if waiting:
            conn.execute(filled("unstage", self.table), {"keys": list(waiting)})
            for uuid in waiting:
                del self.parts[uuid]
                done.waiting.add((str(uuid),))

    def _give_up(self, conn: Connection, claims: Iterable[Claim], done: Written) -> set[UUID]:
        """Rows that are replaced or dead give up what others claim. Returns those that are to be replaced."""
        holders = {claim.holder for claim in claims if claim.by in self.parts} - self.stubborn
        replaced = [p for uuid, p in self.parts.items() if p.own and (p.reborn or uuid in holders)]
        dead = [part for uuid, part in self.doomed.items() if uuid in holders]
        for part in (*replaced, *dead):
            if part.reborn or part.action is Action.DELETE:
                bury(conn, self.table, part)
        lowest = [p.own for p in replaced if p.own and p.own.uuid not in self.stubborn]
        free = vacate(conn, self.table, stamps_of(lowest), lowest=True)
        if self.table.referenced_by:
            # With children that may have moved: it goes when those are there.
            free |= vacate(conn, self.table, stamps_of([p.own for p in dead if p.own]))
        else:
            for part in dead:
                delete(conn, self.table, part)
                done.along.append((self.writer.name, Action.DELETE))
                free |= {part.own.uuid} if part.own else set()
        stubborn = {part.own.uuid for part in (*replaced, *dead) if part.own} - free - self.stubborn
        if stubborn:
            raise UnsettledError(stubborn)
        return {copy.uuid for copy in lowest}

    def _check(self, conn: Connection, replaced: set[UUID]) -> None:
        """Raises UnsettledError where one that gave its values up was not replaced."""
        if replaced:
            found = {uuid for (uuid,) in conn.execute(filled("lowest", self.table), {"keys": list(replaced)})}
            if found:
                raise UnsettledError(found)

    def _recorded(self, conn: Connection, keys: Iterable[UUID]) -> AbstractContextManager[None]:
        return self.recorder.recorded(conn, self.table, keys, staged=True) if self.recorder else nullcontext()


def bury(conn: Connection, table: Table, part: Part) -> None:
    """The tombstone of a dead copy, where the copy stands. It may stand in the other region alone."""
    conn.execute(block(FILE, "merged_into"), (part.heir,))
    conn.execute(filled("bury", table), _death(part))
    conn.execute(block(FILE, "merged_into"), (None,))
    if part.reborn and part.seen:
        conn.execute(filled("keep_changed", table, generated=generated_of(table)), _death(part))


def generated_of(table: Table) -> sql.SQL:
    """The generated columns, for accountdb.row_content."""
    return doubled(sql.Literal([column.name for column in table.generated]) + sql.SQL("::text[]"))


def delete(conn: Connection, table: Table, part: Part) -> None:
    """Delete a dead copy. The guard takes its children along, or lets them inherit."""
    bury(conn, table, part)
    conn.execute(filled("delete", table), _death(part))


def _death(part: Part) -> dict[str, object]:
    assert part.own is not None
    seen = part.seen
    return {
        "uuid": part.own.uuid,
        "created_at": part.own.created_at,
        "version": seen and seen.version,
        "updated_at": seen and seen.updated_at,
        "origin_node": seen and seen.origin_node,
    }
