"""Rows that the two sides do not hold alike, found by the compare engine at the snapshot of the pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from accountdb.compare.columns import HashKind
from accountdb.compare.model import Pair, Shape, Watch
from accountdb.compare.parts import measure, read_parts
from accountdb.compare.rows import differing_rows
from accountdb.compare.session import Region, moment, open_reader
from accountdb.compare.shapes import negotiate
from accountdb.sync.model import DESTINATION, SOURCE, SyncTable


@dataclass
class Comparing:
    """What compares tables, one after the other: the source at ``snapshot``, the target as it is by then.

    Its sessions are opened by the first comparison, for a pass may have none, and serve all of them.
    """

    source_dsn: str = field(repr=False)
    target_dsn: str = field(repr=False)
    snapshot: str
    watch: Watch
    _open: ExitStack = field(default_factory=ExitStack)
    _sides: tuple[Region, Region, HashKind] | None = None

    def differing(self, table: SyncTable, *, keys_only: bool = False, doing: str = "comparing") -> Iterator[Pair]:
        """The rows that differ: a is the source's hash. ``keys_only``: only those that one side lacks."""
        columns = [column for name in table.columns if (column := table.target.column(name))]
        shape = Shape(
            *table.name,
            table.key,
            table.key if keys_only else tuple(columns),
            ordered=False,
            partitioned=table.partitioned,
        )
        a, b, kind = self._sides or self._opened()
        with moment(a, [table.identifier], self.snapshot), moment(b, [table.identifier]):
            sizes = measure(a, b, shape)
            self.watch.stage(f"{doing} {table.title}", sum(max(size.rows, 0) for size in sizes.values()))
            parts = read_parts(a, b, shape, sizes, kind, None, self.watch)
            yield from differing_rows(a, b, shape, parts, kind, None)

    def _opened(self) -> tuple[Region, Region, HashKind]:
        a = self._open.enter_context(open_reader(SOURCE, self.source_dsn, SOURCE))
        b = self._open.enter_context(open_reader(DESTINATION, self.target_dsn, DESTINATION))
        with moment(a, ()), moment(b, ()):
            self._sides = (a, b, negotiate(a, b, None))
        return self._sides

    def close(self) -> None:
        """End the sessions."""
        self._open.close()
