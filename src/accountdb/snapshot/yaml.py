"""YAML: one document, of which each row is a mapping with one column a line.

Its own layout is read line by line. At the first line that is not written so, because a person has edited
the file say, PyYAML's events take over for the rest.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import yaml
from psycopg import sql

from accountdb.catalog.tables import Table
from accountdb.compare.columns import as_text
from accountdb.errors import AccountdbError
from accountdb.pg.names import doubled
from accountdb.snapshot.events import Events
from accountdb.snapshot.layout import header_document, parsed_header, parsed_trailer, quoted, shown
from accountdb.snapshot.model import Header, TableShape, Trailer, Values
from accountdb.snapshot.origin import EarlyEndError, Lines

_BATCH = 500
_SHA256_DIGITS = 64
_MOST_HEADER_LINES = 200_000
_NULL = "null"
_TYPES = {str, type(None)}
_ABOUT = "# A snapshot of account tables. It holds secrets. An edited one is imported with --allow edited.\n"
# What only loads texts, mappings and lists; the fast one where PyYAML has it.
_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def _key(name: str) -> str:
    """A name as a key: as it is where nothing else could be read in it."""
    plain = name.isascii() and name.isidentifier() and name.islower()
    return name if plain and name not in _WORDS else quoted(name)


_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}


def _prefixes(shape: TableShape) -> list[str]:
    """What stands before each value of a row."""
    return [f"    {'  ' if n else '- '}{_key(name)}: " for n, name in enumerate(shape.written)]


class YamlWriter:
    """See ``layout.Writer``."""

    def start(self, header: Header) -> str:
        document = header_document(header)
        tables = document.pop("tables")
        lines = [_ABOUT, "snapshot:\n"]
        lines += [
            f"  {key}: {json.dumps(value) if isinstance(value, int) else quoted(value)}\n"
            for key, value in document.items()
        ]
        lines.append("  tables:\n")
        for table in tables:
            lines.append(f"  - name: {quoted(table['name'])}\n    columns:\n")
            for column in table["columns"]:
                facts = ", ".join(
                    f"{key}: {json.dumps(value) if isinstance(value, bool) else quoted(value)}"
                    for key, value in column.items()
                )
                lines.append(f"    - {{{facts}}}\n")
        return "".join([*lines, "rows:\n"])

    def open(self, table: TableShape, *, empty: bool) -> str:
        return f"  {_key(table.name)}: []\n" if empty else f"  {_key(table.name)}:\n"

    def row(self, table: Table) -> sql.Composable:
        columns = [column for column in table.columns if not column.generated]
        parts: list[sql.Composable] = []
        for n, column in enumerate(columns):
            before = f"{'' if n == 0 else chr(10)}    {'  ' if n else '- '}{_key(column.name)}: "
            parts += [doubled(sql.Literal(before)), sql.SQL("pg_catalog.to_json({})::text").format(as_text(column))]
        return sql.SQL("pg_catalog.array_to_string(ARRAY[{}, E'\\n'], '', 'null')").format(sql.SQL(", ").join(parts))

    def end(self, trailer: Trailer) -> str:
        counts = "".join(f"    {_key(name)}: {count}\n" for name, count in trailer.counts.items())
        return f"end:\n  counts:\n{counts}  sha256: {quoted(trailer.sha256)}\n"


class YamlReader:
    """See ``layout.Reader``."""

    def __init__(self, lines: Lines) -> None:
        """``lines`` are at the start of the file."""
        self._lines = lines
        lines.until("end:")

    def header(self) -> Header:
        found: list[str] = []
        while (line := self._lines.line()) is not None and len(found) < _MOST_HEADER_LINES:
            if line.startswith("rows:"):
                self._lines.put_back([line])
                break
            if not line.lstrip().startswith(("#", "snapshot:", "---", "%")) and line.strip() and not any(found):
                break  # whatever it is, it does not begin as a snapshot does
            found.append(line if not line.startswith("#") else "")
        document = self._loaded("\n".join(found))
        self._header = parsed_header(self._lines.name, document.get("snapshot") if isinstance(document, dict) else None)
        if line is None:
            raise EarlyEndError(self._lines.name)
        return self._header

    def _loaded(self, text: str) -> Any:
        try:
            return yaml.load(text, _LOADER)
        except (yaml.YAMLError, RecursionError):
            return None

    def rows(self) -> Iterator[tuple[str, list[Values]]]:
        shapes = {_key(table.name): table for table in self._header.tables}
        numbers = {table.name: 0 for table in self._header.tables}
        line = self._lines.line()
        if (line or "").rstrip("\r") != "rows:":
            yield from self._events([], [line] if line is not None else [], numbers)
            return
        while (line := self._lines.line()) is not None:
            key, _, rest = line.strip().partition(":")
            shape = shapes.get(key) if line.startswith("  ") and line[2:3] not in (" ", "-") else None
            if shape is None or rest.strip() not in ("", "[]"):
                yield from self._events(["rows:"], [line], numbers)
                return
            if not rest.strip():
                odd = yield from self._table(shape, numbers)
                if odd:
                    yield from self._events(["rows:", line], odd, numbers)
                    return

    def _table(self, shape: TableShape, numbers: dict[str, int]) -> Any:
        """The rows of one table. Returns the lines of the first one that is not written as its own are."""
        prefixes = _prefixes(shape)
        lengths = list(map(len, prefixes))
        width = len(prefixes)
        batch: list[Values] = []
        odd: list[str] = []
        while True:
            lines = self._lines.take(width)
            if not lines or not lines[0].startswith("    - "):
                self._lines.put_back(lines)
                # The next table, or the end: anything else is for the caller to look at.
                if lines and not (lines[0].startswith("  ") and lines[0][2:3] not in (" ", "-")):
                    odd = [self._lines.line() or ""]
                break
            values = None
            if len(lines) == width and all(map(str.startswith, lines, prefixes)):
                values = _parsed([line[length:] for line, length in zip(lines, lengths, strict=True)])
            if values is None:
                self._lines.put_back(lines[1:])
                odd = lines[:1]
                break
            batch.append(values)
            if len(batch) == _BATCH:
                numbers[shape.name] += len(batch)
                yield shape.name, batch
                batch = []
        numbers[shape.name] += len(batch)
        if batch:
            yield shape.name, batch
        return odd

    def _events(
        self, before: list[str], lines: list[str], numbers: dict[str, int]
    ) -> Iterator[tuple[str, list[Values]]]:
        """What is left, by PyYAML. ``before`` are lines that say where in the document it is."""
        self._lines.put_back([*before, *lines])
        shapes = {table.name: table for table in self._header.tables}
        try:
            yield from Events(self._lines.name, _Text(self._lines), shapes, numbers).rows()
        except (AccountdbError, yaml.YAMLError, RecursionError) as error:
            if self._lines.ended and not self._lines.tail:
                raise EarlyEndError(self._lines.name) from None
            if isinstance(error, AccountdbError):
                raise
            raise AccountdbError(
                f"{self._lines.name} is not YAML that can be read, after {sum(numbers.values())} rows:"
                f" {shown(str(getattr(error, 'problem', None) or type(error).__name__))}",
                hint="mend it, or take the snapshot again",
            ) from None

    def trailer(self) -> Trailer:
        if not self._lines.tail.strip():
            raise EarlyEndError(self._lines.name)
        document = self._loaded(self._lines.tail.decode(errors="replace"))
        if not isinstance(document, dict) or not isinstance(document.get("end"), dict):
            raise EarlyEndError(self._lines.name)
        if len(document) > 1:
            raise AccountdbError(f"{self._lines.name}: more follows the end of the snapshot")
        if len(str(document["end"].get("sha256", ""))) < _SHA256_DIGITS:
            raise EarlyEndError(self._lines.name)  # its last line was cut
        return parsed_trailer(self._lines.name, document["end"])


def _parsed(texts: list[str]) -> Values | None:
    """The values of one row out of their JSON; None where they are anything else."""
    try:
        values: list[str | None] = json.loads(f"[{','.join(texts)}]")
    except ValueError:
        return None
    if len(values) != len(texts) or not _TYPES.issuperset(map(type, values)):
        return None
    return values


class _Text(io.RawIOBase):
    """The lines as a file that PyYAML reads."""

    def __init__(self, lines: Lines) -> None:
        self._blocks = lines.blocks()
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return b""
            self._rest = ("\n".join(block) + "\n").encode()
        size = len(self._rest) if size is None or size < 0 else size
        found, self._rest = self._rest[:size], self._rest[size:]
        return found
