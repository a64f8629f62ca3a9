"""Native logical replication: a publication, a slot on the provider, a subscription here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import psycopg
from psycopg import sql

from accountdb.catalog.tables import Table
from accountdb.pg.connect import Connection, one_line
from accountdb.pg.dsn import with_params
from accountdb.replication import common
from accountdb.replication.model import OWN_TABLES, SET_NAME, JoinRequest, Mode, Outcome, Standing, State, Subscription
from accountdb.sql import block

FILE = "replication/native.sql"
_PUBLICATION = sql.Identifier(SET_NAME)
_LONGEST_SLOT = 63


class Native:
    """The engine of mode ``native``."""

    mode = Mode.NATIVE

    def standing(self, conn: Connection) -> Standing:
        """See Engine. ``received_lsn`` is empty until the provider has been heard."""
        node, mode = common.node(conn)
        rows = conn.execute(block(FILE, "subscriptions"), {"publication": SET_NAME})
        found = [subscription(*row) for row in rows]
        names = {one.name for one in found}
        found += [Subscription(name, State.PENDING, None) for name in common.pending(conn) if name not in names]
        return Standing(node, mode, tuple(found), common.followers(conn, "pgoutput"))

    def short_tables(self, conn: Connection) -> tuple[str, ...]:
        """See Engine."""
        return tuple(name for (name,) in conn.execute(block(FILE, "short_tables"), {"name": SET_NAME}))

    def obstacle(self, conn: Connection, provider: Connection, request: JoinRequest) -> str | None:
        """See Engine. A slot that a crashed join left behind is none: it is taken over."""
        if any(s.name == request.subscription and s.slot for s in self.standing(conn).subscriptions):
            return None
        slot = slot_name(request.node, request.subscription)
        row = provider.execute(block(FILE, "slot"), {"slot": slot}).fetchone()
        if row is None or row == ("pgoutput", False, True):
            return None
        whose = "of another database" if not row[2] else "of another subscriber"
        return f"replication slot {slot} on the provider is {whose}; choose another --subscription name"

    def offer(self, conn: Connection, request: JoinRequest, tables: Sequence[Table]) -> None:
        """See Engine."""
        with conn.transaction():
            common.set_node(conn, request.node, self.mode)
            if not self.offers(conn):
                conn.execute(
                    sql.SQL("CREATE PUBLICATION {} WITH (publish = 'insert, update, delete')").format(_PUBLICATION)
                )
            published = self.offered(conn)
            wanted = [(table.schema, table.name) for table in tables] + list(OWN_TABLES)
            missing = [sql.Identifier(*name) for name in wanted if name not in published]
            if missing:
                conn.execute(
                    sql.SQL("ALTER PUBLICATION {} ADD TABLE {}").format(_PUBLICATION, sql.SQL(", ").join(missing))
                )
        common.set_node_setting(conn, request.node)

    def offers(self, provider: Connection) -> bool:
        """See Engine."""
        row = provider.execute(block(FILE, "publication"), {"name": SET_NAME}).fetchone()
        return bool(row and row[0])

    def subscribe(self, conn: Connection, provider: Connection, request: JoinRequest) -> Outcome:
        """See Engine.

        The slot is made first and by itself, so a crash before the subscription leaves a slot that
        the next run takes over: what was written in between is not lost.
        """
        if any(s.name == request.subscription and s.slot for s in self.standing(conn).subscriptions):
            common.drop_pending(conn, request.subscription)
            return self._refresh(conn, request)
        slot = slot_name(request.node, request.subscription)
        standing = provider.execute(block(FILE, "slot"), {"slot": slot}).fetchone()
        if standing is None:
            provider.execute(block(FILE, "create_slot"), {"slot": slot})
        try:
            with conn.transaction():
                conn.execute(_create(request, slot))
                common.drop_pending(conn, request.subscription)
        except psycopg.Error:
            if standing is None:
                provider.execute(block(FILE, "drop_slot"), {"slot": slot})
            raise
        return Outcome.CREATED

    def _refresh(self, conn: Connection, request: JoinRequest) -> Outcome:
        wanted = _connection(request)
        try:
            row = conn.execute(block(FILE, "connection"), {"name": request.subscription}).fetchone()
        except psycopg.errors.InsufficientPrivilege:
            row = None  # only a superuser reads it back: setting it again is harmless
        outcome = Outcome.UNCHANGED
        if row is None or row[0] != wanted:
            self.redirect(conn, request.subscription, wanted)
            outcome = Outcome.UPDATED
        self.refresh(conn, request.subscription)
        return outcome

    def offered(self, conn: Connection) -> frozenset[tuple[str, str]]:
        """See Engine."""
        rows = conn.execute(block(FILE, "published"), {"name": SET_NAME}).fetchall()
        return frozenset((schema, table) for schema, table in rows)

    def add(self, conn: Connection, table: Table) -> None:
        """See Engine."""
        conn.execute(sql.SQL("ALTER PUBLICATION {} ADD TABLE {}").format(_PUBLICATION, table.identifier))

    def take_back(self, conn: Connection, table: Table) -> None:
        """See Engine."""
        if (table.schema, table.name) in self.offered(conn):
            conn.execute(sql.SQL("ALTER PUBLICATION {} DROP TABLE {}").format(_PUBLICATION, table.identifier))

    def refresh(self, conn: Connection, name: str) -> None:
        """See Engine. A paused subscription cannot be refreshed; it is when somebody joins again."""
        if self._enabled(conn, name):
            conn.execute(
                sql.SQL("ALTER SUBSCRIPTION {} REFRESH PUBLICATION WITH (copy_data = false)").format(
                    sql.Identifier(name)
                )
            )

    def _enabled(self, conn: Connection, name: str) -> bool:
        return any(s.name == name and s.state is not State.DISABLED for s in self.standing(conn).subscriptions)

    def unsubscribe(self, conn: Connection, name: str) -> str | None:
        """See Engine. Where the provider cannot be reached its slot stays, and the remark says so."""
        slot = self._slot(conn, name)
        if slot is None:
            common.drop_pending(conn, name)
            return None
        try:
            conn.execute(sql.SQL("DROP SUBSCRIPTION {}").format(sql.Identifier(name)))
        except psycopg.OperationalError as error:
            if conn.closed:
                raise
            self.abandon(conn, name)
            return _left_behind(slot, str(error))
        return None

    def _slot(self, conn: Connection, name: str) -> str | None:
        return next((s.slot for s in self.standing(conn).subscriptions if s.name == name), None)

    def abandon(self, conn: Connection, name: str) -> None:
        """See Engine."""
        common.drop_pending(conn, name)
        if self._slot(conn, name) is None:
            return
        with conn.transaction():
            self._let_go(conn, name)

    def _let_go(self, conn: Connection, name: str) -> None:
        """Drop a subscription in the caller's transaction; the provider is not asked."""
        subscription = sql.Identifier(name)
        conn.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(subscription))
        conn.execute(sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(subscription))
        conn.execute(sql.SQL("DROP SUBSCRIPTION {}").format(subscription))

    def provider_dsn(self, conn: Connection, name: str) -> str | None:
        """See Engine. Only a superuser reads it back."""
        try:
            with conn.transaction():
                row = conn.execute(block(FILE, "connection"), {"name": name}).fetchone()
        except psycopg.errors.InsufficientPrivilege:
            return None
        return str(row[0]) if row else None

    def provider_node(self, conn: Connection, name: str) -> str | None:
        """See Engine. A subscription has nothing but its provider's address."""
        return None

    def redirect(self, conn: Connection, name: str, provider_dsn: str) -> None:
        """See Engine."""
        conn.execute(
            sql.SQL("ALTER SUBSCRIPTION {} CONNECTION {}").format(
                sql.Identifier(name), sql.Literal(with_params(provider_dsn))
            )
        )

    def resubscribe(self, conn: Connection, provider: Connection, request: JoinRequest) -> None:
        """See Engine.

        The slot comes last: a run that dies leaves a subscription that says that its slot is missing, never one that
        goes on from a slot which begins later than it has read.
        """
        slot = self._slot(conn, request.subscription) or slot_name(request.node, request.subscription)
        owner = conn.execute(block(FILE, "owner"), {"name": request.subscription}).fetchone()
        self.pause(conn, request.subscription)
        common.end_slot(provider, slot)
        with conn.transaction():
            # A new one has a new origin: what the old one says of the provider's log need not be true any more.
            self._let_go(conn, request.subscription)
            conn.execute(_create(request, slot))
            if owner and owner[0] != owner[1]:
                conn.execute(
                    sql.SQL("ALTER SUBSCRIPTION {} OWNER TO {}").format(
                        sql.Identifier(request.subscription), sql.Identifier(owner[0])
                    )
                )
        provider.execute(block(FILE, "create_slot"), {"slot": slot})

    def withdraw(self, conn: Connection) -> None:
        """See Engine."""
        conn.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(_PUBLICATION))

    def pause(self, conn: Connection, name: str) -> None:
        """See Engine."""
        conn.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(sql.Identifier(name)))

    def resume(self, conn: Connection, name: str) -> None:
        """See Engine."""
        if any(s.name == name and s.state is State.DOWN for s in self.standing(conn).subscriptions):
            self.pause(conn, name)
        conn.execute(sql.SQL("ALTER SUBSCRIPTION {} ENABLE").format(sql.Identifier(name)))


def slot_name(node: str, subscription: str) -> str:
    """The slot on the provider: unique for each follower, within PostgreSQL's alphabet and length.

    What this takes from a name a digest of it makes up for: of two followers one would else read the other's slot.
    """
    whole = f"{_in_alphabet(node)}_{_in_alphabet(subscription)}"
    return whole if len(whole) <= _LONGEST_SLOT else f"{whole[: _LONGEST_SLOT - 9]}_{_digest(whole)}"


def _in_alphabet(name: str) -> str:
    plain = re.sub(r"[^a-z0-9_]", "_", name.lower())
    return plain if plain == name else f"{plain}_{_digest(name)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _create(request: JoinRequest, slot: str) -> sql.Composed:
    return sql.SQL(
        "CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {}"
        " WITH (create_slot = false, slot_name = {}, copy_data = false, origin = none)"
    ).format(
        sql.Identifier(request.subscription),
        sql.Literal(_connection(request)),
        _PUBLICATION,
        sql.Literal(slot),
    )


def _left_behind(slot: str, said: str) -> str | None:
    """What to do about the slot on the provider, by what the server said of it; None where there is none."""
    if f'replication slot "{slot}" does not exist' in said:
        return None
    command = f"SELECT pg_catalog.pg_drop_replication_slot('{slot}')"
    why = "its slot there is in use" if "is active for PID" in said else "the provider was not reached"
    return f"{why} ({one_line(said)}); there, an administrator runs: {command}"


def _connection(request: JoinRequest) -> str:
    return with_params(request.provider_dsn)


def subscription(name: str, enabled: bool, slot: str | None, running: bool, heard: bool) -> Subscription:
    """A subscription out of its row."""
    return Subscription(name, _state(enabled, running, heard), slot)


def _state(enabled: bool, running: bool, heard: bool) -> State:
    if not enabled:
        return State.DISABLED
    return State.REPLICATING if running and heard else State.DOWN
