"""COPY from one server into another, in the server's own format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from psycopg import Copy

from accountdb.catalog.tables import Column
from accountdb.compare.session import named
from accountdb.pg.connect import Connection

_CHUNK_BYTES = 128 * 1024
_STEP_ROWS = 5000
# What the binary format has after the last row.
_END = b"\xff\xff"


def chunks(rows: Copy) -> Iterator[tuple[bytes, int]]:
    """What comes, in pieces that are worth a write, with the number of rows in each: one a message.

    Of no row at all the binary format makes a message too.
    """
    waiting: list[bytes] = []
    size = count = 0
    while data := rows.read():
        waiting.append(bytes(data))
        size += len(data)
        count += waiting[-1] != _END
        if size >= _CHUNK_BYTES:
            yield b"".join(waiting), count
            waiting, size, count = [], 0, 0
    yield b"".join(waiting), count


@contextmanager
def sorting(conn: Connection, name: str, dsn: str) -> Iterator[None]:
    """Within the block a query in the order of a key sorts: of a whole table, whose index leads all over the heap.

    Errors bear the name of the region, which has ``dsn``.
    """
    with named(name, dsn):
        conn.execute("SET enable_indexscan = off")
    yield
    with named(name, dsn):
        conn.execute("RESET enable_indexscan")


def carry(pieces: Iterable[tuple[bytes, int]], into: Copy, advance: Callable[[int], None]) -> None:
    """Write the pieces; ``advance`` is told, now and then, how many rows more."""
    waiting = 0
    for piece, count in pieces:
        into.write(piece)
        waiting += count
        if waiting >= _STEP_ROWS:
            advance(waiting)
            waiting = 0
    advance(waiting)


def format_for(columns: Iterable[Column]) -> str:
    """The COPY format. Types that users made have other OIDs in every database, which binary carries along."""
    return "text" if any("." in column.type or "." in column.base_type for column in columns) else "binary"
