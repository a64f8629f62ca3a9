"""Invalid indexes: what a build that failed, was broken off or was cut short has left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from accountdb.pg.connect import Connection
from accountdb.setup.cleaning.model import FILE, Action, Leftover, composed, dotted, owner_runs
from accountdb.sql import block

# Whose indexes are removed: accountdb's tables are there. The last is where large values of theirs are kept.
_SCHEMAS = ("public", "accountdb", "pg_toast")


@dataclass(frozen=True)
class InvalidIndex:
    """One invalid index as the catalog has it. ``busy`` is the session that works on its table, 0 a prepared
    transaction, None nobody; ``constraint`` is a constraint that needs the index (name, schema, table, kind).
    """

    oid: int
    schema: str
    name: str
    table_schema: str
    table: str
    partitioned: bool
    attached: bool
    unique: bool
    replica_identity: bool
    constraint: tuple[str, str, str, str] | None
    extension: bool
    may: bool
    owner: str | None
    busy: int | None


def read(conn: Connection) -> tuple[InvalidIndex, ...]:
    """The invalid indexes of this database."""
    return tuple(_index(row) for row in conn.execute(block(FILE, "indexes")))


def _index(row: Sequence[Any]) -> InvalidIndex:
    oid, schema, name, table_schema, table, kind, attached, unique, identity, *key, extension, may, owner, busy = row
    constraint = (key[0], key[1], key[2], key[3]) if key[0] is not None else None
    return InvalidIndex(
        oid=oid,
        schema=schema,
        name=name,
        table_schema=table_schema,
        table=table,
        partitioned=kind == "I",
        attached=attached,
        unique=unique,
        replica_identity=identity,
        constraint=constraint,
        extension=extension,
        may=may,
        owner=owner,
        busy=busy,
    )


def plan(region: str, indexes: Iterable[InvalidIndex]) -> tuple[Leftover, ...]:
    """What becomes of each. Pure."""
    return tuple(_decide(region, index) for index in indexes)


def _decide(region: str, index: InvalidIndex) -> Leftover:
    action, why, note = _verdict(index)
    return Leftover(
        region,
        "invalid index",
        f"{dotted(index.schema, index.name)} of {dotted(index.table_schema, index.table)}",
        action,
        _statement(index, action),
        why,
        note,
        state=(index.oid,),
    )


def _verdict(index: InvalidIndex) -> tuple[Action, str, str]:
    if index.partitioned:
        why = "it waits for its partitions' indexes, no query uses it"
        return Action.KEEP, why, "ALTER INDEX ... ATTACH PARTITION completes it"
    if index.attached:
        return Action.KEEP, "it is a part of a partitioned index, no query uses it", "this rebuilds it"
    if index.busy is not None:
        who = f"session {index.busy}" if index.busy else "a prepared transaction"
        return Action.KEEP, f"{who} works on its table and may be building it", "look again when that has ended"
    why = "its build failed or was broken off, no query uses it"
    if index.unique:
        why += ", but it may still refuse rows"
    if index.extension:
        return Action.KEEP, why, "it belongs to an extension"
    if index.constraint is not None:
        name, _, _, kind = index.constraint
        what = "foreign key" if kind == "f" else "constraint"
        return Action.BY_HAND, why, f"{what} {dotted(name)} needs it; REINDEX INDEX CONCURRENTLY mends it instead"
    if index.replica_identity:
        return Action.BY_HAND, why, "it is the replica identity of its table; this mends it"
    if index.schema not in _SCHEMAS:
        return Action.KEEP, why, f"schema {dotted(index.schema)} is not accountdb's"
    if not index.may:
        return Action.BY_HAND, why, owner_runs(index.owner)
    return Action.REMOVE, why, ""


def _statement(index: InvalidIndex, action: Action) -> str:
    name = sql.Identifier(index.schema, index.name)
    if index.partitioned or (action is Action.KEEP and index.busy is not None and not index.attached):
        return ""
    if index.constraint is not None and action is Action.BY_HAND:
        constraint, schema, table, _ = index.constraint
        return composed("ALTER TABLE {} DROP CONSTRAINT {}", sql.Identifier(schema, table), sql.Identifier(constraint))
    if index.attached or index.replica_identity:
        return composed("REINDEX INDEX CONCURRENTLY {}", name)
    return composed("DROP INDEX CONCURRENTLY {}", name)
