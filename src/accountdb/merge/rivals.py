"""Unique values that staged rows bring and other rows hold: who holds them, and how one of those gives them up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import psycopg
from psycopg import sql

from accountdb.catalog.tables import Table
from accountdb.contract.decide import Copy
from accountdb.merge.writer import FILE, judged, stage_of
from accountdb.pg.connect import Connection
from accountdb.pg.names import doubled
from accountdb.sql import block
from accountdb.transfer.unique import free_value, free_values, same_claim, with_generated

# What tells a row and its life.
_KEEP = ("uuid", "created_at")


@dataclass(frozen=True)
class Claim:
    """The staged row ``by`` brings a value of a unique index that row ``holder`` has here."""

    by: UUID
    holder: UUID
    index: str


def claimed(conn: Connection, table: Table) -> set[Claim]:
    """The claims of all staged rows."""
    found: set[Claim] = set()
    for index in table.unique_indexes:
        statement = sql.SQL(block(FILE, "rivals")).format(
            table=doubled(table.identifier),
            staged=with_generated(table, stage_of(table)),
            match=doubled(same_claim(index)),
        )
        found |= {Claim(by, holder, index.name) for by, holder in conn.execute(statement, {"unused": None})}
    return found


def vacate(conn: Connection, table: Table, stamps: Mapping[str, Sequence[str]], *, lowest: bool = False) -> set[UUID]:
    """Have rows that are as ``stamps`` say give up their unique values, for as long as it takes to write others.

    ``stamps`` are columns: keys, versions, updated, origins, as text. ``lowest``: they also come last in
    the row order, so that whatever is brought replaces them. Returns those that did; none where a
    constraint is against it.
    """
    changes = free_values(table, _KEEP)
    if lowest:
        changes["version"] = sql.SQL("-1")
    if not stamps["keys"] or not changes:
        return set()
    statement = sql.SQL(block(FILE, "vacate")).format(
        table=doubled(table.identifier),
        changes=sql.SQL(", ").join(
            doubled(sql.SQL("{} = {}").format(sql.Identifier(name), change)) for name, change in changes.items()
        ),
    )
    try:
        with conn.transaction(), judged(conn):
            return {uuid for (uuid,) in conn.execute(statement, stamps)}
    except (psycopg.IntegrityError, psycopg.DataError):
        if len(stamps["keys"]) == 1:
            return set()
    singles = ({name: [values[n]] for name, values in stamps.items()} for n in range(len(stamps["keys"])))
    return {uuid for single in singles for uuid in vacate(conn, table, single, lowest=lowest)}


def stamps_of(copies: Sequence[Copy]) -> dict[str, list[str]]:
    """Copies as ``vacate`` takes them."""
    return {
        "keys": [str(copy.uuid) for copy in copies],
        "versions": [str(copy.stamp.version) for copy in copies],
        "updated": [copy.stamp.updated_at.isoformat() for copy in copies],
        "origins": [copy.stamp.origin_node for copy in copies],
    }


def kept(table: Table) -> frozenset[str]:
    """The unique indexes whose values ``vacate`` cannot free."""
    return frozenset(index.name for index in table.unique_indexes if free_value(table, index, _KEEP) is None)
