"""What a merge would do. Nothing is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing

from accountdb.compare.diff import Comparison, describe, first_look
from accountdb.compare.model import Finding, Key, Shape, Watch
from accountdb.compare.told import Told
from accountdb.merge.judging import everywhere
from accountdb.merge.looking import keys_of, look
from accountdb.merge.model import Counts, TablePlan
from accountdb.merge.rows import BATCH

_SAMPLES = 5


def plan(pairs: Sequence[Comparison], jobs: int, tables: Sequence[Shape], watch: Watch) -> tuple[TablePlan, ...]:
    """What a merge of the ``pairs``, of one region with each of the others, would do; nothing is written.

    It is decided as it would be, row by row, by the copies of all regions.
    """
    counts = {shape.title: {region.name: Counts() for region in pairs[0].regions} for shape in tables}
    samples: dict[str, list[Finding]] = {shape.title: [] for shape in tables}
    told = {shape.title: Told() for shape in tables}
    for found in pairs:
        with ExitStack() as stack:
            with first_look(found, jobs) as at:
                todos = [look(found, at, shape, watch, whole=False) for shape in tables]
            for todo in todos:
                stack.enter_context(closing(todo.pairs))
                title = todo.shape.title
                new = Told()
                for keys in keys_of(todo.pairs, BATCH):
                    fresh = [key for key in keys if key not in told[title]]
                    _count(found, todo.shape, fresh, counts[title], samples[title])
                    for key in fresh if found is not pairs[-1] else ():
                        new.add(key)
                told[title] = told[title].with_more(new)
    return tuple(TablePlan(title, counts[title], tuple(samples[title])) for title in counts)


def _count(
    found: Comparison, shape: Shape, keys: Sequence[Key], counts: Mapping[str, Counts], samples: list[Finding]
) -> None:
    acting: list[Key] = []
    for key, parts in zip(keys, everywhere(found, shape, keys), strict=True):
        if any(part.acts for part in parts):
            acting.append(key)
        for region, part in zip(found.regions, parts, strict=True):
            counts[region.name].add(part.action)
    if len(samples) < _SAMPLES:
        some = acting[: _SAMPLES - len(samples)]
        samples += [row for row in describe(found, found.looker(shape), some) if row]
