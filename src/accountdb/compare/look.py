"""Rows looked at by their keys: again after a while, and at last with all that they hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from psycopg import sql

from accountdb.compare import columns
from accountdb.compare.columns import HashKind
from accountdb.compare.model import Key, Shape
from accountdb.compare.session import FILE, Region
from accountdb.contract.decide import Copy
from accountdb.contract.row_order import RowStamp
from accountdb.pg.names import doubled
from accountdb.sql import block

# Rows whole, at a time: each may be large.
BATCH = 200

T = TypeVar("T")

_STAMP = ("version", "updated_at", "origin_node")


@dataclass(frozen=True)
class Sight:
    """One region's copy of a row at one moment: its hash, and its place in the row order where there is one."""

    hash: int
    rank: tuple[int, datetime, bytes] | None


@dataclass(frozen=True)
class Detail:
    """The same with all that was compared, as text by column, and the copy as the row order takes it."""

    hash: int
    values: tuple[str | None, ...] = field(repr=False)
    copy: Copy | None = field(repr=False)


@dataclass(frozen=True)
class Looker:
    """Looks at rows of one table in two regions, whole, whatever condition brought them up.

    ``others`` are more regions, which only ``whole`` and ``dead_anywhere`` look at.
    """

    a: Region
    b: Region
    shape: Shape
    kind: HashKind
    others: tuple[Region, ...] = ()

    def sights(self, keys: Sequence[Key]) -> list[tuple[Sight | None, Sight | None]]:
        """The rows as they are now, both regions at the same time."""
        more: sql.Composable = sql.SQL("")
        if self.shape.ordered:
            more = sql.SQL(", {}").format(_columns(_STAMP))
        found = self._each(
            (self.a, self.b), keys, more, lambda row: Sight(row[0], _rank(row[1:]) if len(row) > 1 else None)
        )
        return [(a, b) for a, b in found]

    def details(self, keys: Sequence[Key]) -> list[tuple[Detail | None, Detail | None]]:
        """The rows whole."""
        return [(a, b) for a, b in self._details((self.a, self.b), keys, policy=True)]

    def whole(self, keys: Sequence[Key], *, policy: bool = True) -> list[tuple[Detail | None, ...]]:
        """The same in every region: a, b, then the others.

        Without ``policy`` nothing of accountdb's own is used, and there is no copy to be ordered.
        """
        return self._details((self.a, self.b, *self.others), keys, policy=policy)

    def _details(
        self, regions: Sequence[Region], keys: Sequence[Key], *, policy: bool
    ) -> list[tuple[Detail | None, ...]]:
        texts = sql.SQL(", ").join(columns.as_text(column) for column in self.shape.columns)
        more: sql.Composable = sql.SQL(", ARRAY[{}]::text[]").format(texts)
        if self.shape.ordered and policy:
            generated = sql.Literal([c.name for c in self.shape.columns if c.generated]) + sql.SQL("::text[]")
            more += sql.SQL(", t.uuid, t.created_at, {}, md5(accountdb.row_content(t.*, {})::text)").format(
                _columns(_STAMP), doubled(generated)
            )
        return self._each(regions, keys, more, _detail)

    def dead(self, keys: Sequence[Key]) -> dict[UUID, dict[datetime, UUID | None]]:
        """The lives of these rows that have a tombstone in either region, with the row that each was merged into."""
        return self._dead((self.a, self.b), keys)

    def dead_anywhere(self, keys: Sequence[Key]) -> dict[UUID, dict[datetime, UUID | None]]:
        """The same of all regions: what becomes of the rows once all are merged.

        Not for what is done to two of them: what had happened in a third one before it deleted a row may not be here.
        """
        return self._dead((self.a, self.b, *self.others), keys)

    def _dead(self, regions: Sequence[Region], keys: Sequence[Key]) -> dict[UUID, dict[datetime, UUID | None]]:
        found: defaultdict[UUID, dict[datetime, UUID | None]] = defaultdict(dict)
        values = {"schema": self.shape.schema, "table": self.shape.name, "keys": [UUID(key[0]) for key in keys]}
        for region in regions:
            with region.use() as conn:
                for key, created_at, winner in conn.execute(block(FILE, "dead"), values):
                    found[key][created_at] = winner or found[key].get(created_at)
        return found

    def _each(
        self, regions: Sequence[Region], keys: Sequence[Key], more: sql.Composable, made: Callable[[Sequence[Any]], T]
    ) -> list[tuple[T | None, ...]]:
        texts = [list(texts) for texts in zip(*keys, strict=True)] or [[] for _ in self.shape.key]
        with ThreadPoolExecutor(len(regions)) as pool:
            work = [pool.submit(_rows, region, self._statement(region, more), texts) for region in regions]
            found = [{n: made(rest) for n, *rest in future.result()} for future in work]
        return [tuple(one.get(n) for one in found) for n in range(1, len(keys) + 1)]

    def _statement(self, region: Region, more: sql.Composable) -> sql.Composed:
        names = [f"k{n}" for n in range(len(self.shape.key))]
        match = []
        for column, name in zip(self.shape.key, names, strict=True):
            match += columns.same_key(column, sql.SQL("w." + name))
        return sql.SQL(block(FILE, "look")).format(
            hash=columns.row_hash(self.shape.columns, self.shape.key, self.kind),
            more=more,
            arrays=sql.SQL(", ").join(sql.SQL("%s::text[]") for _ in names),
            names=sql.SQL(", ").join(map(sql.Identifier, names)),
            table=doubled(self.shape.source(region.name)),
            match=sql.SQL(" AND ").join(match),
        )


def _rows(region: Region, statement: sql.Composed, texts: list[list[str]]) -> list[tuple[Any, ...]]:
    with region.use() as conn:
        return list(conn.execute(statement, texts).fetchall())


def _columns(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(name)) for name in names)


def _rank(stamp: Sequence[Any]) -> tuple[int, datetime, bytes]:
    version, updated_at, origin_node = stamp
    return version, updated_at, origin_node.encode()


def _detail(row: Sequence[Any]) -> Detail:
    hash_, values, *rest = row
    if not rest:
        return Detail(hash_, tuple(values), None)
    uuid, created_at, version, updated_at, origin_node, content = rest
    stamp = RowStamp(version, updated_at, origin_node, content)
    return Detail(hash_, tuple(values), Copy(uuid, created_at, stamp, tuple(values)))
