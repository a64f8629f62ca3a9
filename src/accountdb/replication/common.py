"""What both engines read and write in the same way."""

from __future__ import annotations

import time
from contextlib import suppress

import psycopg
from psycopg import sql

from accountdb.errors import AccountdbError
from accountdb.pg.connect import Connection
from accountdb.replication.model import OWN_TABLES, Mode, Slot, Waiting
from accountdb.sql import block

FILE = "replication/common.sql"
_SLOT_WAIT_S = 15.0


def node(conn: Connection) -> tuple[str | None, Mode]:
    """The region's node name and mode; (None, pgsync) where it has none yet."""
    found = conn.execute("SELECT pg_catalog.to_regclass('accountdb.node') IS NOT NULL").fetchone()
    row = conn.execute(block(FILE, "node")).fetchone() if found and found[0] else None
    return (row[0], Mode(row[1])) if row else (None, Mode.PGSYNC)


def set_node(conn: Connection, name: str | None, mode: Mode) -> None:
    """Give this region its mode, and its node name where it has one already."""
    conn.execute(block(FILE, "set_node"), {"node": name, "mode": mode})


def set_node_setting(conn: Connection, name: str) -> bool:
    """Make pglogical.node_name a setting of this database. Only a superuser may: False otherwise."""
    try:
        with conn.transaction():
            conn.execute(
                sql.SQL("ALTER DATABASE {} SET pglogical.node_name = {}").format(
                    sql.Identifier(conn.info.dbname), sql.Literal(name)
                )
            )
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def node_setting(conn: Connection) -> str | None:
    """The node name by the setting pglogical.node_name, as this session began with it."""
    row = conn.execute("SELECT nullif(pg_catalog.current_setting('pglogical.node_name', true), '')").fetchone()
    return row[0] if row else None


def missing_own(conn: Connection) -> tuple[str, ...]:
    """Tables of accountdb's own that are replicated and are not here. A worker stops at a change of one that is not."""
    schemas, names = zip(*OWN_TABLES, strict=True)
    found = conn.execute(block(FILE, "missing_own"), {"schemas": list(schemas), "names": list(names)})
    return tuple(name for (name,) in found)


def pending(conn: Connection) -> tuple[str, ...]:
    """Names of the subscriptions that wait for their provider; none below the version that has a table for them."""
    found = conn.execute("SELECT pg_catalog.to_regclass('accountdb.pending_subscription') IS NOT NULL").fetchone()
    if not (found and found[0]):
        return ()
    return tuple(name for (name,) in conn.execute(block(FILE, "pending")))


def waiting(conn: Connection) -> tuple[Waiting, ...]:
    """The subscriptions that wait, each with the provider that it waits for."""
    return tuple(Waiting(*row) for row in conn.execute(block(FILE, "waiting")))


def identity(conn: Connection) -> str:
    """What tells one database from every other, whatever its address. A copy of a whole server bears the same."""
    row = conn.execute(block(FILE, "identity")).fetchone()
    assert row is not None
    return str(row[0])


def add_pending(conn: Connection, provider: Connection, name: str, mode: Mode) -> None:
    """Note that a subscription waits for ``provider``."""
    values = {"name": name, "mode": mode, "provider": identity(provider), "provider_node": node(provider)[0]}
    conn.execute(block(FILE, "add_pending"), values)


def drop_pending(conn: Connection, name: str | None = None) -> tuple[str, ...]:
    """Forget one waiting subscription, or all. Returns those that were forgotten."""
    return tuple(found for (found,) in conn.execute(block(FILE, "drop_pending"), {"name": name}))


def followers(conn: Connection, plugin: str) -> tuple[Slot, ...]:
    """Who follows this region with the engine whose output plugin is ``plugin``."""
    return tuple(Slot(*row) for row in conn.execute(block(FILE, "followers"), {"plugin": plugin}))


def end_slot(provider: Connection, slot: str, *, wait_s: float = _SLOT_WAIT_S) -> bool:
    """Drop a slot of this database, when its reader has gone. Whether there was one.

    Raises AccountdbError where somebody still reads from it after ``wait_s``.
    """
    deadline = time.monotonic() + wait_s
    found = False
    while (row := provider.execute(block(FILE, "slot_user"), {"slot": slot}).fetchone()) is not None:
        found = True
        # It may have been taken, or dropped, since it was looked at.
        with suppress(psycopg.errors.ObjectInUse, psycopg.errors.UndefinedObject):
            provider.execute(block(FILE, "end_slot"), {"slot": slot})
        if row[0] is None:
            continue
        if time.monotonic() > deadline:
            raise AccountdbError(
                f"slot {slot} on the provider is in use by process {row[0]}",
                hint="another subscriber may read from it; migratectl status shows who follows",
            )
        time.sleep(0.1)
    return found


def limit_statements(conn: Connection, wait: str) -> None:
    """No later statement of this session takes longer than ``wait`` (``60s``); ``0`` takes the limit back."""
    conn.execute(block(FILE, "statement_timeout"), {"wait": wait})
