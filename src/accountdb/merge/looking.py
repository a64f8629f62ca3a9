"""What two regions hold differently, as a merge needs it: whole stretches that one lacks, and single rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from accountdb.compare.diff import Comparison, FirstLook
from accountdb.compare.model import Key, Pair, Parts, Shape, Watch
from accountdb.compare.spool import Spool

_RANGE_ROWS = 20_000


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


def keys_of(pairs: Spool[Pair], size: int) -> Iterator[list[Key]]:
    """The rows' keys, ``size`` at a time."""
    rows = (pair.key for pair in pairs)
    while keys := list(islice(rows, size)):
        yield keys


def digest(pairs: Spool[Pair]) -> int:
    """One number for the rows that differ and what both regions hold of them."""
    return sum(hash((pair.key, pair.a, pair.b)) for pair in pairs)
