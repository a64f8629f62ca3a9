"""How each column is hashed, ordered and told, so that different never looks equal. Pure.

PostgreSQL's own hash functions follow a type's equality, which is coarser than its content: 1.0 and
1.00 hash alike, so do -0 and 0, 'A' and 'a' of citext, one day and 24 hours, {1,2} and [0:1]={1,2};
an enum hashes by the OID of its label. Such types are hashed by their text. Integers of 8 bytes, and
the times that are made of them, are folded to 4 before they are hashed, so that 0 and 4294967297 hash
alike: they are hashed by their bytes. What remains is hashed as it is: for those types equal means
the same, on every server and in every release so far, which ``probe`` proves before it is relied on.

Everything that goes into a row's hash is of a type of PostgreSQL's own: no OID of a region's own types
gets into the bytes of the row.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

from psycopg import sql

from accountdb.catalog.tables import Column
from accountdb.pg.names import doubled

_LENGTH = re.compile(r"\([0-9, -]+\)")
_EXACT = frozenset({"smallint", "integer", "oid", "date", "boolean", "uuid", "bytea", '"char"'})
_TEXTS = frozenset({"text", "character varying", "name"})
_PADDED = frozenset({"character", "bpchar"})
# Folded to 4 bytes by their hash functions: hashed by the bytes that another function gives.
_FOLDED = {
    "bigint": "int8send",
    "time without time zone": "time_send",
    "timestamp without time zone": "timestamp_send",
    "timestamp with time zone": "timestamptz_send",
}
# The same of types that have no text to be hashed by.
_SENT = {
    # A cast to text would drop trailing spaces.
    **dict.fromkeys(_PADDED, "bpcharsend"),
    # Its text depends on lc_monetary.
    "money": "cash_send",
}
_ORDERED = frozenset(
    {"smallint", "integer", "bigint", "oid", "uuid", "boolean", "bytea", "numeric"}
    | {"date", "time without time zone", "timestamp without time zone", "timestamp with time zone"}
)

_C = sql.SQL(' COLLATE pg_catalog."C"')


class HashKind(StrEnum):
    """How a row becomes 64 bits."""

    RECORD = "record"
    """PostgreSQL's own record hash: fast."""
    SHA256 = "sha256"
    """The first 8 bytes of the SHA-256 of the row's bytes as a client gets them: the same on any two servers."""


def plain_type(column: Column) -> str:
    """The column's type without domain and length: ``character varying`` for a domain over varchar(20)."""
    return _LENGTH.sub("", column.base_type)


def value(column: Column, kind: HashKind) -> sql.Composable:
    """What of ``t.column`` goes into the row's hash: equal in two regions only for the same content."""
    name, type_ = _name(column), plain_type(column)
    if type_ in _EXACT or (type_ in _FOLDED and kind is HashKind.SHA256):
        # The type itself, where the column has a domain over it.
        return sql.SQL("{}::{}").format(name, sql.SQL(type_))
    if type_ in _TEXTS:
        return sql.SQL("{}::{}").format(name, sql.SQL(type_)) + _C
    if sent := (_FOLDED | _SENT).get(type_):
        return sql.SQL("pg_catalog.{}({})").format(sql.Identifier(sent), name)
    return as_text(column) + _C


def as_text(column: Column) -> sql.Composable:
    """``t.column`` as text, from which its type reads the same value again; NULL stays NULL."""
    name, type_ = _name(column), plain_type(column)
    if type_ in _PADDED:
        # format() takes the output function, where the cast would drop trailing spaces.
        return sql.SQL("CASE WHEN {0} IS NOT NULL THEN pg_catalog.format('%%s', {0}) END").format(name)
    if "." in type_ and not type_.endswith("[]"):
        # Not by a cast, which the type's owner may have defined to drop something.
        return sql.SQL("CASE WHEN {0} IS DISTINCT FROM NULL THEN pg_catalog.format('%%s', {0}) END").format(name)
    return sql.SQL("{}::pg_catalog.text").format(name)


def row_hash(columns: Sequence[Column], key: Sequence[Column], kind: HashKind) -> sql.Composable:
    """The hash of row ``t``, a bigint. ``columns`` must come in the same order in both regions."""
    row = _row(columns, kind)
    if kind is HashKind.SHA256:
        start = sql.SQL("pg_catalog.substr(pg_catalog.sha256(pg_catalog.record_send({})), 1, 8)").format(row)
        return sql.SQL("('x' || pg_catalog.encode({}, 'hex'))::bit(64)::bigint").format(start)
    # The record hash is a sum of its columns' hashes: two rows that swap a value would keep most bits of
    # the XOR of both, if each row's columns were not hashed from a start of its own.
    return sql.SQL("pg_catalog.hash_record_extended({}, {})").format(row, _seed(key))


def _seed(key: Sequence[Column]) -> sql.Composable:
    if [plain_type(column) for column in key] == ["uuid"]:
        return sql.SQL("pg_catalog.uuid_hash_extended({}, 0)").format(_name(key[0]))
    return sql.SQL("pg_catalog.hash_record_extended({}, 0)").format(_row(key, HashKind.RECORD))


def _row(columns: Sequence[Column], kind: HashKind) -> sql.Composable:
    return sql.SQL("ROW({})").format(sql.SQL(", ").join(value(column, kind) for column in columns))


def key(column: Column) -> sql.Composable:
    """``t.column`` as a part of the key by which rows are ordered: alike in both regions."""
    if plain_type(column) in _ORDERED:
        return _name(column)
    return as_text(column) + _C


def key_text(column: Column) -> sql.Composable:
    """``key`` as text: the same text for the same key, also where a numeric has another scale."""
    found = key(column)
    if plain_type(column) == "numeric":
        found = sql.SQL("pg_catalog.trim_scale({})").format(found)
    return found + sql.SQL("::pg_catalog.text")


def key_type(column: Column) -> str:
    """The type of ``key``."""
    return plain_type(column) if plain_type(column) in _ORDERED else "text"


def indexed(column: Column) -> bool:
    """Whether the primary key's index is sure to serve a range of ``key``."""
    return plain_type(column) in _ORDERED


def key_value(column: Column, text: sql.Composable) -> sql.Composable:
    """``text`` (an SQL expression) as a value that compares with ``key``."""
    if key_type(column) == "text":
        return text + _C
    return sql.SQL("{}::{}").format(text, sql.SQL(key_type(column)))


def same_key(column: Column, text: sql.Composable) -> list[sql.Composable]:
    """What holds where ``t.column`` is ``text`` (an SQL expression), by the primary key's index where it serves."""
    equal = sql.SQL("{} = {}")
    found: list[sql.Composable] = []
    if "." not in column.base_type:
        # By the type below a domain, whose checks are nobody's business here. Of a type that is not
        # PostgreSQL's own nobody knows in which schema its operator is.
        found.append(equal.format(_name(column), sql.SQL("{}::{}").format(text, sql.SQL(column.base_type))))
    if not indexed(column):
        # The type's equality may be coarser than its text.
        found.append(equal.format(key(column), key_value(column, text)))
    return found


def _name(column: Column) -> sql.Composable:
    return sql.SQL("t.{}").format(doubled(sql.Identifier(column.name)))
