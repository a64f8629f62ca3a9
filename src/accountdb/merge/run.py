"""``migratectl merge``: what differs in two regions is settled by the policy, and then proved to be equal.

A round looks (as diff does), has each region write what it lacks, parents first, and looks again at
what was touched. A copy that has to go is deleted one round after it was found dead: by then all
that had happened before its deletion, a child moved to another account say, has been brought over.
Nothing is kept between two runs: killed at any point, the next run finds what is left to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from queue import SimpleQueue

from accountdb.catalog.tables import Table
from accountdb.compare.diff import Comparison, Seen, Wait, describe, first_look, settle, unranked
from accountdb.compare.model import Finding, Key, Pair, Shape, TableResult, Unwatched, Watch
from accountdb.compare.rows import few
from accountdb.compare.session import Region
from accountdb.compare.spool import Spool
from accountdb.merge.judging import Judged, decisions
from accountdb.merge.load import Loader, Source, by_keys, by_range
from accountdb.merge.looking import Stretch, Todo, digest, keys_of, look, look_again
from accountdb.merge.model import Counts
from accountdb.merge.order import children_of
from accountdb.merge.recording import Recorder
from accountdb.merge.rows import BATCH, Regions
from accountdb.merge.writer import Writer, filled, title
from accountdb.pg.connect import Connection

MOST_ROUNDS = 12
_SHOWN = 20
_KEYS = 5000
# From so many rows on an empty table is loaded whole.
FILL_FROM = 10_000


@dataclass
class Merge:
    """One merge under way. ``writers`` are by region, one for each job."""

    found: Comparison
    tables: Mapping[str, Table]
    writers: Mapping[str, Sequence[Writer]]
    recorders: Mapping[str, Recorder]
    wait: Wait
    settle_s: float
    jobs: int
    watch: Watch
    outside: tuple[Table, ...] = ()
    """Replicated tables that this merge leaves alone."""
    fill: bool = True
    """Whether an empty table may be locked and loaded whole."""
    again: bool = False
    """Whether these two have been merged before, and a third region has changed one of them since: only single
    rows can differ, and streams may be about to bring them."""
    written: dict[str, dict[str, Counts]] = field(default_factory=dict)
    dead: dict[str, set[Key]] = field(default_factory=dict)
    """Rows that were found dead in an earlier round, by table."""
    patient: bool = True
    """Whether rows may still wait for others. When nothing moves any more, the guards judge them as they are."""
    waiting: int = 0
    """How many rows the last round left for others to come first."""
    withheld: set[str] = field(default_factory=set)
    """Tables with dead rows that stay, because tables that refer to them are not merged."""
    new_dead: bool = False
    """Whether the last round found rows that are to be deleted in the next one."""

    def __post_init__(self) -> None:
        a, b = self.found.names
        self.regions = Regions(self.found, self.tables, self.writers[a][0], self.writers[b][0], self.recorders)

    def run(self) -> tuple[int, tuple[TableResult, ...], tuple[Finding, ...]]:
        """All rounds. Returns their number, the last look, and some of the rows that differ in it."""
        rows: dict[str, dict[str, int]] = {}
        touched: list[Todo] = []
        before: dict[str, int] = {}
        number = 0
        while True:
            number += 1
            with ExitStack() as stack:
                todos = self._look(touched, stack) if touched else self._first_look(stack)
                rows |= {todo.shape.title: todo.rows for todo in todos}
                changing = self._settled(todos, stack) if number > 1 or self.again else {}
                left = {todo.shape.title: todo for todo in todos if todo.count}
                now = {name: digest(todo.pairs) for name, todo in left.items()} if number > 1 else {}
                stands = number > 1 and now == before and not self.new_dead
                if not left or number > MOST_ROUNDS or (stands and not self._lose_patience()):
                    return number - 1, *self._proof(rows, left, changing)
                before = now
                self._round(list(left.values()))
                touched = [todo for todo in todos if todo.count]

    def _lose_patience(self) -> bool:
        """Whether rows that wait for others are given to the guards for the first time."""
        lost = self.patient and self.waiting > 0
        self.patient = self.patient and not lost
        return lost

    def _first_look(self, stack: ExitStack) -> list[Todo]:
        with first_look(self.found, self.jobs) as at:
            return [
                self._kept(stack, look(self.found, at, s, self.watch, whole=not self.again)) for s in self.found.shapes
            ]

    def _look(self, touched: Sequence[Todo], stack: ExitStack) -> list[Todo]:
        """What was touched: the parts that differed, or the whole table where they were many.

        Tables that refer to a row that is about to be deleted are looked at whole, touched or not: a
        child may have moved to another parent before its old one was deleted, after the look before.
        """
        before = {todo.shape.title: todo for todo in touched}
        dying = {self.tables[name] for name, keys in self.dead.items() if keys}
        below = {f"{schema}.{name}" for schema, name in children_of(dying, self.tables.values())}
        todos = []
        with first_look(self.found, self.jobs) as at:
            for shape in self.found.shapes:
                last = before.get(shape.title)
                if shape.title not in below and last is not None and few(last.parts, last.parts.differing):
                    todos.append(self._kept(stack, look_again(at, last)))
                elif shape.title in below or last is not None:
                    todos.append(self._kept(stack, look(self.found, at, shape, self.watch, whole=False)))
        return todos

    def _kept(self, stack: ExitStack, todo: Todo) -> Todo:
        stack.enter_context(closing(todo.pairs))
        return todo

    def _settled(self, todos: Sequence[Todo], stack: ExitStack) -> dict[str, set[Key]]:
        """Leave to the streams what they are about to bring. Returns what users write all the time."""
        seen: dict[str, Spool[Seen]] = {}
        for todo in todos:
            spool = seen[todo.shape.title] = stack.enter_context(closing(Spool[Seen]()))
            for batch in todo.pairs.batches():
                for pair in batch:
                    spool.add((pair.key, unranked(pair.a), unranked(pair.b)))
        changing = settle(self.found, self.settle_s, seen, self.wait, self.watch, stack)
        for todo in todos:
            left = stack.enter_context(closing(Spool[Pair]()))
            for rows in seen[todo.shape.title].batches():
                for key, a, b in rows:
                    if key not in changing[todo.shape.title]:
                        left.add(Pair(key, a.hash if a else None, b.hash if b else None))
            todo.pairs = left
        return changing

    def _round(self, todos: Sequence[Todo]) -> None:
        self.waiting, self.new_dead = 0, False
        ready = []
        for todo in todos:
            self.watch.stage(f"{todo.shape.title}: writing", todo.count)
            self._bring(todo)
            ready.append((todo.shape, self._judge(todo)))
        for shape, keys in reversed(ready):
            for start in range(0, len(keys), BATCH):
                judged = decisions(self.found, shape, keys[start : start + BATCH])
                doomed = [one for one in judged if one.deletes]
                self.regions.delete(shape, doomed)
                self._tally(shape, doomed)

    def _judge(self, todo: Todo) -> list[Key]:
        """Bring, insert and update row by row. Rows that wait for others are tried again as long as some get on.

        Returns the rows that are due to be deleted.
        """
        due: list[Key] = []
        pairs = todo.pairs
        with ExitStack() as stack:
            while True:
                later = stack.enter_context(closing(Spool[Pair]()))
                for keys in keys_of(pairs, _KEYS):
                    for key in self._judge_some(todo.shape, keys, due):
                        later.add(Pair(key, None, None))
                    self.watch.advance(len(keys))
                if not later.count or later.count == pairs.count:
                    self.waiting += later.count
                    return due
                pairs = later

    def _judge_some(self, shape: Shape, keys: Sequence[Key], due: list[Key]) -> list[Key]:
        dead = self.dead.setdefault(shape.title, set())
        judged = decisions(self.found, shape, self._brought(shape, keys))
        kept = [one for one in judged if not one.deletes]
        done = self.regions.write(shape, kept, patient=self.patient)
        self._tally(shape, [one for one in kept if one.key not in done.waiting])
        for name, action in done.along:
            self._counts(shape)[name].add(action)
        found = {one.key for one in judged if one.deletes}
        if self._may_delete(shape):
            due += sorted(found & dead)
            self.new_dead |= bool(found - dead)
        elif found:
            self.withheld.add(shape.title)
        dead |= found
        return sorted(done.waiting)

    def _may_delete(self, shape: Shape) -> bool:
        """Whether all that goes along with a row is being merged too: else a child that has moved would go."""
        every = (*self.tables.values(), *self.outside)
        below = children_of([self.tables[shape.title]], every)
        return not below & {(table.schema, table.name) for table in self.outside}

    def _tally(self, shape: Shape, judged: Sequence[Judged]) -> None:
        counts = self._counts(shape)
        for one in judged:
            one.count(counts, self.found.names)

    def _counts(self, shape: Shape) -> dict[str, Counts]:
        return self.written.setdefault(shape.title, {name: Counts() for name in self.found.names})

    def _bring(self, todo: Todo) -> None:
        """Whole stretches, both ways at the same time."""
        shape, (a, b) = todo.shape, self.found.names
        counts = self._counts(shape)
        work = []
        for lacking, name, source in (
            (todo.a_lacks, a, self.found.b),
            (todo.b_lacks, b, self.found.a),
        ):
            if not lacking:
                continue
            if self.fill and todo.rows[name] == 0 and sum(s.rows for s in lacking) >= FILL_FROM:
                rows = self._loader(self.writers[name][0]).fill(by_range(source, self.tables[shape.title], None, None))
                if rows is not None:
                    counts[name].inserted += rows
                    continue
            work += [(name, source, stretch) for stretch in lacking]
        self._insert_all(todo, work, counts)

    def _insert_all(
        self, todo: Todo, work: Sequence[tuple[str, Region, Stretch]], counts: Mapping[str, Counts]
    ) -> None:
        table = self.tables[todo.shape.title]
        free: dict[str, SimpleQueue[Writer]] = {name: SimpleQueue() for name in self.writers}
        for name, writers in self.writers.items():
            for writer in writers:
                free[name].put(writer)

        def insert(name: str, source: Region, stretch: Stretch) -> tuple[int, list[Key]]:
            writer = free[name].get()
            try:
                return self._loader(writer).insert(by_range(source, table, stretch.low, stretch.high))
            finally:
                free[name].put(writer)

        with ThreadPoolExecutor(self.jobs * 2) as pool:
            futures: list[tuple[str, Future[tuple[int, list[Key]]]]] = [
                (item[0], pool.submit(insert, *item)) for item in work
            ]
            try:
                for name, future in futures:
                    inserted, rest = future.result()
                    counts[name].inserted += inserted
                    for key in rest:
                        todo.pairs.add(Pair(key, None, None))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _brought(self, shape: Shape, keys: Sequence[Key]) -> Sequence[Key]:
        """Bring rows that only one region has and that never died there or here; returns the others."""
        looker = self.found.looker(shape)
        dead = looker.dead(keys)
        left: list[Key] = []
        lacking: dict[str, list[Key]] = {name: [] for name in self.found.names}
        for key, (a, b) in zip(keys, looker.sights(keys), strict=True):
            if (a is None) != (b is None) and not any(str(uuid) == key[0] for uuid in dead):
                lacking[self.found.names[0 if a is None else 1]].append(key)
            elif a or b:
                left.append(key)
        counts = self._counts(shape)
        with ThreadPoolExecutor(2) as pool:
            work = [
                (name, pool.submit(self._insert, name, by_keys(source, self.tables[shape.title], lacking[name])))
                for name, source in zip(self.found.names, (self.found.b, self.found.a), strict=True)
                if lacking[name]
            ]
            for name, future in work:
                inserted, rest = future.result()
                counts[name].inserted += inserted
                left += rest
        return left

    def _insert(self, name: str, source: Source) -> tuple[int, list[Key]]:
        """Not watched: the caller counts the rows that it looks at."""
        return Loader(self.writers[name][0], self.recorders.get(name), Unwatched()).insert(source)

    def _loader(self, writer: Writer) -> Loader:
        return Loader(writer, self.recorders.get(writer.name), self.watch)

    def _proof(
        self, rows: Mapping[str, dict[str, int]], left: Mapping[str, Todo], changing: Mapping[str, set[Key]]
    ) -> tuple[tuple[TableResult, ...], tuple[Finding, ...]]:
        results: list[TableResult] = []
        shown: list[Finding] = []
        for shape in self.found.shapes:
            todo = left.get(shape.title)
            results.append(
                TableResult(
                    shape.title,
                    rows[shape.title],
                    todo.count if todo else 0,
                    len(changing.get(shape.title, ())),
                )
            )
            if todo and len(shown) < _SHOWN:
                keys = next(keys_of(todo.pairs, _SHOWN - len(shown)), [])
                shown += [row for row in describe(self.found, self.found.looker(shape), keys) if row]
        return tuple(results), tuple(shown)


def close_healed(found: Comparison, tables: Mapping[str, Table]) -> int:
    """Close the conflicts of rows that could not be stored and stand now. Returns how many.

    Written like a person's resolution, and so streamed: it closes the conflict in every region.
    """
    count = 0
    for region in (found.a, found.b):
        with region.use() as conn:
            count += close_in(conn, tables.values())
    return count


def close_in(conn: Connection, tables: Iterable[Table]) -> int:
    """The same in one region."""
    return sum(
        conn.execute(filled(heading, table), title(table)).rowcount
        for table in tables
        for heading in ("close", "close_gone")
    )
