"""Remembering what a transaction changes: the rows that it may touch, before and after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from psycopg import sql

from accountdb.catalog.references import refers
from accountdb.catalog.tables import Table
from accountdb.compare import columns
from accountdb.merge.rivals import claimed
from accountdb.merge.undo import SQL_FILE, Line, Row, Undo
from accountdb.merge.writer import writable
from accountdb.pg.connect import Connection
from accountdb.pg.names import doubled
from accountdb.sql import block

Name = tuple[str, str]
Images = dict[str, tuple[Sequence[str | None], Sequence[str]]]


@dataclass(frozen=True)
class Recorder:
    """Writes one region's lines of the undo file. ``tables`` are all that a guard may touch."""

    region: str
    undo: Undo
    tables: Mapping[Name, Table] = field(repr=False)

    @contextmanager
    def recorded(self, conn: Connection, table: Table, keys: Iterable[object], *, staged: bool) -> Iterator[None]:
        """Within the block rows ``keys`` of ``table`` are written through the guard.

        It may take a value from another row, which is why ``staged`` rows are looked at, and take
        children along. The line is on disk before the caller commits.
        """
        affected = self._affected(conn, table, {str(key) for key in keys}, staged=staged)
        before, buried = self._images(conn, affected), self._tombstones(conn, affected)
        yield
        after = self._images(conn, affected)
        rows = {name: _changed(before[name], after[name]) for name in affected}
        new = [one for one in self._tombstones(conn, affected) if one not in buried]
        self._write({name: found for name, found in rows.items() if found}, new)

    def inserted(self, table: Table, stamps: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Rows that were not there: uuid and stamp of each."""
        self._write({(table.schema, table.name): [(uuid, None, stamp) for uuid, stamp in stamps]}, [])

    def _write(self, rows: Mapping[Name, Sequence[Row]], buried: Sequence[Sequence[str]]) -> None:
        named = {name: writable(self.tables[name]) for name in rows}
        self.undo.write(Line(self.region, rows, buried, named))

    def _affected(self, conn: Connection, table: Table, keys: set[str], *, staged: bool) -> dict[Name, set[str]]:
        found: dict[Name, set[str]] = {}
        if staged:
            keys = keys | {str(claim.holder) for claim in claimed(conn, table)}
        self._with_children(conn, table, keys, found)
        return found

    def _with_children(self, conn: Connection, table: Table, keys: set[str], found: dict[Name, set[str]]) -> None:
        name = (table.schema, table.name)
        new = keys - found.get(name, set())
        found.setdefault(name, set()).update(new)
        if not new:
            return
        for reference in table.referenced_by:
            child = self.tables.get(reference.child)
            if child is not None:
                statement = sql.SQL(block(SQL_FILE, "children")).format(
                    child=doubled(child.identifier),
                    table=doubled(table.identifier),
                    match=refers(reference, "c", "p"),
                )
                below = {str(uuid) for (uuid,) in conn.execute(statement, {"keys": list(new)})}
                self._with_children(conn, child, below, found)

    def _images(self, conn: Connection, affected: Mapping[Name, set[str]]) -> dict[Name, Images]:
        return {name: images(conn, self.tables[name], keys) for name, keys in affected.items()}

    def _tombstones(self, conn: Connection, affected: Mapping[Name, set[str]]) -> list[list[str]]:
        keys = [key for found in affected.values() for key in found]
        return [one for (one,) in conn.execute(block(SQL_FILE, "tombstones"), {"keys": keys})]


def images(conn: Connection, table: Table, keys: Iterable[str]) -> Images:
    """Some rows as they are: by uuid the written columns as text, and the stamp."""
    by_name = {column.name: column for column in table.columns}
    texts = sql.SQL(", ").join(columns.as_text(by_name[column]) for column in writable(table))
    statement = sql.SQL(block(SQL_FILE, "rows")).format(table=doubled(table.identifier), values=texts)
    found = conn.execute(statement, {"keys": list(keys)})
    return {uuid: (values, stamp) for uuid, values, stamp in found}


def _changed(before: Images, after: Images) -> list[Row]:
    changed: list[Row] = []
    for uuid in sorted(before.keys() | after.keys()):
        old, new = before.get(uuid), after.get(uuid)
        if old != new:
            changed.append((uuid, old[0] if old else None, new[1] if new else None))
    return changed
