"""One region given what another has of some rows, in the caller's transaction: the same judge as a merge.

Of the two regions of the comparison a gives, at one snapshot, and b takes, seen by the session that
writes it. Nothing is written in a. Two of these, one each way, bring both to where a merge would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TypeVar

from psycopg import sql

from accountdb.catalog.tables import Table
from accountdb.compare.diff import Comparison
from accountdb.compare.look import Sight
from accountdb.compare.model import Key, Shape, Unwatched, Watch
from accountdb.compare.spool import Spool
from accountdb.contract.decide import Action
from accountdb.merge.batch import EVERY, generated_of
from accountdb.merge.judging import Judged, decisions
from accountdb.merge.load import Loader, by_keys
from accountdb.merge.model import Counts
from accountdb.merge.order import children_of
from accountdb.merge.rows import BATCH, Regions
from accountdb.merge.writer import FILE, Writer, filled, judged, make_stage, stage_copies, title
from accountdb.sql import block

_MOST_ROUNDS = 12
# Keys whose rows' hashes are looked at together.
_LOOK = 5000
_T = TypeVar("_T")
_WRITES = (Action.INSERT, Action.UPDATE)

# A row, and the hash of b's copy before anything was written.
Seen = tuple[Key, int | None]
# Raises where so many rows of a table, by its title, may not be deleted.
Allow = Callable[[str, int], None]


@dataclass
class _Todo:
    """What b still has to do, by table, and one number for how all of that stands."""

    state: int = 0
    writes: dict[str, Spool[Key]] = field(default_factory=dict)
    deaths: dict[str, Spool[Key]] = field(default_factory=dict)

    def left(self) -> dict[str, Iterable[Key]]:
        """All of it once more."""
        kinds = (self.writes, self.deaths)
        return {
            title: chain.from_iterable([kind[title] for kind in kinds if title in kind])
            for title in self.writes.keys() | self.deaths.keys()
        }


@dataclass
class OneWay:
    """What is under way. ``tables`` are by title, parents first; ``found`` has their shapes in the same order."""

    found: Comparison
    tables: Mapping[str, Table]
    writer: Writer
    allow: Allow
    watch: Watch
    stack: ExitStack
    """Closes the spools."""
    unseen: Callable[[Table], sql.Composable | None]
    """A condition on row t of a table: that a may never have seen it, as it is. None where nobody can tell."""
    counts: dict[str, Counts] = field(default_factory=dict)
    """What became of b's rows, by table."""
    equal: dict[str, Spool[Key]] = field(default_factory=dict)
    """The rows that both hold alike in the end, by table: there, or in neither."""
    unequal: dict[str, Spool[Key]] = field(default_factory=dict)
    """The others."""
    doomed: Counter[str] = field(default_factory=Counter)
    """How many rows were to be deleted so far, by table."""
    patient: bool = True
    """Whether rows may still wait for others. When nothing moves any more, the guard judges them as they are."""

    def __post_init__(self) -> None:
        self.regions = Regions(
            self.found, self.tables, None, self.writer, unseen=lambda table: self.unseen(table) or EVERY
        )
        self.shapes = {shape.title: shape for shape in self.found.shapes}

    def bring(self, keys: Mapping[str, Iterable[Key]]) -> None:
        """All rows that ``keys`` name by table: what a has of them and wins, and what died."""
        seen: dict[str, Spool[Seen]] = {}
        for shape in self.found.shapes:
            self.equal[shape.title] = self._spool()
            self.unequal[shape.title] = self._spool()
            self.counts[shape.title] = Counts()
            seen[shape.title] = self._insert(shape, keys[shape.title])
        self._settle(seen)
        for shape in self.found.shapes:
            self._count(shape, seen[shape.title])
            self._hand_back(shape)

    def undecided(self, keys: Mapping[str, Iterable[Key]]) -> bool:
        """Whether b has anything left to do for one of these rows."""
        return any(next(self._acting(shape, keys[shape.title]), None) for shape in self.found.shapes)

    def _spool(self) -> Spool[Key]:
        return self.stack.enter_context(closing(Spool[Key]()))

    def _insert(self, shape: Shape, keys: Iterable[Key]) -> Spool[Seen]:
        """Insert by sets what only a has and what never died. Returns the rows that need a judge, or nothing."""
        left = self.stack.enter_context(closing(Spool[Seen]()))
        looker = self.found.looker(shape)
        self.watch.stage(shape.title)
        for batch in _batches(keys, _LOOK):
            dead = {str(uuid) for uuid in looker.dead(batch)}
            sights = dict(zip(batch, looker.sights(batch), strict=True))
            lacking = [key for key, (a, b) in sights.items() if a and not b and key[0] not in dead]
            inserted = self._inserted(shape, lacking)
            for losing in _batches((key for key, sight in sights.items() if _loses(*sight)), BATCH):
                self._keep_losing(shape, losing)
            for key in batch:
                if key in inserted:
                    self.equal[shape.title].add(key)
                else:
                    left.add((key, _hash(sights[key][1])))
            self.counts[shape.title].inserted += len(inserted)
            self.watch.advance(len(batch))
        return left

    def _inserted(self, shape: Shape, keys: Sequence[Key]) -> set[Key]:
        if not keys:
            return set()
        self._empty_stage(shape)
        # Not watched: these rows are counted as they are looked at.
        loader = Loader(self.writer, None, Unwatched())
        _, rest = loader.insert(by_keys(self.found.a, self.tables[shape.title], keys))
        return set(keys) - set(rest)

    def _keep_losing(self, shape: Shape, keys: Sequence[Key]) -> None:
        """Have on record what a has of rows of which b's copy wins: nobody else will ever tell b of it."""
        verdicts = decisions(self.found, shape, keys)
        losing = [
            o.decision.a.own for o in verdicts if o.decision.a.action is Action.UPDATE and not o.decision.a.reborn
        ]
        if losing:
            self._empty_stage(shape)
            table, conn = self.tables[shape.title], self.writer.conn
            stage_copies(conn, table, [copy for copy in losing if copy])
            conn.execute(filled("keep_losing", table, generated=generated_of(table)), {"unused": None})

    def _settle(self, work: Mapping[str, Spool[Seen]]) -> None:
        """Write and delete until b has nothing left to do, or nothing moves."""
        todo = self._todo({title: (key for key, _ in spool) for title, spool in work.items()})
        for _ in range(_MOST_ROUNDS):
            if not todo.writes and not todo.deaths:
                return
            waiting = {title for title, keys in todo.writes.items() if self._write(self.shapes[title], keys)}
            for shape in reversed(self.found.shapes):
                if shape.title in todo.deaths and not (self.patient and waiting & self._below(shape)):
                    self._delete(shape, todo.deaths[shape.title])
            before, todo = todo, self._todo(todo.left())
            if todo.state == before.state:
                if not self.patient:
                    return
                self.patient = False

    def _todo(self, work: Mapping[str, Iterable[Key]]) -> _Todo:
        todo = _Todo()
        for shape in self.found.shapes:
            for one in self._acting(shape, work.get(shape.title, ())):
                todo.state += hash((shape.title, one.key, one.decision))
                kind = todo.deaths if one.decision.b.action is Action.DELETE else todo.writes
                if shape.title not in kind:
                    kind[shape.title] = self._spool()
                kind[shape.title].add(one.key)
        return todo

    def _acting(self, shape: Shape, keys: Iterable[Key]) -> Iterator[Judged]:
        looker = self.found.looker(shape)
        for batch in _batches(keys, _LOOK):
            unequal = [key for key, (a, b) in zip(batch, looker.sights(batch), strict=True) if _hash(a) != _hash(b)]
            for some in _batches(unequal, BATCH):
                yield from (one for one in decisions(self.found, shape, some) if one.decision.b.acts)

    def _write(self, shape: Shape, keys: Iterable[Key]) -> int:
        """Insert and update through the guard; returns how many rows wait for others. Again as long as some get on."""
        last: int | None = None
        while True:
            waiting: list[Key] = []
            for batch in _batches(keys, BATCH):
                work = [o for o in decisions(self.found, shape, batch) if o.decision.b.action in _WRITES]
                if work:
                    self._empty_stage(shape)
                    waiting += self.regions.write(shape, work, patient=self.patient).waiting
            if not waiting or len(waiting) == last:
                return len(waiting)
            last, keys = len(waiting), sorted(waiting)

    def _delete(self, shape: Shape, keys: Spool[Key]) -> None:
        dead = self._spool()
        for batch in _batches(keys, BATCH):
            for one in self._dead(shape, batch):
                dead.add(one.key)
        if dead.count:
            self.doomed[shape.title] += dead.count
            self.allow(shape.title, self.doomed[shape.title])
        for batch in _batches(dead, BATCH):
            self.regions.delete(shape, self._dead(shape, batch))

    def _dead(self, shape: Shape, keys: Sequence[Key]) -> list[Judged]:
        return [one for one in decisions(self.found, shape, keys) if one.decision.b.action is Action.DELETE]

    def _below(self, shape: Shape) -> set[str]:
        """Tables of which a row that has yet to come may be one that has left a row of this table before it died."""
        below = children_of([self.tables[shape.title]], self.tables.values())
        return {f"{schema}.{name}" for schema, name in below}

    def _count(self, shape: Shape, seen: Spool[Seen]) -> None:
        """What became of the rows that were left to the judge, by what stands now."""
        looker, counts = self.found.looker(shape), self.counts[shape.title]
        for batch in _batches(seen, _LOOK):
            for (key, before), (a, b) in zip(batch, looker.sights([key for key, _ in batch]), strict=True):
                after = _hash(b)
                counts.inserted += before is None and after is not None
                counts.deleted += before is not None and after is None
                counts.updated += None not in (before, after) and before != after
                (self.equal if _hash(a) == after else self.unequal)[shape.title].add(key)

    def _hand_back(self, shape: Shape) -> None:
        """Touch what a has to take from b, where nothing else would have the way back look at it once more.

        A row of a's that lost to one of b's comes into its own again when that one dies, and nobody has written it.
        """
        table, conn = self.tables[shape.title], self.writer.conn
        for batch in _batches(self.unequal[shape.title], BATCH):
            work = [one for one in decisions(self.found, shape, batch) if one.decision.a.acts]
            keys = [one.key[0] for one in work]
            if keys:
                with judged(conn):
                    seen = filled("touch", table, unseen=self.unseen(table) or sql.SQL("AND false"))
                    conn.execute(seen, {"keys": keys})
                conn.execute(block(FILE, "touch_dead"), {**title(table), "keys": keys})

    def _empty_stage(self, shape: Shape) -> None:
        """The staging table of the batch before, which only the end of the transaction would empty."""
        table = self.tables[shape.title]
        make_stage(self.writer.conn, table)
        self.writer.conn.execute(filled("empty_stage", table), {"unused": None})


def _loses(a: Sight | None, b: Sight | None) -> bool:
    """Whether a's copy may be the one that loses: where both are equal in rank, the content decides."""
    return bool(a and b and a.hash != b.hash and a.rank and b.rank and a.rank <= b.rank)


def _hash(sight: Sight | None) -> int | None:
    return sight.hash if sight else None


def _batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    several = iter(items)
    while batch := list(islice(several, size)):
        yield batch
