"""Reading a structure from the catalog."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import psycopg
from psycopg.pq import TransactionStatus

from accountdb.drift.kinds import KINDS
from accountdb.drift.normal import settled
from accountdb.drift.rules import reason
from accountdb.drift.structure import SCHEMAS, Attribute, Definition, Identity, LeftOut, Structure, identity
from accountdb.errors import AccountdbError
from accountdb.pg.connect import Connection, told
from accountdb.sql import block

_ATTEMPTS = 10


def read_structure(conn: Connection, schemas: Sequence[str] = SCHEMAS) -> Structure:
    """The structure of ``schemas`` in the database of ``conn``.

    On an idle connection: one REPEATABLE READ READ ONLY transaction. Inside a transaction of the
    caller: what that transaction sees, its own uncommitted changes included; no setting of the
    caller is left changed. Any role may read; nothing is locked beyond the catalog.

    ``pg_get_*def`` look at the newest catalog, not at the snapshot: an object that another session
    drops meanwhile counts as gone, or the reading is begun again. Raises psycopg.Error, and
    AccountdbError when the structure does not stand still.
    """
    own = conn.info.transaction_status == TransactionStatus.IDLE
    for _ in range(_ATTEMPTS):
        try:
            return _read(conn, schemas, own=own)
        except psycopg.errors.InternalError_ as error:  # "cache lookup failed": dropped between two looks
            last = told(error).message
            time.sleep(random.uniform(0.02, 0.2))
    raise AccountdbError(
        f"the structure could not be read in {_ATTEMPTS} attempts: {last}",
        hint="try again when no migration is running",
    )


def _read(conn: Connection, schemas: Sequence[str], *, own: bool) -> Structure:
    objects: dict[Identity, Definition] = {}
    left_out: list[LeftOut] = []
    # Rolled back although nothing was written: inside a caller's transaction that undoes the settings.
    with conn.transaction(force_rollback=True):
        if own:
            conn.execute(block("drift/session.sql", "own_snapshot").encode())
        conn.execute(block("drift/session.sql", "pin").encode())
        for kind in KINDS:
            query = block(f"drift/{kind}.sql", "read").encode()
            for schema, owner, name, attributes in conn.execute(query, {"schemas": list(schemas)}):
                found = identity(kind, schema, owner, name)
                definition = _definition(kind, attributes)
                if definition is None:
                    continue
                why = reason(found, definition)
                if why is None:
                    objects[found] = definition
                else:
                    left_out.append(LeftOut(found, why))
    return Structure(objects, tuple(sorted(left_out, key=lambda left: left.identity)))


def _definition(kind: str, attributes: dict[str, Attribute]) -> Definition | None:
    """The attributes that have a value; None for an object whose definition is gone meanwhile."""
    if attributes.get("definition", "") is None:
        return None
    return {name: settled(kind, value) for name, value in attributes.items() if value is not None}
