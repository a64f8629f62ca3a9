"""The messages of PostgreSQL's own output plugin, pgoutput, protocol version 1. Pure.

Source: "Logical Replication Message Formats" in PostgreSQL's documentation.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from accountdb.setup.unblocking.model import Change, Operation, Row, Transaction, as_lsn

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class UnreadableError(Exception):
    """A message that is not of this protocol."""


@dataclass(frozen=True)
class _Relation:
    schema: str
    table: str
    columns: tuple[tuple[str, int, bool], ...]
    """Name, type OID, whether it belongs to the key."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, form: str) -> int:
        size = struct.calcsize(f"!{form}")
        piece = self._bytes(size)
        return int(struct.unpack(f"!{form}", piece)[0])

    def word(self) -> str:
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise UnreadableError("a name does not end")
        piece = self._data[self._at : end]
        self._at = end + 1
        return piece.decode()

    def letter(self) -> str:
        return self._bytes(1).decode("latin-1")

    def text(self) -> str:
        return self._bytes(self.take("I")).decode()

    def _bytes(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) < size:
            raise UnreadableError("a message ends too early")
        self._at += size
        return piece


def transactions(messages: Iterable[bytes]) -> Iterator[Transaction]:
    """The transactions that ``messages`` make up, in their order. Raises UnreadableError."""
    relations: dict[int, _Relation] = {}
    begun: tuple[int, str] | None = None
    changes: list[Change] = []
    for message in messages:
        reader = _Reader(message)
        kind = reader.letter()
        if kind == "B":
            finished, _ = reader.take("Q"), reader.take("q")
            begun, changes = (reader.take("I"), as_lsn(finished)), []
        elif kind == "C":
            if begun is None:
                raise UnreadableError("a commit without a beginning")
            _, _, end, at = reader.letter(), reader.take("Q"), reader.take("Q"), reader.take("q")
            yield Transaction(begun[0], begun[1], as_lsn(end), _EPOCH + timedelta(microseconds=at), tuple(changes))
            begun = None
        elif kind == "R":
            oid = reader.take("I")
            relations[oid] = _relation(reader)
        elif kind in "IUD":
            changes.append(_change(kind, reader, relations))
        elif kind == "T":
            changes += _truncated(reader, relations)
        elif kind not in "OYM":
            raise UnreadableError(f"a message of kind {kind!r}")


def _relation(reader: _Reader) -> _Relation:
    schema, table = reader.word() or "pg_catalog", reader.word()
    reader.letter()
    columns: list[tuple[str, int, bool]] = []
    for _ in range(reader.take("H")):
        flags, name, type_oid, _ = reader.take("B"), reader.word(), reader.take("I"), reader.take("i")
        columns.append((name, type_oid, bool(flags & 1)))
    return _Relation(schema, table, tuple(columns))


def _of(oid: int, relations: dict[int, _Relation]) -> _Relation:
    if oid not in relations:
        raise UnreadableError(f"a change of relation {oid}, which was not described")
    return relations[oid]


def _change(kind: str, reader: _Reader, relations: dict[int, _Relation]) -> Change:
    relation = _of(reader.take("I"), relations)
    part = reader.letter()
    key: Row | None = None
    if part in "KO":
        key = _row(reader, relation, keys_only=part == "K")
        if kind == "D":
            return Change(Operation.DELETE, relation.schema, relation.table, None, key)
        part = reader.letter()
    if part != "N":
        raise UnreadableError(f"a row of kind {part!r}")
    operation = Operation.INSERT if kind == "I" else Operation.UPDATE
    return Change(operation, relation.schema, relation.table, _row(reader, relation), key)


def _row(reader: _Reader, relation: _Relation, *, keys_only: bool = False) -> Row:
    values: dict[str, str | None] = {}
    types: dict[str, int] = {}
    if reader.take("H") != len(relation.columns):
        raise UnreadableError(f"a row of {relation.table} has another number of columns")
    for name, type_oid, is_key in relation.columns:
        form = reader.letter()
        text = reader.text() if form == "t" else None
        if form not in "tnu":
            raise UnreadableError(f"a value of kind {form!r}")
        if form == "u" or (keys_only and not is_key):
            continue
        values[name], types[name] = text, type_oid
    return Row(text=values, types=types)


def _truncated(reader: _Reader, relations: dict[int, _Relation]) -> list[Change]:
    count, _ = reader.take("I"), reader.take("B")
    found = [_of(reader.take("I"), relations) for _ in range(count)]
    return [Change(Operation.TRUNCATE, one.schema, one.table, None) for one in found]
