"""Reading a structure from the catalog."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import psycopg
from psycopg.pq import TransactionStatus

from accountdb.drift.kinds import CATALOGS, KINDS
from accountdb.drift.normal import settled
from accountdb.drift.rules import reason
from accountdb.drift.structure import (
    SCHEMAS,
    Attribute,
    Definition,
    Identity,
    LeftOut,
    Structure,
    grant_attribute,
    identity,
)
from accountdb.errors import AccountdbError
from accountdb.pg.connect import Connection, told
from accountdb.pg.session import pipelined
from accountdb.sql import block, blocks

_Attached: TypeAlias = dict[tuple[str, int, int], dict[str, Attribute]]

_ATTEMPTS = 10
_SESSION = "drift/session.sql"
_ATTACHED = "drift/attached.sql"
_SETS = "drift/replication_set.sql"
_BEFORE = "read_before_"
_PGLOGICAL_KINDS = ("replication_set", "subscription")
_NOT_ALLOWED = "this role may not read the tables of pglogical"


def read_structure(conn: Connection, schemas: Sequence[str] = SCHEMAS) -> Structure:
    """The structure of ``schemas`` in the database of ``conn``.

    On an idle connection: one REPEATABLE READ READ ONLY transaction. Inside a transaction of the
    caller: what that transaction sees, its own uncommitted changes included; no setting of the
    caller is left changed. Any role may read; nothing is locked beyond the catalog.

    ``pg_get_*def`` look at the newest catalog, not at the snapshot: an object that another session
    drops meanwhile counts as gone, or the reading is begun again. Raises psycopg.Error, and
    AccountdbError when the structure does not stand still or is locked for 5 s.
    """
    own = conn.info.transaction_status == TransactionStatus.IDLE
    for _ in range(_ATTEMPTS):
        try:
            return _read(conn, schemas, own=own)
        except psycopg.errors.InternalError_ as error:  # "cache lookup failed": dropped between two looks
            last = told(error).message
            time.sleep(random.uniform(0.02, 0.2))
        except psycopg.errors.LockNotAvailable:
            raise AccountdbError(
                "the structure could not be read in 5 s: another session has locked a table that a view or rule reads",
                hint="try again when no migration is running",
            ) from None
    raise AccountdbError(
        f"the structure could not be read in {_ATTEMPTS} attempts: {last}",
        hint="try again when no migration is running",
    )


def _read(conn: Connection, schemas: Sequence[str], *, own: bool) -> Structure:
    given = {"schemas": list(schemas)}
    # Rolled back although nothing was written: inside a caller's transaction that undoes the settings.
    with conn.transaction(force_rollback=True):
        with pipelined(conn):
            if own:
                conn.execute(block(_SESSION, "own_snapshot").encode())
            conn.execute(block(_SESSION, "pin").encode())
            asked = conn.execute(block(_SETS, "may_read").encode())
        may_read = asked.fetchone()
        with pipelined(conn):
            found = [(kind, conn.execute(query.encode(), given)) for kind, query in _queries(conn, may_read)]
            comments = conn.execute(block(_ATTACHED, "comments").encode())
            grants = conn.execute(block(_ATTACHED, "grants").encode(), given)
        attached = _attached(comments.fetchall(), grants.fetchall())
        read = ((kind, row) for kind, cursor in found for row in cursor)
        objects, left_out = _sorted_out(read, attached)
    unread = dict.fromkeys(_PGLOGICAL_KINDS, _NOT_ALLOWED) if may_read and not may_read[0] else {}
    return Structure(objects, left_out, unread, conn.info.server_version // 10000)


def _queries(conn: Connection, may_read: tuple[Any, ...] | None) -> Iterator[tuple[str, str]]:
    """Each kind with a query for its objects, in the words of this server's version."""
    for kind in KINDS:
        if kind == "replication_set":
            continue
        fitting = [
            (int(name.removeprefix(_BEFORE)), text)
            for name, text in blocks(f"drift/{kind}.sql").items()
            if name.startswith(_BEFORE) and conn.info.server_version < int(name.removeprefix(_BEFORE))
        ]
        yield kind, min(fitting)[1] if fitting else block(f"drift/{kind}.sql", "read")
    if may_read and may_read[0]:
        yield "replication_set", block(_SETS, "read")
        yield "subscription", block(_SETS, "subscriptions")


def _attached(comments: list[tuple[Any, ...]], grants: list[tuple[Any, ...]]) -> _Attached:
    """Comments and grants by what they hang on."""
    found: _Attached = defaultdict(dict)
    for catalog, oid, part, text in comments:
        found[catalog, oid, part]["comment"] = text
    for catalog, oid, part, role, privileges in grants:
        found[catalog, oid, part][grant_attribute(role)] = privileges
    return found


def _sorted_out(
    read: Iterable[tuple[str, tuple[Any, ...]]], attached: _Attached
) -> tuple[dict[Identity, Definition], tuple[LeftOut, ...]]:
    """What is compared, and what a rule leaves out."""
    objects: dict[Identity, Definition] = {}
    left_out: list[LeftOut] = []
    for kind, (schema, owner, name, attributes, oid, part) in read:
        found = identity(kind, schema, owner, name)
        definition = _definition(kind, attributes)
        if definition is None:
            continue
        definition |= attached.get((CATALOGS[kind], oid, part), {})
        why = reason(found, definition)
        if why is None:
            objects[found] = definition
        else:
            left_out.append(LeftOut(found, why))
    return objects, tuple(sorted(left_out, key=lambda left: left.identity))


def _definition(kind: str, attributes: dict[str, Attribute]) -> dict[str, Attribute] | None:
    """The attributes that have a value; None for an object whose definition is gone meanwhile."""
    if attributes.get("definition", "") is None:
        return None
    return {name: settled(kind, value) for name, value in attributes.items() if value is not None}
