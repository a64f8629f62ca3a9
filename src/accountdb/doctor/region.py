"""What doctor knows of one region before the first check, read once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import psycopg

from accountdb.catalog.tables import Table, read_tables
from accountdb.contract.row_contract import candidates, violations
from accountdb.doctor.model import Look
from accountdb.errors import MissingRightError
from accountdb.health.advice import Finding
from accountdb.pg.connect import Connection
from accountdb.replication import common
from accountdb.replication.engine import engine_for, standing
from accountdb.replication.facts import ServerFacts, read_facts
from accountdb.replication.model import Mode, Standing
from accountdb.sql import block

FILE = "doctor.sql"
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Here:
    """One region. ``noted`` is the mode that init noted, ``mode`` the one that is judged by; ``asked``: it was named.

    ``standing`` and ``offered`` are None where this role may not read them.
    """

    name: str
    everyone: tuple[str, ...]
    facts: ServerFacts
    version: str
    standby: bool
    read_only: bool
    prepared: bool
    keep: str
    keep_bytes: int
    sees_all: bool
    node: str | None
    noted: Mode
    mode: Mode
    asked: bool
    standing: Standing | None
    known: tuple[Table, ...] = field(repr=False)
    offered: frozenset[tuple[str, str]] | None = field(repr=False)

    @property
    def look(self) -> Look:
        """Makes findings of this region."""
        return Look(self.name)

    @property
    def streams(self) -> bool:
        """Whether it is judged as a region of a two-way stream."""
        return self.mode is not Mode.PGSYNC

    @property
    def joined(self) -> bool:
        """Whether a stream comes in or goes out."""
        return self.standing is not None and self.standing.joined

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every table of public that could be replicated."""
        return candidates(self.known)

    @property
    def replicated(self) -> tuple[Table, ...]:
        """The tables that are replicated; before a join, all that will be."""
        if not self.offered:
            return self.tables
        return tuple(table for table in self.tables if (table.schema, table.name) in self.offered)

    @property
    def fit(self) -> tuple[Table, ...]:
        """Those of them that are under the row contract."""
        return tuple(table for table in self.replicated if not violations(table))


def read_here(conn: Connection, name: str, everyone: tuple[str, ...], asked: Mode | None) -> Here:
    """What is there. ``asked`` is the mode of the command line; None takes the one that init noted."""
    conn.execute(block(FILE, "session"))
    row = conn.execute(block(FILE, "server")).fetchone()
    sees_all = conn.execute(block(FILE, "sees_all")).fetchone()
    assert row is not None
    version, standby, read_only, prepared, keep, keep_bytes = row
    node, noted = allowed(lambda: common.node(conn)) or (None, Mode.PGSYNC)
    mode = asked or noted
    return Here(
        name,
        everyone,
        read_facts(conn),
        version,
        standby,
        read_only,
        prepared,
        keep,
        keep_bytes,
        bool(sees_all and sees_all[0]),
        node,
        noted,
        mode,
        asked is not None,
        allowed(lambda: standing(conn)),
        read_tables(conn),
        allowed(lambda: engine_for(noted).offered(conn)) if noted is not Mode.PGSYNC else frozenset(),
    )


Subject: TypeAlias = "Callable[[Connection, Here], Iterable[Finding]]"
"""Looks at one thing in one region. What the server refuses ends it, and no other."""


def allowed(read: Callable[[], _Found]) -> _Found | None:
    """What ``read`` gives; None where this role may not read it, or it is not there at all."""
    try:
        return read()
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable, MissingRightError):
        return None
    except psycopg.errors.InvalidSchemaName:
        return None
