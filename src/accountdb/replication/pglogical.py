"""pglogical 2.4: node, replication set rep_all, subscription. The steps are the region file's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg

from accountdb.catalog.tables import Table
from accountdb.errors import AccountdbError, ConnectError, MissingRightError
from accountdb.pg.connect import Connection, connect
from accountdb.replication import common
from accountdb.replication.model import SET_NAME, JoinRequest, Mode, Outcome, Standing, State, Subscription
from accountdb.sql import block

FILE = "replication/pglogical.sql"
# A socket that nobody can listen on: an attempt fails at once.
_NOBODY = "host=/nonexistent port=1 connect_timeout=1"
_REGION_FILE = "schema_pglogical_region.sql"
_STATES = {
    "replicating": State.REPLICATING,
    "initializing": State.INITIALIZING,
    "disabled": State.DISABLED,
}


class Pglogical:
    """The engine of mode ``pglogical``."""

    mode = Mode.PGLOGICAL

    def standing(self, conn: Connection) -> Standing:
        """See Engine."""
        node, mode = common.node(conn)
        found = [subscription(*row) for row in self._subscriptions(conn)]
        names = {one.name for one in found}
        found += [Subscription(name, State.PENDING, None) for name in common.pending(conn) if name not in names]
        return Standing(node, mode, tuple(found), common.followers(conn, "pglogical_output"))

    def _subscriptions(self, conn: Connection) -> list[tuple[str, str, str | None]]:
        may = conn.execute(block(FILE, "may_read")).fetchone()
        if may and not may[2]:
            return []
        if may and may[0]:
            if not self.offers(conn):
                return []
            return list(conn.execute(block(FILE, "subscriptions")).fetchall())
        if may and may[1]:
            return list(conn.execute(block(FILE, "states")).fetchall())
        raise MissingRightError(
            f"role {conn.info.user} may not see the pglogical subscriptions",
            hint=f"an administrator runs: migratectl init --mode pglogical --grant-to {conn.info.user}",
        )

    def short_tables(self, conn: Connection) -> tuple[str, ...]:
        """See Engine."""
        return tuple(name for (name,) in conn.execute(block(FILE, "short_tables"), {"name": SET_NAME}))

    def obstacle(self, conn: Connection, provider: Connection, request: JoinRequest) -> str | None:
        """See Engine. pglogical names its slots itself, by provider and subscription: two followers may collide.

        It takes over an inactive slot of that name. Where the provider has to do with nobody else it is one that this
        region has left behind; else it may be that of another region which is only away.
        """
        if any(s.name == request.subscription and s.slot for s in self.standing(conn).subscriptions):
            return None
        theirs, _ = common.node(provider)
        if theirs is None:
            return None
        named = {"database": conn.info.dbname, "node": theirs, "name": request.subscription}
        slot = conn.execute(block(FILE, "slot_name"), named).fetchone() if self._is_here(conn) else None
        found = provider.execute(block(FILE, "left_slot"), {"slot": slot[0]}).fetchone() if slot else None
        if slot is None or found is None:
            return None
        query = block(FILE, "other_origins")
        others = [n for (n,) in provider.execute(query, {"node": request.node})] if self._is_here(provider) else []
        if not found[0] and not others:
            return None
        whose = "in use" if found[0] else f"inactive, and perhaps that of {', '.join(others)}"
        return (
            f"replication slot {slot[0]} is on the provider already, {whose};"
            f" choose another --subscription name, such as sub_{request.node}_from_{theirs}"
        )

    def _is_here(self, conn: Connection) -> bool:
        row = conn.execute(block(FILE, "may_read")).fetchone()
        return bool(row and row[2])

    def offer(self, conn: Connection, request: JoinRequest, tables: Sequence[Table]) -> None:
        """See Engine. Which tables go into the set is the region file's own rule."""
        with self._settings(conn, request), conn.transaction():
            conn.execute(block(_REGION_FILE, "node"))
            conn.execute(block(_REGION_FILE, "replication_set"))

    def offers(self, provider: Connection) -> bool:
        """See Engine."""
        try:
            with provider.transaction():
                return provider.execute(block(FILE, "local_node")).fetchone() is not None
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return False

    def subscribe(self, conn: Connection, provider: Connection, request: JoinRequest) -> Outcome:
        """See Engine."""
        standing = conn.execute(block(FILE, "interface"), {"name": request.subscription}).fetchone()
        with self._settings(conn, request):
            if standing is not None and standing[2] != request.provider_dsn:
                self.redirect(conn, request.subscription, request.provider_dsn)
                return Outcome.UPDATED
            with conn.transaction():
                conn.execute(block(_REGION_FILE, "subscription"))
        return Outcome.UNCHANGED if standing else Outcome.CREATED

    def provider_node(self, conn: Connection, name: str) -> str | None:
        """See Engine."""
        row = conn.execute(block(FILE, "interface"), {"name": name}).fetchone()
        return str(row[0]) if row else None

    def redirect(self, conn: Connection, name: str, provider_dsn: str) -> None:
        """See Engine. A new interface, then the old one is dropped."""
        standing = conn.execute(block(FILE, "interface"), {"name": name}).fetchone()
        if standing is None:
            raise AccountdbError(f"there is no subscription {name}", hint="migratectl status")
        provider_node, interface, _ = standing
        fresh = "accountdb_a" if interface != "accountdb_a" else "accountdb_b"
        with conn.transaction():
            conn.execute("SELECT pglogical.alter_node_add_interface(%s, %s, %s)", (provider_node, fresh, provider_dsn))
            conn.execute("SELECT pglogical.alter_subscription_interface(%s, %s)", (name, fresh))
            conn.execute("SELECT pglogical.alter_node_drop_interface(%s, %s)", (provider_node, interface))
        self._bounce(conn, name)

    @contextmanager
    def _settings(self, conn: Connection, request: JoinRequest) -> Iterator[None]:
        """The request as settings of the session, which is how the region file takes it."""
        conn.execute(
            block(FILE, "settings"),
            {
                "node": request.node,
                "node_dsn": request.node_dsn,
                "subscription": request.subscription,
                "provider_dsn": request.provider_dsn,
                "exclude": list(request.exclude),
            },
        )
        try:
            yield
        finally:
            if not conn.broken:
                conn.execute(block(FILE, "forget_settings"))

    def offered(self, conn: Connection) -> frozenset[tuple[str, str]]:
        """See Engine."""
        rows = conn.execute(block(FILE, "offered"), {"name": SET_NAME}).fetchall() if self.offers(conn) else []
        return frozenset((schema, table) for schema, table in rows)

    def add(self, conn: Connection, table: Table) -> None:
        """See Engine."""
        name = table.identifier.as_string()
        conn.execute("SELECT pglogical.replication_set_add_table(%s, %s::regclass, false)", (SET_NAME, name))

    def take_back(self, conn: Connection, table: Table) -> None:
        """See Engine."""
        if (table.schema, table.name) in self.offered(conn):
            name = table.identifier.as_string()
            conn.execute("SELECT pglogical.replication_set_remove_table(%s, %s::regclass)", (SET_NAME, name))

    def refresh(self, conn: Connection, name: str) -> None:
        """See Engine. pglogical follows the provider's set by itself."""

    def unsubscribe(self, conn: Connection, name: str) -> str | None:
        """See Engine. pglogical drops the provider's slot where it reaches it, and is silent otherwise."""
        common.drop_pending(conn, name)
        provider = conn.execute(block(FILE, "provider"), {"name": name}).fetchone()
        conn.execute("SELECT pglogical.drop_subscription(%s, true)", (name,))
        return _slot_left_behind(*provider) if provider else None

    def abandon(self, conn: Connection, name: str) -> None:
        """See Engine. A worker that waits for a host that says nothing is waited for, half a minute at most."""
        common.drop_pending(conn, name)
        row = conn.execute(block(FILE, "interface"), {"name": name}).fetchone()
        if row is None:
            return
        with conn.transaction():
            # Dropping would ask the provider, and wait for it: so it is led where nobody is.
            conn.execute("SELECT pglogical.alter_node_add_interface(%s, 'accountdb_nobody', %s)", (row[0], _NOBODY))
            conn.execute("SELECT pglogical.alter_subscription_interface(%s, 'accountdb_nobody')", (name,))
            conn.execute("SELECT pglogical.drop_subscription(%s, true)", (name,))

    def provider_dsn(self, conn: Connection, name: str) -> str | None:
        """See Engine."""
        try:
            with conn.transaction():
                row = conn.execute(block(FILE, "provider"), {"name": name}).fetchone()
        except psycopg.errors.InsufficientPrivilege:
            return None
        return str(row[0]) if row else None

    def resubscribe(self, conn: Connection, provider: Connection, request: JoinRequest) -> None:
        """See Engine. pglogical makes the slot itself, when the subscription is there."""
        row = conn.execute(block(FILE, "provider"), {"name": request.subscription}).fetchone()
        self.pause(conn, request.subscription)
        if row is not None:
            common.end_slot(provider, row[1])
        with self._settings(conn, request), conn.transaction():
            conn.execute("SELECT pglogical.drop_subscription(%s, true)", (request.subscription,))
            conn.execute(block(_REGION_FILE, "subscription"))

    def withdraw(self, conn: Connection) -> None:
        """See Engine."""
        row = conn.execute(block(FILE, "local_node")).fetchone()
        if row is None:
            return
        conn.execute("SELECT pglogical.drop_replication_set(%s, true)", (SET_NAME,))
        conn.execute("SELECT pglogical.drop_node(%s, true)", (row[0],))

    def pause(self, conn: Connection, name: str) -> None:
        """See Engine."""
        conn.execute("SELECT pglogical.alter_subscription_disable(%s, true)", (name,))

    def resume(self, conn: Connection, name: str) -> None:
        """See Engine."""
        self._bounce(conn, name)

    def _bounce(self, conn: Connection, name: str) -> None:
        # A failed worker waits 10 to 180 s, and a running one keeps its old settings, until this.
        standing = {s.name: s.state for s in self.standing(conn).subscriptions}
        if standing.get(name) is not State.DISABLED:
            self.pause(conn, name)
        conn.execute("SELECT pglogical.alter_subscription_enable(%s, true)", (name,))


def subscription(name: str, status: str, slot: str | None) -> Subscription:
    """A subscription out of its row."""
    return Subscription(name, _STATES.get(status, State.DOWN), slot)


def _slot_left_behind(provider_dsn: str, slot: str) -> str | None:
    """What to do about a slot that still holds WAL on the provider; None when it is gone."""
    remedy = f"there, an administrator runs: SELECT pg_drop_replication_slot('{slot}')"
    try:
        with connect(provider_dsn, name="provider", autocommit=True, timeout_s=2) as provider:
            if provider.execute(block(FILE, "left_slot"), {"slot": slot}).fetchone() is None:
                return None
    except ConnectError as error:
        return f"the provider was not reached ({error.message}); {remedy}"
    return f"its slot stays on the provider; {remedy}"
