"""JSON lines: one document a line. ``{"snapshot": ...}``, ``{"table": ..., "row": ...}``, ``{"end": ...}``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from operator import itemgetter
from typing import Any

from psycopg import sql

from accountdb.catalog.tables import Table
from accountdb.compare.columns import as_text
from accountdb.errors import AccountdbError
from accountdb.pg.names import doubled
from accountdb.snapshot.layout import (
    bad_row,
    header_document,
    parsed_header,
    parsed_trailer,
    quoted,
    safe,
    unknown_table,
)
from accountdb.snapshot.model import Header, TableShape, Trailer, Values
from accountdb.snapshot.origin import EarlyEndError, Lines

_BATCH = 500
_END = '{"end":'
_TYPES = {str, type(None)}
# Numbers as they are written: a float would lose digits.
_decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


def _line(document: Any) -> str:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return safe(text.encode()).decode() + "\n"


class JsonlWriter:
    """See ``layout.Writer``."""

    def start(self, header: Header) -> str:
        return _line({"snapshot": header_document(header)})

    def open(self, table: TableShape, *, empty: bool) -> str:
        return ""

    def row(self, table: Table) -> sql.Composable:
        columns = [
            as_text(column) + sql.SQL(" AS ") + doubled(sql.Identifier(column.name))
            for column in table.columns
            if not column.generated
        ]
        before = doubled(sql.Literal(f'{{"table":{quoted(table.name)},"row":'))
        return sql.SQL("({} || (SELECT pg_catalog.row_to_json(r)::text FROM (SELECT {}) AS r) || E'}}\\n')").format(
            before, sql.SQL(", ").join(columns)
        )

    def end(self, trailer: Trailer) -> str:
        return _line({"end": asdict(trailer)})


class JsonlReader:
    """See ``layout.Reader``."""

    def __init__(self, lines: Lines) -> None:
        """``lines`` are at the start of the file."""
        self._lines = lines
        self._end: Any = None
        lines.until(_END)

    def header(self) -> Header:
        line = self._lines.line() or ""
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            document = None
        found = document.get("snapshot") if isinstance(document, dict) else None
        self._header = parsed_header(self._lines.name, found)
        return self._header

    def rows(self) -> Iterator[tuple[str, list[Values]]]:
        shapes = {table.name: table for table in self._header.tables}
        numbers = dict.fromkeys(shapes, 0)
        current = ""
        batch: list[Values] = []
        pick: Any = None
        width = 0
        for line in self._documents():
            name = line.get("table")
            if name != current:
                if batch:
                    yield current, batch
                shape = shapes.get(name) if isinstance(name, str) else None
                if shape is None:
                    raise unknown_table(self._lines.name, str(name))
                current, batch, pick, width = shape.name, [], _picker(shape), len(shape.written)
            numbers[current] += 1
            batch.append(self._values(line.get("row"), shapes[current], width, pick, numbers[current]))
            if len(batch) == _BATCH:
                yield current, batch
                batch = []
        if batch:
            yield current, batch

    def _documents(self) -> Iterator[dict[str, Any]]:
        number = 1
        decode = _decoder.decode
        for block in self._lines.blocks():
            for line in block:
                number += 1
                try:
                    document = decode(line)
                except (ValueError, RecursionError):
                    if not line.strip():
                        continue
                    document = None
                if isinstance(document, dict) and "row" in document and self._end is None:
                    yield document
                elif isinstance(document, dict) and "end" in document and self._end is None:
                    self._end = document["end"]
                elif self._lines.ended and not self._lines.tail and self._end is None and line is block[-1]:
                    raise EarlyEndError(self._lines.name)
                else:
                    raise _bad_line(self._lines.name, number)

    def _values(self, row: Any, shape: TableShape, width: int, pick: Any, number: int) -> Values:
        if not isinstance(row, dict) or len(row) != width:
            raise bad_row(self._lines.name, shape.name, number, _what(row, shape))
        try:
            values: tuple[Any, ...] = pick(row)
        except KeyError:
            raise bad_row(self._lines.name, shape.name, number, _what(row, shape)) from None
        if not _TYPES.issuperset(map(type, values)):
            return [self._text(value, shape.name, number) for value in values]
        return values

    def _text(self, value: Any, table: str, number: int) -> str | None:
        if isinstance(value, bool):
            return str(value).lower()
        if value is None or isinstance(value, str):
            return value
        raise bad_row(self._lines.name, table, number, "has a value that is neither text nor null")

    def trailer(self) -> Trailer:
        if self._end is not None:
            return parsed_trailer(self._lines.name, self._end)
        if not self._lines.tail.strip():
            raise EarlyEndError(self._lines.name)
        try:
            document = json.loads(self._lines.tail)
        except (ValueError, RecursionError):
            if b"\n" not in self._lines.tail.strip():
                raise EarlyEndError(self._lines.name) from None
            raise _bad_line(self._lines.name, None) from None
        return parsed_trailer(self._lines.name, document.get("end"))


def _picker(shape: TableShape) -> Any:
    names = shape.written
    one = itemgetter(*names)
    # Of one column itemgetter gives no tuple.
    return one if len(names) > 1 else lambda row: (one(row),)


def _what(row: Any, shape: TableShape) -> str:
    if not isinstance(row, dict):
        return "is no mapping"
    lacking = [name for name in shape.written if name not in row]
    if lacking:
        return f"lacks {', '.join(lacking)}"
    return f"has {', '.join(name for name in row if name not in shape.written)}, which the header has not"


def _bad_line(name: str, number: int | None) -> AccountdbError:
    """A line that is no row."""
    where = f"line {number}" if number else "what follows the end"
    return AccountdbError(f"{name}: {where} is not a document of a snapshot", hint="a file of migratectl export")
