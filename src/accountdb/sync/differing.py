"""Rows that the two sides do not hold alike, found by the compare engine at the snapshot of the pass."""

from __future__ import annotations

from collections.abc import Iterator

from accountdb.compare.model import Pair, Shape, Watch
from accountdb.compare.parts import measure, read_parts
from accountdb.compare.rows import differing_rows
from accountdb.compare.session import at_one_snapshot
from accountdb.compare.shapes import negotiate
from accountdb.sync.model import DESTINATION, SOURCE, SyncTable


def differing(
    source_dsn: str, snapshot: str, target_dsn: str, table: SyncTable, watch: Watch, *, keys_only: bool = False
) -> Iterator[Pair]:
    """The rows that differ between the source at ``snapshot`` and the target as it is now: a is the source's hash.

    ``keys_only``: only those that one side lacks.
    """
    columns = [column for name in table.columns if (column := table.target.column(name))]
    shape = Shape(
        *table.name, table.key, table.key if keys_only else tuple(columns), ordered=False, partitioned=table.partitioned
    )
    tables = [table.identifier]
    with (
        at_one_snapshot(SOURCE, source_dsn, tables, 1, snapshot, option=SOURCE) as a,
        at_one_snapshot(DESTINATION, target_dsn, tables, 1, option=DESTINATION) as b,
    ):
        kind = negotiate(a, b, None)
        parts = read_parts(a, b, shape, measure(a, b, shape), kind, None, watch)
        yield from differing_rows(a, b, shape, parts, kind, None)
