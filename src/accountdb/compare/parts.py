"""The first look at a table: both regions hash its parts inside the server, at the same time.

A table is cut into parts of about two thousand rows by keys that a sample of both regions gives. Each
region then reads the table once, in stretches of blocks: the order in which it lies on disk, which
is as fast as reading can be whatever the key is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

from psycopg import sql

from accountdb.compare import columns
from accountdb.compare.busy import Busy
from accountdb.compare.columns import HashKind
from accountdb.compare.model import Key, Parts, Shape, Watch
from accountdb.compare.session import FILE, Region, together
from accountdb.compare.statement import bounds_expression, condition, key_expression, key_texts
from accountdb.pg.names import doubled
from accountdb.sql import block

_ROWS_A_PART = 2000
_MOST_PARTS = 16_384
_SAMPLE_BLOCKS = 400
_STRETCH_BLOCKS = 4096
_MOST_STRETCHES = 64
_SMALL_BLOCKS = 32

# Stretches of blocks are found without reading the rest from this version on.
_TID_RANGES_SINCE = 140_000
_NO_BLOCK = 4_294_967_295


@dataclass(frozen=True)
class Size:
    """A table in one region: blocks, rows by the server's estimate, and whether it is one heap."""

    blocks: int
    rows: int
    heap: bool


def measure(a: Region, b: Region, shape: Shape) -> dict[str, Size]:
    """The table's size in each region."""
    sizes = together(lambda region: _size(region, shape), (a, b))
    return dict(zip((a.name, b.name), sizes, strict=True))


def _size(region: Region, shape: Shape) -> Size:
    with region.use() as conn:
        row = conn.execute(block(FILE, "size"), {"schema": shape.schema, "table": shape.name}).fetchone()
    assert row is not None
    return Size(*row)


def read_parts(
    a: Region, b: Region, shape: Shape, sizes: Mapping[str, Size], kind: HashKind, where: str | None, watch: Watch
) -> Parts:
    """Both regions' parts of one table. Reads it once on each side, with all connections that the regions have."""
    bounds = _bounds(a, b, shape, sizes)
    found: dict[str, dict[int, tuple[int, int]]] = {a.name: {}, b.name: {}}
    scan = _Scan(shape, bounds_expression(shape, bounds), kind, where)
    with ExitStack() as stack:
        # A pool for each region: one that is slower must not take the other one's turns.
        pools = [stack.enter_context(ThreadPoolExecutor(region.idle.qsize())) for region in (a, b)]
        work = [
            (region, pool.submit(scan.read, region, first, end))
            for region, pool in zip((a, b), pools, strict=True)
            for first, end in _stretches(sizes[region.name], _version(region))
        ]
        try:
            for region, future in work:
                rows = future.result()
                _add(found[region.name], rows)
                watch.advance(sum(count for _, count, _ in rows))
        except BaseException:
            for pool in pools:
                pool.shutdown(wait=False, cancel_futures=True)
            scan.busy.cancel()
            raise
    return Parts(tuple(bounds), found[a.name], found[b.name])


@dataclass(frozen=True)
class _Scan:
    """Reading one table, stretch by stretch."""

    shape: Shape
    bounds: sql.Composable
    kind: HashKind
    where: str | None
    busy: Busy = field(default_factory=Busy)

    def read(self, region: Region, first: int, end: int | None) -> list[tuple[int, int, int]]:
        """Part, rows and hash of what lies in blocks ``first`` to ``end`` (None: to the last)."""
        whole = first == 0 and end is None
        statement = sql.SQL(block(FILE, "scan")).format(
            key=key_expression(self.shape),
            bounds=self.bounds,
            hash=columns.row_hash(self.shape.columns, self.shape.key, self.kind),
            table=doubled(self.shape.source(region.name)),
            stretch=sql.SQL("true") if whole else sql.SQL(block(FILE, "stretch")),
            where=condition(self.where),
        )
        with region.use() as conn, self.busy.at_work(conn):
            found = conn.execute(
                statement, {"first": f"({first},0)", "end": f"({_NO_BLOCK if end is None else end},0)"}
            )
            return found.fetchall()


def _version(region: Region) -> int:
    return region.first.info.server_version


def _stretches(size: Size, version: int) -> Iterator[tuple[int, int | None]]:
    """The table as stretches of blocks. The last has no end."""
    step = max(_STRETCH_BLOCKS, size.blocks // _MOST_STRETCHES)
    if not size.heap or version < _TID_RANGES_SINCE or size.blocks <= step:
        yield 0, None
        return
    firsts = range(0, size.blocks, step)
    yield from zip(firsts, [*firsts[1:], None], strict=True)


def _add(parts: dict[int, tuple[int, int]], rows: Sequence[tuple[int, int, int]]) -> None:
    for part, count, hash_ in rows:
        before, known = parts.get(part, (0, 0))
        parts[part] = (before + count, known ^ hash_)


def _bounds(a: Region, b: Region, shape: Shape, sizes: Mapping[str, Size]) -> list[Key]:
    """Keys that cut both regions' tables into parts, in the order of the key; none for a small table."""
    if max(size.blocks for size in sizes.values()) <= _SMALL_BLOCKS:
        return []
    samples = together(lambda region: _sample(region, shape, sizes[region.name]), (a, b))
    keys = [key for sample in samples for key in sample]
    if not keys:
        return []
    names = [f"k{n}" for n in range(len(shape.key))]
    statement = sql.SQL(block(FILE, "order")).format(
        texts=sql.SQL(", ").join(sql.SQL("t.{}::text").format(sql.Identifier(name)) for name in names),
        values=sql.SQL(", ").join(
            columns.key_value(c, sql.SQL("w." + name)) for c, name in zip(shape.key, names, strict=True)
        ),
        arrays=sql.SQL(", ").join(sql.SQL("%s::text[]") for _ in names),
        names=sql.SQL(", ").join(map(sql.Identifier, names)),
        key=sql.SQL(", ").join(sql.SQL("t." + name) for name in names),
    )
    with a.use() as conn:
        return [tuple(row) for row in conn.execute(statement, [list(column) for column in zip(*keys, strict=True)])]


def _sample(region: Region, shape: Shape, size: Size) -> list[Key]:
    rows = max(size.rows, size.blocks * 10)
    parts = min(max(rows // _ROWS_A_PART, 1), _MOST_PARTS) // 2
    if size.blocks == 0 or parts < 2:
        return []
    statement = sql.SQL(block(FILE, "sample")).format(
        texts=key_texts(shape), key=key_expression(shape), table=doubled(shape.source(region.name))
    )
    percent = min(max(1.0, 100.0 * _SAMPLE_BLOCKS / size.blocks), 100.0)
    with region.use() as conn:
        return [tuple(row) for row in conn.execute(statement, {"percent": percent, "parts": parts})]
