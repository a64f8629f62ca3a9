"""Rows that the two sides do not hold alike, found by the compare engine at the snapshot of the pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from accountdb.compare.model import Pair, Shape, Watch
from accountdb.compare.parts import measure, read_parts
from accountdb.compare.rows import differing_rows
from accountdb.compare.session import Region, at_one_snapshot
from accountdb.compare.shapes import negotiate
from accountdb.sync.model import DESTINATION, SOURCE, SyncTable


@dataclass
class Comparison:
    """The source at ``snapshot`` and the target as it is now, by one session each: made when first needed."""

    source_dsn: str = field(repr=False)
    snapshot: str
    target_dsn: str = field(repr=False)
    tables: Sequence[SyncTable]
    watch: Watch
    _stack: ExitStack
    _sides: tuple[Region, Region] | None = None

    def differing(self, table: SyncTable, *, keys_only: bool = False, doing: str = "comparing") -> Iterator[Pair]:
        """The rows that differ: a is the source's hash. ``keys_only``: only those that one side lacks."""
        a, b = self._sides = self._sides or self._opened()
        columns = [column for name in table.columns if (column := table.target.column(name))]
        shape = Shape(
            *table.name,
            table.key,
            table.key if keys_only else tuple(columns),
            ordered=False,
            partitioned=table.partitioned,
        )
        kind = negotiate(a, b, None)
        sizes = measure(a, b, shape)
        self.watch.stage(f"{doing} {table.title}", sum(max(size.rows, 0) for size in sizes.values()))
        parts = read_parts(a, b, shape, sizes, kind, None, self.watch)
        yield from differing_rows(a, b, shape, parts, kind, None)

    def _opened(self) -> tuple[Region, Region]:
        names = [table.identifier for table in self.tables]
        return (
            self._stack.enter_context(at_one_snapshot(SOURCE, self.source_dsn, names, 1, self.snapshot)),
            self._stack.enter_context(at_one_snapshot(DESTINATION, self.target_dsn, names, 1)),
        )


@contextmanager
def comparing(
    source_dsn: str, snapshot: str, target_dsn: str, tables: Sequence[SyncTable], watch: Watch
) -> Iterator[Comparison]:
    """Within the block ``tables`` can be compared, and nobody can change their structure."""
    with ExitStack() as stack:
        yield Comparison(source_dsn, snapshot, target_dsn, tables, watch, stack)


def differing(source_dsn: str, snapshot: str, target_dsn: str, table: SyncTable, watch: Watch) -> Iterator[Pair]:
    """The rows of one table that differ, by sessions that end with them."""
    with comparing(source_dsn, snapshot, target_dsn, [table], watch) as comparison:
        yield from comparison.differing(table)
