"""Unique claims: which row keeps a value that two regions gave away, and what the other one does.

The first registration wins: the row with the smaller ``(created_at, uuid)``, two fields that never
change. The loser releases the value and stays, or is parked where it means nothing without it.
The same rules in SQL: ``accountdb.claim_wins`` and ``accountdb.released_value``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from psycopg import sql

from accountdb.catalog.tables import Column, Table, UniqueIndex

_TEXT = re.compile(r"^(?:text|character varying|character|(?:[^.]+\.)?citext)(?:\((?P<length>\d+)\))?$")
_OVERRIDE = re.compile(r"accountdb: (park|release(?: (?P<column>.+))?)$")


class Settlement(StrEnum):
    """What the loser of a claim does."""

    EMPTY = "empty"
    SUFFIX = "suffix"
    PARK = "park"


@dataclass(frozen=True)
class Claim:
    """The policy of one unique index. ``column`` is what the loser releases; None when it is parked."""

    index: UniqueIndex
    settlement: Settlement
    column: Column | None

    @property
    def max_length(self) -> int | None:
        """How many characters ``column`` takes; None for no limit."""
        match = _TEXT.match(self.column.base_type) if self.column else None
        return int(match["length"]) if match and match["length"] else None


@dataclass(frozen=True)
class Claimant:
    """What decides between two rows that claim one value."""

    created_at: datetime
    uuid: UUID

    @property
    def rank(self) -> tuple[datetime, int]:
        """The comparable form; PostgreSQL orders uuid by its bytes too."""
        return self.created_at, self.uuid.int


def keeps(a: Claimant, b: Claimant) -> bool:
    """Whether row ``a`` keeps the value against row ``b``."""
    return a.rank < b.rank


def released_value(value: str, uuid: UUID, max_length: int | None = None, *, whole: bool = False) -> str:
    """What the loser of a text value holds instead, within ``max_length`` characters."""
    suffix = "~" + (str(uuid) if whole else str(uuid)[:8])
    limit = len(value) + 37 if max_length is None else max_length
    return value[: max(limit - len(suffix), 0)] + suffix


def claims(table: Table) -> tuple[Claim, ...]:
    """The policy of each unique index of ``table``, in the order of their names.

    The default comes from the catalog: a row that something refers to releases, another one is
    parked. A comment on the index overrides it: ``accountdb: park``, ``accountdb: release`` or
    ``accountdb: release COLUMN``.
    """
    return tuple(_claim(table, index) for index in sorted(table.unique_indexes, key=lambda index: index.name))


def same_claim(index: UniqueIndex, here: str) -> sql.Composed:
    """That a row of the index's table holds the same key as the row ``here``: by its own operators, so that it serves.

    The table's row is the one whose columns stand without a name before them.
    """
    conditions: list[sql.Composable] = []
    for key, (schema, operator) in zip(index.keys, index.operators, strict=True):
        theirs, ours = sql.SQL("({})").format(sql.SQL(key)), _of(here, index, key)
        equal = sql.SQL("{} OPERATOR({}.{}) {}").format(theirs, sql.Identifier(schema), sql.SQL(operator), ours)
        if index.nulls_equal:
            equal = sql.SQL("({} OR ({} IS NULL AND {} IS NULL))").format(equal, theirs, ours)
        conditions.append(equal)
    if index.predicate is not None:
        conditions += [sql.SQL("({})").format(sql.SQL(index.predicate)), _of(here, index, index.predicate)]
    return sql.SQL(" AND ").join(conditions)


def _of(row: str, index: UniqueIndex, expression: str) -> sql.Composed:
    """An expression of the index, over ``row``."""
    column = sql.SQL("{0}.{1} AS {1}")
    columns = sql.SQL(", ").join(column.format(sql.SQL(row), sql.Identifier(name)) for name in index.columns)
    return sql.SQL("(SELECT {} FROM (SELECT {}) AS claimed)").format(sql.SQL(expression), columns)


def _claim(table: Table, index: UniqueIndex) -> Claim:
    override = _OVERRIDE.search(index.comment or "")
    parks = override.group(1) == "park" if override else not table.referenced_by
    if not parks:
        named = override.group("column") if override else None
        for column in _releasable(table, index):
            if named in (None, column.name):
                return Claim(index, Settlement.EMPTY if _may_be_empty(column, index) else Settlement.SUFFIX, column)
    # Nothing that could be released without breaking something else.
    return Claim(index, Settlement.PARK, None)


def _releasable(table: Table, index: UniqueIndex) -> list[Column]:
    """The columns that a loser can give up, those that can be empty first."""
    fixed = {"uuid", "created_at", *(name for reference in table.references for name in reference.child_columns)}
    columns = [c for c in table.columns if _in_key(c.name, index) and c.name not in fixed and not c.generated]
    fit = [c for c in columns if _may_be_empty(c, index) or _TEXT.match(c.base_type)]
    return sorted(fit, key=lambda c: not _may_be_empty(c, index))


def _may_be_empty(column: Column, index: UniqueIndex) -> bool:
    return not column.not_null and not index.nulls_equal


def _in_key(name: str, index: UniqueIndex) -> bool:
    """Whether the keys are made of a column. One that stands in the predicate alone claims nothing."""
    quoted = re.escape(sql.Identifier(name).as_string())
    plain = rf"(?<![\w\".]){re.escape(name)}(?![\w\".(])"
    return name in index.columns and any(re.search(rf"{quoted}|{plain}", key) for key in index.keys)
