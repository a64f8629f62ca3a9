"""The regions that a command works on: those that answer, and why the others do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import psycopg

from accountdb.catalog.secrets import declared_secrets
from accountdb.catalog.tables import Table, read_tables
from accountdb.contract.masking import Secrets, union
from accountdb.errors import AccountdbError, ConnectError, MissingRightError
from accountdb.pg.connect import Connection, connect, told
from accountdb.sql import block

RECORD = "conflicts/record.sql"


@dataclass
class Region:
    """One region that answers, with what its catalog says."""

    name: str
    conn: Connection = field(repr=False)
    _schemas: dict[str, dict[str, Table]] = field(default_factory=dict, repr=False)

    def table(self, name: tuple[str, str]) -> Table | None:
        """The table's shape, None where the region has no such table."""
        schema, table = name
        if schema not in self._schemas:
            self._schemas[schema] = {found.name: found for found in read_tables(self.conn, schema)}
        return self._schemas[schema].get(table)


@dataclass(frozen=True)
class Regions:
    """All regions of a command. ``silent`` are those that could not be asked, with the reason, which names them."""

    answering: tuple[Region, ...]
    silent: Mapping[str, str]
    secrets: Secrets

    def table(self, name: tuple[str, str]) -> Table | None:
        """The table's shape in the first region that has it."""
        return next((table for region in self.answering if (table := region.table(name))), None)

    def named(self, name: str) -> Region:
        """One region that answers."""
        return next(region for region in self.answering if region.name == name)


@contextmanager
def opened(dsns: Mapping[str, str]) -> Iterator[Regions]:
    """Connections to the regions, by name.

    A region that cannot be reached is among ``silent``; where none answers the first reason is raised,
    and so is a DSN that cannot be read.
    """
    with ExitStack() as stack:
        answering: list[Region] = []
        silent: dict[str, AccountdbError] = {}
        declared: list[Mapping[tuple[str, str], frozenset[str]]] = []
        for name, dsn in dsns.items():
            try:
                conn = stack.enter_context(connect(dsn, name=name, autocommit=True))
                _check(conn, name)
                declared.append(declared_secrets(conn))
                answering.append(Region(name, conn))
            except (ConnectError, MissingRightError) as error:
                silent[name] = error
            except psycopg.OperationalError as error:
                silent[name] = ConnectError(f"{name}: {told(error, dsn).message}")
        if not answering:
            raise next(iter(silent.values()))
        yield Regions(tuple(answering), {name: error.message for name, error in silent.items()}, union(declared))


def _check(conn: Connection, name: str) -> None:
    here, allowed = conn.execute(block(RECORD, "readable")).fetchone() or (False, None)
    if not here:
        raise MissingRightError(f"{name}: not prepared for accountdb", hint="migratectl init")
    if not allowed:
        raise MissingRightError(
            f"{name}: role {conn.info.user} may not read accountdb.conflict",
            hint="only the owner of the schema accountdb sees conflicts: they hold secrets",
        )
