"""A transaction of the provider, as the stream carries it. Rows are whole: they are shown through masking only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Operation(StrEnum):
    """What a change does to its row."""

    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    TRUNCATE = "TRUNCATE"


@dataclass(frozen=True)
class Row:
    """One row, or of a deleted one its key, in one of two forms. A large column that did not change is not there.

    ``text``: each column as its type writes it (native). ``json``: all of it as one JSON text (pglogical).
    ``types`` are the type OIDs of the columns of ``text``.
    """

    text: Mapping[str, str | None] | None = field(default=None, repr=False)
    json: str | None = field(default=None, repr=False)
    types: Mapping[str, int] = field(default_factory=dict, repr=False)

    @property
    def content(self) -> dict[str, Any]:
        """The columns to look at and to keep. Without a server only some of their types are known."""
        if self.text is None:
            found = json.loads(self.json or "{}")
            return found if isinstance(found, dict) else {}
        return {name: _value(self.types.get(name, 0), value) for name, value in self.text.items()}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it has."""
        return tuple(self.text if self.text is not None else self.content)


_BOOL, _JSON = 16, (114, 3802)
_NUMBERS = (20, 21, 23)


def _value(type_oid: int, text: str | None) -> Any:
    if text is None:
        return None
    if type_oid == _BOOL:
        return text == "t"
    if type_oid in _NUMBERS:
        return int(text)
    if type_oid in _JSON:
        return json.loads(text)
    return text


@dataclass(frozen=True)
class Change:
    """One change. ``key`` names the row as it was: of an UPDATE that changes its key, and of a DELETE."""

    operation: Operation
    schema: str
    table: str
    row: Row | None
    key: Row | None = None

    @property
    def name(self) -> tuple[str, str]:
        """The table, as the catalog names it."""
        return self.schema, self.table

    @property
    def content(self) -> dict[str, Any]:
        """What is known of the row: of a DELETE its key."""
        if self.row is not None:
            return self.row.content
        return {name: value for name, value in self.key.content.items() if value is not None} if self.key else {}

    @property
    def uuid(self) -> str | None:
        """The row's key, where it is a row of a table under the row contract."""
        found = self.content.get("uuid")
        return None if found is None else str(found)


@dataclass(frozen=True)
class Transaction:
    """One transaction. ``finished`` is where its commit is written, ``end`` the position after it: from there the
    stream goes on without it.
    """

    xid: int
    finished: str
    end: str
    committed_at: datetime
    changes: tuple[Change, ...] = field(repr=False)


def position(lsn: str) -> int:
    """``0/1903E30`` as a number."""
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


def as_lsn(number: int) -> str:
    """The other way round."""
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"
