"""What a merge would do. Nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing

from accountdb.compare.diff import Comparison, describe, first_look
from accountdb.compare.model import Finding, Shape, Watch
from accountdb.merge.judging import decisions
from accountdb.merge.looking import keys_of, look
from accountdb.merge.model import Counts, TablePlan
from accountdb.merge.rows import BATCH

_SAMPLES = 5


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
            for keys in keys_of(todo.pairs, BATCH):
                judged = decisions(found, todo.shape, keys)
                for one in judged:
                    one.count(counts, found.names)
                if len(samples) < _SAMPLES:
                    some = [one.key for one in judged[: _SAMPLES - len(samples)]]
                    samples += [row for row in describe(found, found.looker(todo.shape), some) if row]
            plans.append(TablePlan(todo.shape.title, counts, tuple(samples)))
    return tuple(plans)
