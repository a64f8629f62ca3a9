"""The two engines behind one interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from accountdb.catalog.tables import Table
from accountdb.errors import UsageError
from accountdb.pg.connect import Connection
from accountdb.replication import common
from accountdb.replication.model import JoinRequest, Mode, Outcome, Standing
from accountdb.replication.native import Native
from accountdb.replication.pglogical import Pglogical


class Engine(Protocol):
    """What a two-way engine can do with one region. Connections are in autocommit."""

    mode: Mode

    def standing(self, conn: Connection) -> Standing:
        """What the region has of replication. Readable by an ordinary role."""

    def short_tables(self, conn: Connection) -> tuple[str, ...]:
        """Tables that are offered with some columns or rows left out."""

    def obstacle(self, conn: Connection, provider: Connection, request: JoinRequest) -> str | None:
        """What stands in the way of a new subscription under this name; None where nothing does."""

    def offer(self, conn: Connection, request: JoinRequest, tables: Sequence[Table]) -> None:
        """Make the region a node that offers ``tables``. Run again, it adds what is missing."""

    def offers(self, provider: Connection) -> bool:
        """Whether the provider is a node whose changes can be subscribed to."""

    def subscribe(self, conn: Connection, provider: Connection, request: JoinRequest) -> Outcome:
        """Make the subscription, or bring its connection up to date. Never copies a row."""

    def offered(self, conn: Connection) -> frozenset[tuple[str, str]]:
        """The tables that the region offers, as schema and name."""

    def add(self, conn: Connection, table: Table) -> None:
        """Offer one table more, in the caller's transaction."""

    def take_back(self, conn: Connection, table: Table) -> None:
        """Stop offering one table."""

    def refresh(self, conn: Connection, name: str) -> None:
        """Take in tables that the provider has begun to offer. Copies no row."""

    def unsubscribe(self, conn: Connection, name: str) -> str | None:
        """Drop a subscription. Returns a remark where something stays behind on the provider."""

    def abandon(self, conn: Connection, name: str) -> None:
        """Drop a subscription without asking its provider, which is gone."""

    def provider_dsn(self, conn: Connection, name: str) -> str | None:
        """How the region's server reaches the provider of a subscription; None where this role may not read it."""

    def provider_node(self, conn: Connection, name: str) -> str | None:
        """The node that a subscription comes from; None where the engine does not note it."""

    def redirect(self, conn: Connection, name: str, provider_dsn: str) -> None:
        """Give a subscription another connection to the same provider, which is not asked."""

    def resubscribe(self, conn: Connection, provider: Connection, request: JoinRequest) -> None:
        """Make a subscription anew, with a new slot that begins now. Copies no row; killed anywhere, done again."""

    def withdraw(self, conn: Connection) -> None:
        """Take back what ``offer`` made."""

    def pause(self, conn: Connection, name: str) -> None:
        """Stop applying; the provider keeps what is missed."""

    def resume(self, conn: Connection, name: str) -> None:
        """Apply again, at once, also where a failed worker waits before its next try."""


def engine_for(mode: Mode) -> Engine:
    """The engine of a mode. Raises UsageError for pgsync, which streams nothing."""
    engines: dict[Mode, Engine] = {Mode.NATIVE: Native(), Mode.PGLOGICAL: Pglogical()}
    if mode not in engines:
        raise UsageError(f"mode {mode} has no streams", hint="use --mode pglogical or --mode native")
    return engines[mode]


def standing(conn: Connection) -> Standing:
    """What a region has of replication, whatever its mode."""
    node, mode = common.node(conn)
    if mode is Mode.PGSYNC:
        return Standing(node, mode, (), ())
    return engine_for(mode).standing(conn)
