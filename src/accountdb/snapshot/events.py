"""Rows out of PyYAML's events: however the document is written, and never more of it than one row in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from accountdb.errors import AccountdbError
from accountdb.snapshot.layout import bad_row, shown, unknown_table
from accountdb.snapshot.model import TableShape, Values

_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_NULLS = {"null", "Null", "NULL", "~", ""}
_BATCH = 500


class Events:
    """The mapping ``rows`` of a snapshot: for each table a list of rows."""

    def __init__(self, name: str, stream: Any, shapes: Mapping[str, TableShape], numbers: dict[str, int]) -> None:
        """``numbers`` are the rows of each table that were read before."""
        self._name = name
        self._events: Iterator[Any] = yaml.parse(stream, _LOADER)
        self._shapes = shapes
        self._numbers = numbers

    def rows(self) -> Iterator[tuple[str, list[Values]]]:
        """See ``layout.Reader``. Raises AccountdbError and yaml.YAMLError."""
        self._expect(yaml.StreamStartEvent)
        self._expect(yaml.DocumentStartEvent)
        self._expect(yaml.MappingStartEvent)
        if self._key() != "rows":
            raise self._odd("rows do not follow the header")
        event = next(self._events)
        if isinstance(event, yaml.MappingStartEvent):
            while (name := self._key()) is not None:
                if name not in self._shapes:
                    raise unknown_table(self._name, name)
                yield from self._table(self._shapes[name])
        elif not _is_null(event):
            raise self._odd("rows is not a mapping of tables")
        if (more := self._key()) is not None:
            raise self._odd(f"{more} is no part of a snapshot")
        self._expect(yaml.DocumentEndEvent)
        if not isinstance(next(self._events), yaml.StreamEndEvent):
            raise self._odd("another document follows")

    def _table(self, shape: TableShape) -> Iterator[tuple[str, list[Values]]]:
        event = next(self._events)
        if _is_null(event):
            return
        if not isinstance(event, yaml.SequenceStartEvent):
            raise self._odd(f"the rows of {shape.name} are no list")
        batch: list[Values] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            self._numbers[shape.name] += 1
            if not isinstance(event, yaml.MappingStartEvent):
                raise bad_row(self._name, shape.name, self._numbers[shape.name], "is no mapping")
            batch.append(self._row(shape, self._numbers[shape.name]))
            if len(batch) == _BATCH:
                yield shape.name, batch
                batch = []
        if batch:
            yield shape.name, batch

    def _row(self, shape: TableShape, number: int) -> Values:
        found: dict[str, str | None] = {}
        while (key := self._key()) is not None:
            event = next(self._events)
            if not isinstance(event, yaml.ScalarEvent):
                raise bad_row(self._name, shape.name, number, f"has no text in {key}")
            if key in found:
                raise bad_row(self._name, shape.name, number, f"has {key} twice")
            found[key] = None if _is_null(event) else str(event.value)
        if lacking := [name for name in shape.written if name not in found]:
            raise bad_row(self._name, shape.name, number, f"lacks {', '.join(lacking)}")
        if len(found) > len(shape.written):
            unknown = ", ".join(name for name in found if name not in shape.written)
            raise bad_row(self._name, shape.name, number, f"has {unknown}, which the header has not")
        return [found[name] for name in shape.written]

    def _key(self) -> str | None:
        """The next key of a mapping; None at its end."""
        event = next(self._events)
        if isinstance(event, yaml.MappingEndEvent):
            return None
        if not isinstance(event, yaml.ScalarEvent):
            raise self._odd("a key is no text")
        return str(event.value)

    def _expect(self, kind: type[Any]) -> None:
        if not isinstance(next(self._events), kind):
            raise self._odd("it is written in another way than a snapshot")

    def _odd(self, what: str) -> AccountdbError:
        return AccountdbError(f"{self._name}: {shown(what)}", hint="a file of migratectl export")


def _is_null(event: Any) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.style in (None, "") and event.value in _NULLS
