"""The second look: which rows of the parts that differ do."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from queue import Queue
from typing import TypeAlias

from psycopg import sql

from accountdb.compare import columns
from accountdb.compare.busy import Busy
from accountdb.compare.columns import HashKind
from accountdb.compare.model import Key, Pair, Parts, Shape
from accountdb.compare.session import FILE, Region
from accountdb.compare.statement import bounds_expression, condition, key_expression, key_texts
from accountdb.pg.names import doubled
from accountdb.sql import block

_Rows: TypeAlias = "dict[Key, int]"
_BATCH = 5000
_AHEAD = 4
# Above this share of a table one more look at all of it is cheaper than many ranges of its index.
_SCAN_SHARE = 0.1


def differing_rows(
    a: Region,
    b: Region,
    shape: Shape,
    parts: Parts,
    kind: HashKind,
    where: str | None,
    wanted: Sequence[int] | None = None,
) -> Iterator[Pair]:
    """The rows of the ``wanted`` parts (None: of those that differ) that do, part by part, by key within a part.

    Holds a part of each region in memory.
    """
    wanted = parts.differing if wanted is None else wanted
    if not wanted:
        return
    streams = [_Stream(region, shape, parts, wanted, kind, where) for region in (a, b)]
    try:
        sides = [_by_part(stream.rows()) for stream in streams]
        heads = [next(side, None) for side in sides]
        for part in wanted:
            here, there = ({} if head is None or head[0] != part else head[1] for head in heads)
            heads = [
                next(side, None) if head is not None and head[0] == part else head
                for side, head in zip(sides, heads, strict=True)
            ]
            yield from unequal(here, there)
    finally:
        for stream in streams:
            stream.close()


def unequal(a: _Rows, b: _Rows) -> Iterator[Pair]:
    """The keys whose hash differs, or that one side lacks, in the order of their text. Pure."""
    for key in sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key)):
        yield Pair(key, a.get(key), b.get(key))


def _by_part(rows: Iterable[tuple[int, Key, int]]) -> Iterator[tuple[int, _Rows]]:
    for part, found in groupby(rows, key=lambda row: row[0]):
        yield part, {key: hash_ for _, key, hash_ in found}


class _Stream:
    """One region's rows of the wanted parts, in their order, read ahead by a thread of its own."""

    def __init__(
        self, region: Region, shape: Shape, parts: Parts, wanted: Sequence[int], kind: HashKind, where: str | None
    ) -> None:
        self._region = region
        self._statement, self._values = _query(region, shape, parts, wanted, kind, where)
        self._blocks: Queue[list[tuple[int, Key, int]] | BaseException] = Queue(_AHEAD)
        self._stop = threading.Event()
        self._ended = False
        self._busy = Busy()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def rows(self) -> Iterator[tuple[int, Key, int]]:
        """Part, key and hash. Raises what went wrong while reading."""
        while True:
            found = self._blocks.get()
            if isinstance(found, BaseException):
                raise found
            if not found:
                self._ended = True
                return
            yield from found

    def close(self) -> None:
        """End the thread, also in the middle. Then the connection's transaction may be lost."""
        self._stop.set()
        if not self._ended:
            # Not while it tidies up after its last row: the transaction is needed for the next table.
            self._busy.cancel()
        while self._thread.is_alive():
            while not self._blocks.empty():
                self._blocks.get_nowait()
            self._thread.join(0.05)

    def _read(self) -> None:
        try:
            with (
                self._region.use() as conn,
                self._busy.at_work(conn),
                conn.transaction(),
                conn.cursor("accountdb_rows") as cursor,
            ):
                cursor.execute(self._statement, self._values)
                while not self._stop.is_set():
                    found = cursor.fetchmany(_BATCH)
                    self._blocks.put([(part, tuple(key), hash_) for part, *key, hash_ in found])
                    if not found:
                        return
        except BaseException as error:  # noqa: BLE001 - handed to the reader, who raises it
            self._blocks.put(error)


def _query(
    region: Region, shape: Shape, parts: Parts, wanted: Sequence[int], kind: HashKind, where: str | None
) -> tuple[sql.Composed, dict[str, object]]:
    names = [f"k{n}" for n in range(len(shape.key))]
    hash_ = columns.row_hash(shape.columns, shape.key, kind)
    if few(parts, wanted) and all(map(columns.indexed, shape.key)):
        return _by_index(region, shape, parts, wanted, hash_, where)
    statement = sql.SQL(block(FILE, "rows_by_scan")).format(
        aliases=sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(name)) for name in names),
        key=key_expression(shape),
        bounds=bounds_expression(shape, parts.bounds),
        texts=key_texts(shape),
        hash=hash_,
        table=doubled(shape.source(region.name)),
        where=condition(where),
    )
    return statement, {"parts": list(wanted)}


def few(parts: Parts, wanted: Sequence[int]) -> bool:
    """Whether some parts are so small a share of a table that its index serves them better than a look at all."""
    rows = sum(side.get(part, (0, 0))[0] for part in wanted for side in (parts.a, parts.b))
    return rows <= _SCAN_SHARE * (parts.rows(parts.a) + parts.rows(parts.b))


def _by_index(
    region: Region, shape: Shape, parts: Parts, wanted: Sequence[int], hash_: sql.Composable, where: str | None
) -> tuple[sql.Composed, dict[str, object]]:
    """Inner parts as ranges out of arrays, the two at the edges each as a query of its own."""
    common = {
        "texts": key_texts(shape),
        "hash": hash_,
        "table": doubled(shape.source(region.name)),
        "where": condition(where),
    }
    last = len(parts.bounds)
    inner = [part for part in wanted if 0 < part < last]
    values: dict[str, object] = {"parts": inner}
    names = []
    for edge, offset in (("low", -1), ("high", 0)):
        for n in range(len(shape.key)):
            names.append(f"{edge}{n}")
            values[names[-1]] = [parts.bounds[part + offset][n] for part in inner]
    low, high = _at_least(shape, "w.low{}"), _below(shape, "w.high{}")
    queries = [
        sql.SQL(block(FILE, "rows_by_index")).format(
            arrays=sql.SQL(", ").join(sql.SQL("%({})s::text[]").format(sql.SQL(name)) for name in names),
            names=sql.SQL(", ").join(map(sql.Identifier, names)),
            range=sql.SQL("{} AND {}").format(low, high),
            **common,
        )
    ]
    for part, range_, bound in ((0, _below, 0), (last, _at_least, last - 1)):
        if part in wanted and parts.bounds:
            edge = f"edge{part}_"
            values |= {f"{edge}{n}": text for n, text in enumerate(parts.bounds[bound])}
            compared = range_(shape, f"%({edge}{{}})s::text")
            queries.append(
                sql.SQL(block(FILE, "rows_at_edge")).format(part=sql.Literal(part), range=compared, **common)
            )
    return sql.SQL("\nUNION ALL\n").join(queries) + sql.SQL("\nORDER BY 1"), values


def _at_least(shape: Shape, name: str) -> sql.Composed:
    return _compared(shape, ">=", name)


def _below(shape: Shape, name: str) -> sql.Composed:
    return _compared(shape, "<", name)


def _compared(shape: Shape, operator: str, name: str) -> sql.Composed:
    bounds = [columns.key_value(column, sql.SQL(name.format(n))) for n, column in enumerate(shape.key)]
    bound = bounds[0] if len(bounds) == 1 else sql.SQL("ROW({})").format(sql.SQL(", ").join(bounds))
    return sql.SQL("{} {} {}").format(key_expression(shape), sql.SQL(operator), bound)
