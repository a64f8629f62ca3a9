"""``migratectl merge``: what differs in two regions is settled by the policy, and then proved to be equal.

A round looks (as diff does), has each region write what it lacks, parents first, and looks again at
what was touched. A copy that has to go is deleted one round after it was found dead: by then all
that had happened before its deletion, a child moved to another account say, has been brought over.
Nothing is kept between two runs: killed at any point, the next run finds what is left to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import islice
from queue import SimpleQueue

from accountdb.catalog.tables import Table
from accountdb.compare.diff import Comparison, FirstLook, Seen, Wait, describe, first_look, settle, unranked
from accountdb.compare.model import Finding, Key, Pair, Parts, Shape, TableResult, Unwatched, Watch
from accountdb.compare.rows import few
from accountdb.compare.session import Region
from accountdb.compare.spool import Spool
from accountdb.contract.decide import Action
from accountdb.merge.load import Loader, Source, by_keys, by_range
from accountdb.merge.model import Counts, TablePlan
from accountdb.merge.order import children_of
from accountdb.merge.recording import Recorder
from accountdb.merge.rows import BATCH, Judged, Regions, decisions
from accountdb.merge.writer import Writer, filled, title

MOST_ROUNDS = 8
_SAMPLES = 5
_SHOWN = 20
_RANGE_ROWS = 20_000
_KEYS = 5000
# From so many rows on an empty table is loaded whole.
FILL_FROM = 10_000


@dataclass(frozen=True)
class Stretch:
    """Keys from ``low`` to below ``high`` of which one region has no row at all."""

    low: Key | None
    high: Key | None
    rows: int


@dataclass
class Todo:
    """One table's differences. ``a_lacks`` and ``b_lacks`` are whole stretches, ``pairs`` single rows."""

    shape: Shape
    rows: dict[str, int]
    parts: Parts
    a_lacks: list[Stretch]
    b_lacks: list[Stretch]
    pairs: Spool[Pair] = field(repr=False)

    @property
    def count(self) -> int:
        """About how many rows have to be looked at."""
        return self.pairs.count + sum(stretch.rows for stretch in (*self.a_lacks, *self.b_lacks))


def stretches(parts: Parts, wanted: Sequence[int], side: Mapping[int, tuple[int, int]]) -> list[Stretch]:
    """The wanted parts, which only ``side`` has rows in, joined where they follow each other. Pure."""
    found: list[Stretch] = []
    last = -2
    for part in wanted:
        low = parts.bounds[part - 1] if part else None
        high = parts.bounds[part] if part < len(parts.bounds) else None
        rows = side[part][0]
        if part == last + 1 and found[-1].rows + rows <= _RANGE_ROWS:
            found[-1] = Stretch(found[-1].low, high, found[-1].rows + rows)
        else:
            found.append(Stretch(low, high, rows))
        last = part
    return found


def look(found: Comparison, at: FirstLook, shape: Shape, watch: Watch, *, whole: bool) -> Todo:
    """What differs in one table. ``whole``: stretches that one region lacks are not taken apart into rows.

    The caller closes its pairs.
    """
    watch.stage(shape.title, at.estimate(shape))
    parts = at.parts(shape, None, watch)
    differing = parts.differing
    only_a = [p for p in differing if whole and p not in parts.b]
    only_b = [p for p in differing if whole and p not in parts.a]
    todo = Todo(
        shape,
        dict(zip(found.names, (parts.rows(parts.a), parts.rows(parts.b)), strict=True)),
        parts,
        stretches(parts, only_b, parts.b),
        stretches(parts, only_a, parts.a),
        Spool[Pair](),
    )
    left_out = {*only_a, *only_b}
    for pair in at.rows(shape, parts, None, [part for part in differing if part not in left_out]):
        todo.pairs.add(pair)
    return todo


def look_again(at: FirstLook, before: Todo) -> Todo:
    """What differs by now in the parts of a table that did before."""
    todo = replace(before, a_lacks=[], b_lacks=[], pairs=Spool[Pair]())
    for pair in at.rows(before.shape, before.parts, None, before.parts.differing):
        todo.pairs.add(pair)
    return todo


def plan(found: Comparison, jobs: int, tables: Sequence[Shape], watch: Watch) -> tuple[TablePlan, ...]:
    """What a merge would do, decided as it would be, row by row; nothing is written."""
    plans = []
    with ExitStack() as stack:
        with first_look(found, jobs) as at:
            todos = [look(found, at, shape, watch, whole=False) for shape in tables]
        for todo in todos:
            stack.enter_context(closing(todo.pairs))
            counts = {name: Counts() for name in found.names}
            samples: list[Finding] = []
            for keys in _keys(todo.pairs):
                judged = decisions(found, todo.shape, keys)
                for one in judged:
                    _count(counts, found.names, one)
                if len(samples) < _SAMPLES:
                    some = [one.key for one in judged[: _SAMPLES - len(samples)]]
                    samples += [row for row in describe(found, found.looker(todo.shape), some) if row]
            plans.append(TablePlan(todo.shape.title, counts, tuple(samples)))
    return tuple(plans)


def _keys(pairs: Spool[Pair], size: int = BATCH) -> Iterator[list[Key]]:
    rows = (pair.key for batch in pairs.batches() for pair in batch)
    while keys := list(islice(rows, size)):
        yield keys


def _count(counts: Mapping[str, Counts], names: tuple[str, str], judged: Judged) -> None:
    for name, part in zip(names, (judged.decision.a, judged.decision.b), strict=True):
        if part.action is Action.INSERT:
            counts[name].inserted += 1
        elif part.action is Action.UPDATE:
            counts[name].updated += 1
        elif part.action is Action.DELETE:
            counts[name].deleted += 1


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
    written: dict[str, dict[str, Counts]] = field(default_factory=dict)
    dead: dict[str, set[Key]] = field(default_factory=dict)
    """Rows that were found dead in an earlier round, by table."""

    def __post_init__(self) -> None:
        a, b = self.found.names
        self.regions = Regions(self.tables, self.writers[a][0], self.writers[b][0], self.recorders)

    def run(self) -> tuple[int, tuple[TableResult, ...], tuple[Finding, ...]]:
        """All rounds. Returns their number, the last look, and some of the rows that differ in it."""
        rows: dict[str, dict[str, int]] = {}
        touched: list[Todo] = []
        before: dict[str, frozenset[Key]] = {}
        number = 0
        while True:
            number += 1
            with ExitStack() as stack:
                todos = self._look(touched, stack) if touched else self._first_look(stack)
                rows |= {todo.shape.title: todo.rows for todo in todos}
                changing = self._settled(todos, stack) if number > 1 else {}
                left = {todo.shape.title: todo for todo in todos if todo.count}
                stuck = number > 2 and self._names(left) == before
                before = self._names(left) if number > 1 else {}
                if not left or stuck or number > MOST_ROUNDS:
                    return number - 1, *self._proof(rows, left, changing)
                self._round(list(left.values()))
                touched = [todo for todo in todos if todo.count]

    def _first_look(self, stack: ExitStack) -> list[Todo]:
        with first_look(self.found, self.jobs) as at:
            return [self._kept(stack, look(self.found, at, s, self.watch, whole=True)) for s in self.found.shapes]

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

    def _names(self, left: Mapping[str, Todo]) -> dict[str, frozenset[Key]]:
        """The rows that are left, of tables where they are few enough to be compared with those of the next round."""
        few = {name: todo for name, todo in left.items() if todo.pairs.count <= _RANGE_ROWS}
        return {name: frozenset(key for keys in _keys(todo.pairs) for key in keys) for name, todo in few.items()}

    def _round(self, todos: Sequence[Todo]) -> None:
        ready: list[tuple[Shape, list[Key]]] = []
        for todo in todos:
            self.watch.stage(f"{todo.shape.title}: writing", todo.count)
            self._bring(todo)
            dead = self.dead.setdefault(todo.shape.title, set())
            due: list[Key] = []
            for keys in _keys(todo.pairs, _KEYS):
                judged = decisions(self.found, todo.shape, self._brought(todo.shape, keys))
                self.regions.write(todo.shape, [one for one in judged if not one.deletes])
                if self._may_delete(todo.shape):
                    due += [one.key for one in judged if one.deletes and one.key in dead]
                dead |= {one.key for one in judged if one.deletes}
                self._tally(todo.shape, [one for one in judged if not one.deletes])
                self.watch.advance(len(keys))
            ready.append((todo.shape, due))
        for shape, keys in reversed(ready):
            for start in range(0, len(keys), BATCH):
                judged = decisions(self.found, shape, keys[start : start + BATCH])
                doomed = [one for one in judged if one.deletes]
                self.regions.delete(shape, doomed)
                self._tally(shape, doomed)

    def _may_delete(self, shape: Shape) -> bool:
        """Whether all that goes along with a row is being merged too: else a child that has moved would go."""
        every = (*self.tables.values(), *self.outside)
        below = children_of([self.tables[shape.title]], every)
        return not below & {(table.schema, table.name) for table in self.outside}

    def _tally(self, shape: Shape, judged: Sequence[Judged]) -> None:
        counts = self._counts(shape)
        for one in judged:
            _count(counts, self.found.names, one)

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

        def insert(name: str, source: Region, stretch: Stretch) -> int:
            writer = free[name].get()
            try:
                return self._loader(writer).insert(by_range(source, table, stretch.low, stretch.high))
            finally:
                free[name].put(writer)

        with ThreadPoolExecutor(self.jobs * 2) as pool:
            futures: list[tuple[str, Future[int]]] = [(item[0], pool.submit(insert, *item)) for item in work]
            try:
                for name, future in futures:
                    counts[name].inserted += future.result()
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
                counts[name].inserted += future.result()
        return left

    def _insert(self, name: str, source: Source) -> int:
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
                keys = next(_keys(todo.pairs, _SHOWN - len(shown)), [])
                shown += [row for row in describe(self.found, self.found.looker(shape), keys) if row]
        return tuple(results), tuple(shown)


def close_healed(found: Comparison, tables: Mapping[str, Table]) -> int:
    """Close the conflicts of rows that could not be stored and stand now. Returns how many.

    Written like a person's resolution, and so streamed: it closes the conflict in every region.
    """
    count = 0
    for region in (found.a, found.b):
        with region.use() as conn:
            for table in tables.values():
                count += conn.execute(filled("close", table), title(table)).rowcount
    return count
