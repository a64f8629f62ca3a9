"""Playing operations in one region, and remembering what the database acknowledged.

Every write that changes a row adds its own number to a list inside the row. So a change that was
acknowledged can be looked for in the end: in the row that stands, or in a copy that lost and was
kept. A change that was built on another one carries the other's number too.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from accountdb.errors import ConnectError
from accountdb.pg.connect import Connection, connect
from proof.history import History, Kind, Operation, Transaction

_CASES: tuple[Callable[[str], str], ...] = (str, str.upper, str.title)


@dataclass
class Acknowledged:
    """What one region promised: per row, the numbers of the writes that were committed."""

    writes: dict[tuple[str, UUID], set[int]] = field(default_factory=dict)

    def wrote(self, table: str, key: UUID, number: int) -> None:
        """Remember one committed write."""
        self.writes.setdefault((table, key), set()).add(number)


@dataclass(frozen=True)
class _Effect:
    table: str
    key: UUID
    number: int


class Player:
    """Writes in one region as its application does."""

    def __init__(self, region: str, dsn: str, history: History) -> None:
        """``dsn`` is an ordinary role's."""
        self.region = region
        self.acknowledged = Acknowledged()
        self.skew_minutes = 0
        self._dsn = dsn
        self._history = history
        self._rng = random.Random(f"{history.seed}/{region}")

    def play(self, transactions: tuple[Transaction, ...]) -> None:
        """Play them in order. What the database refuses, or does not answer, was not acknowledged."""
        slow: list[tuple[Connection, list[_Effect]]] = []
        try:
            with connect(self._dsn, application="accountdb proof") as conn:
                for transaction in transactions:
                    if transaction.slow:
                        self._begin_slow(transaction, slow)
                    else:
                        self._transaction(conn, transaction)
            for open_conn, effects in slow:
                self._commit(open_conn, effects)
        except (psycopg.Error, ConnectError):
            return  # the server went away: what was not committed by then was not acknowledged
        finally:
            for open_conn, _ in slow:
                open_conn.close()

    def _begin_slow(self, transaction: Transaction, slow: list[tuple[Connection, list[_Effect]]]) -> None:
        """A transaction that stays open over the others of its round. It does not wait for their locks."""
        conn = connect(self._dsn, application="accountdb proof")
        conn.execute("SELECT set_config('lock_timeout', '300ms', false)")
        effects = self._attempt(conn, transaction)
        if effects is None:
            conn.close()
        else:
            slow.append((conn, effects))

    def _transaction(self, conn: Connection, transaction: Transaction) -> None:
        effects = self._attempt(conn, transaction)
        if effects is not None:
            self._commit(conn, effects)

    def _attempt(self, conn: Connection, transaction: Transaction) -> list[_Effect] | None:
        """Run the operations; None when the database refused one and all were rolled back."""
        effects: list[_Effect] = []
        try:
            conn.execute("SELECT set_config('proof.skew', %s, true)", (f"{self.skew_minutes} minutes",))
            conn.execute("SELECT set_config('lock_timeout', '2s', true)")
            for operation in transaction.operations:
                effects += self._operation(conn, operation)
            if transaction.undone:
                conn.execute("SAVEPOINT undone")
                for operation in transaction.undone:
                    self._operation(conn, operation)
                conn.execute("ROLLBACK TO undone")
        except psycopg.OperationalError as error:
            if not isinstance(error, (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)):
                raise
            conn.rollback()
            return None
        except psycopg.DatabaseError:
            conn.rollback()
            return None
        return effects

    def _commit(self, conn: Connection, effects: list[_Effect]) -> None:
        conn.commit()
        for effect in effects:
            self.acknowledged.wrote(effect.table, effect.key, effect.number)

    def _operation(self, conn: Connection, operation: Operation) -> list[_Effect]:
        """One operation; what it wrote."""
        statement, table, key, values = self._statement(operation)
        if operation.kind is Kind.SWAP:
            return self._swap(conn, operation)
        if operation.kind is Kind.REINSERT:
            return self._reinsert(conn, operation)
        done = conn.execute(statement, values)
        return [_Effect(table, key, operation.number)] * (done.rowcount > 0 and operation.kind not in _DELETES)

    def _statement(self, operation: Operation) -> tuple[bytes, str, UUID, dict[str, object]]:
        table = _TABLES.get(operation.kind, "users")
        number = operation.row if table == "users" else operation.other
        key = self._history.key(table, number)
        case = _CASES[operation.number % len(_CASES)]
        values: dict[str, object] = {
            "key": key,
            "user": self._history.key("users", operation.row),
            "name": case(f"name{operation.value}"),
            "email": None if operation.value == 0 else case(f"mail{operation.value}@x.cn"),
            "value": f"{operation.value}",
            "number": Jsonb([operation.number]),
            "level": operation.number,
            # Not compressible, so that it goes out of line.
            "big": self._rng.randbytes(6000).hex() if operation.kind is Kind.BIG else "",
        }
        return _SQL[operation.kind], table, key, values

    def _swap(self, conn: Connection, operation: Operation) -> list[_Effect]:
        """Two users exchange their emails, with a step in between, as the unique index wants it."""
        a, b = self._history.key("users", operation.row), self._history.key("users", operation.row + 1)
        emails: dict[UUID, str | None] = dict(
            conn.execute("SELECT uuid, email FROM users WHERE uuid IN (%s, %s) FOR UPDATE", (a, b)).fetchall()
        )
        if len(emails) < 2:
            return []
        number = Jsonb([operation.number])
        for key, email in ((a, None), (b, emails[a]), (a, emails[b])):
            conn.execute("UPDATE users SET email = %s, groups = groups || %s WHERE uuid = %s", (email, number, key))
        return [_Effect("users", a, operation.number), _Effect("users", b, operation.number)]

    def _reinsert(self, conn: Connection, operation: Operation) -> list[_Effect]:
        """A user is deleted and comes again under the same uuid, as out of a backup."""
        _, table, key, values = self._statement(operation)
        if conn.execute("DELETE FROM users WHERE uuid = %s", (key,)).rowcount == 0:
            return []
        conn.execute(_SQL[Kind.REGISTER], {**values, "name": f"again{operation.number}", "email": None})
        return [_Effect(table, key, operation.number)]


_TABLES = {
    Kind.SESSION: "sessions",
    Kind.SIGN_OUT: "sessions",
    Kind.IDENTITY: "identities",
    Kind.RELINK: "identities",
    Kind.SUBSCRIBE: "subscriptions",
    Kind.BIG: "subscriptions",
    Kind.STATUS: "subscriptions",
    Kind.SETTING: "admin_settings",
}
_DELETES = (Kind.DELETE, Kind.SIGN_OUT)
_CLOCK = b"clock_timestamp() + current_setting('proof.skew')::interval"
_SQL = {
    Kind.REGISTER: b"""INSERT INTO users (uuid, username, email, password, level, groups, created_at, updated_at)
        VALUES (%(key)s, %(name)s, %(email)s, 'p', 1, %(number)s, CLOCK, CLOCK)""",
    Kind.EDIT: b"UPDATE users SET level = %(level)s, groups = groups || %(number)s WHERE uuid = %(key)s",
    Kind.RENAME: b"UPDATE users SET username = %(name)s, groups = groups || %(number)s WHERE uuid = %(key)s",
    Kind.EMAIL: b"UPDATE users SET email = %(email)s, groups = groups || %(number)s WHERE uuid = %(key)s",
    Kind.SWAP: b"",
    Kind.REINSERT: b"",
    Kind.DELETE: b"DELETE FROM users WHERE uuid = %(key)s",
    Kind.SESSION: b"""INSERT INTO sessions (uuid, token, expires_at, user_uuid, created_at, updated_at)
        VALUES (%(key)s, 'token' || %(value)s, now(), %(user)s, CLOCK, CLOCK)""",
    Kind.SIGN_OUT: b"DELETE FROM sessions WHERE uuid = %(key)s",
    Kind.IDENTITY: b"""INSERT INTO identities (uuid, provider, external_id, user_uuid, created_at, updated_at)
        VALUES (%(key)s, 'github', 'id' || %(value)s, %(user)s, CLOCK, CLOCK)""",
    Kind.RELINK: b"UPDATE identities SET external_id = 'id' || %(value)s WHERE uuid = %(key)s",
    Kind.SUBSCRIBE: b"""INSERT INTO subscriptions
            (uuid, user_uuid, provider, payment_method, external_id, meta, created_at, updated_at)
        VALUES (%(key)s, %(user)s, 'p', 'card', 's' || %(value)s, %(number)s, CLOCK, CLOCK)""",
    Kind.BIG: b"UPDATE subscriptions SET payment_qr = %(big)s, meta = meta || %(number)s WHERE uuid = %(key)s",
    Kind.STATUS: b"UPDATE subscriptions SET status = 's' || %(level)s, meta = meta || %(number)s WHERE uuid = %(key)s",
    Kind.SETTING: b"""INSERT INTO admin_settings (uuid, module_key, role, created_at, updated_at)
        VALUES (%(key)s, 'module' || %(value)s, 'admin', CLOCK, CLOCK)""",
}
_SQL = {kind: statement.replace(b"CLOCK", _CLOCK) for kind, statement in _SQL.items()}
# The tables and columns that carry the numbers of their writes.
NUMBERED = {"users": "groups", "subscriptions": "meta"}
