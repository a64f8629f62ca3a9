"""The transaction that a stream stands at, read from the provider's slot without taking it off."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psycopg
from psycopg import sql

from accountdb.errors import AccountdbError, MissingRightError
from accountdb.pg.connect import Connection
from accountdb.replication.model import SET_NAME, Mode
from accountdb.setup.unblocking import pglogical_json, pgoutput
from accountdb.setup.unblocking.model import Transaction, position
from accountdb.setup.unblocking.pgoutput import UnreadableError
from accountdb.sql import block

FILE = "replication/unblock.sql"
_WAIT_S = 15.0
_MOST = 1_000_000
_OPTIONS = {
    Mode.NATIVE: ("proto_version", "1", "publication_names", f'"{SET_NAME}"', "origin", "none"),
    Mode.PGLOGICAL: (
        *("startup_params_format", "1", "min_proto_version", "1", "max_proto_version", "1"),
        *("proto_format", "json", "expected_encoding", "UTF8"),
        *("pglogical.replication_set_names", SET_NAME, "pglogical.forward_origins", ""),
    ),
}
_READERS = {Mode.NATIVE: pgoutput.transactions, Mode.PGLOGICAL: pglogical_json.transactions}


@dataclass(frozen=True)
class SlotState:
    """A slot on the provider. ``pid`` reads from it."""

    lost: bool
    pid: int | None
    plugin: str


def slot_state(provider: Connection, slot: str) -> SlotState | None:
    """The slot, None where there is none."""
    row = provider.execute(block(FILE, "slot_state"), {"slot": slot}).fetchone()
    return SlotState(*row) if row else None


def first_after(provider: Connection, mode: Mode, slot: str, applied: str) -> Transaction | None:
    """The first transaction of ``slot`` that ends after ``applied``; None where nothing waits.

    ``provider`` is prepared. The slot begins at what its reader has confirmed, which may be less than what it has
    applied. Raises AccountdbError where its reader does not let go of it, or it cannot be read.
    """
    most = 1
    while True:
        messages = _peek(provider, mode, slot, most)
        try:
            for transaction in _READERS[mode](messages):
                # pglogical sends those too in which nothing of its set was changed.
                if transaction.changes and position(transaction.end) > position(applied):
                    return transaction
        except UnreadableError as error:
            raise AccountdbError(
                f"what slot {slot} holds cannot be read: {error}",
                hint="please report it with the versions of the servers",
            ) from None
        # Whole transactions are sent, however small the number: fewer messages than asked for means the end.
        if len(messages) < most or most >= _MOST:
            return None
        most *= 10


def _peek(provider: Connection, mode: Mode, slot: str, most: int) -> list[bytes]:
    deadline = time.monotonic() + _WAIT_S
    asked = {"slot": slot, "most": most, "options": list(_OPTIONS[mode])}
    while True:
        try:
            return [bytes(data) for (data,) in provider.execute(block(FILE, "peek"), asked)]
        except psycopg.errors.ObjectInUse:
            # A worker that fails has it for a moment at each of its tries.
            if time.monotonic() > deadline:
                raise AccountdbError(
                    f"slot {slot} is in use: its reader is connected and may be at work",
                    hint="migratectl status; a reader that hangs ends with migratectl region pause on its side",
                ) from None
            time.sleep(0.05)
        except psycopg.errors.InsufficientPrivilege as error:
            role = sql.Identifier(provider.info.user).as_string()
            raise MissingRightError(
                f"role {provider.info.user} may not read slots on the provider",
                hint=f"an administrator runs there: ALTER ROLE {role} REPLICATION",
            ) from error
