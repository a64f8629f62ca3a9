"""Two databases of which one follows the other, both written to by an ordinary role that owns them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg import sql

from accountdb.catalog.tables import read_tables
from accountdb.compare.model import Unwatched
from accountdb.lab import Lab
from accountdb.pg.connect import Connection, connect
from accountdb.sync.capture import install
from accountdb.sync.config import Job
from accountdb.sync.model import Counts, PassOptions, Receipt
from accountdb.sync.passes import run_pass
from tests.conftest import Databases, as_role, rows, run_sql


@dataclass(frozen=True)
class Follow:
    """A source, a destination and one job between them."""

    source: str = field(repr=False)
    target: str = field(repr=False)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def both(self, *statements: str) -> None:
        """The same in each of the two."""
        for dsn in (self.source, self.target):
            for statement in statements:
                run_sql(dsn, statement)

    def here(self, statement: str, *params: Any) -> None:
        """One statement at the source."""
        run_sql(self.source, statement, *params)

    def there(self, statement: str, *params: Any) -> None:
        """One statement at the destination."""
        run_sql(self.target, statement, *params)

    def of(self, *tables: str, **options: Any) -> Follow:
        """A job of these tables, all with the same options."""
        return replace(self, tables=dict.fromkeys(tables, options))

    def logged(self) -> Follow:
        """The source's tables log their changes from now on."""
        with connect(self.source) as conn:
            install(conn, [table for table in read_tables(conn) if table.name in self.tables])
        return self

    @property
    def job(self) -> Job:
        """What the job file says."""
        return Job.model_validate(
            {
                "source": {"dsn": self.source},
                "destination": {"dsn": self.target},
                "tables": self.tables,
                **self.settings,
            }
        )

    def sync(self, name: str = "job", **options: Any) -> Receipt:
        """One pass."""
        receipt = run_pass(name, self.job, PassOptions(**options), Unwatched())
        assert receipt is not None
        return receipt

    def counts(self, table: str, **options: Any) -> Counts:
        """What one pass did to one table."""
        return self.sync(**options).tables[f"public.{table}"]

    def sides(self, table: str, columns: str = "*") -> tuple[list[Any], list[Any]]:
        """The rows of a table on both sides, as text, in order."""
        found = [
            sorted(rows(dsn, f"SELECT t::text FROM (SELECT {columns} FROM {table}) AS t"))
            for dsn in (self.source, self.target)
        ]
        return found[0], found[1]

    def assert_equal(self, *tables: str, columns: str = "*") -> None:
        """Both sides hold the same rows."""
        for table in tables or [_quoted(name) for name in self.tables]:
            here, there = self.sides(table, columns)
            assert here == there, table


def _quoted(name: str) -> str:
    return sql.Identifier("public", name).as_string()


def follow(databases: Databases, lab: Lab, ddl: Sequence[str] = (), *, extensions: Sequence[str] = ()) -> Follow:
    """Two new databases with the same structure."""
    dsns = []
    for _ in range(2):
        admin = databases.empty()
        for extension in extensions:
            run_sql(admin, f"CREATE EXTENSION {extension}")
        dsns.append(as_role(admin, lab.region("cn").app_dsn))
    found = Follow(dsns[0], dsns[1])
    found.both(*ddl)
    return found


def accounts(databases: Databases, lab: Lab) -> Follow:
    """Two databases with the account schema."""
    source, target = (as_role(databases.migrated(), lab.region("cn").app_dsn) for _ in range(2))
    return Follow(source, target)


def begin(dsn: str) -> Connection:
    """A session with an open transaction."""
    return connect(dsn, application=f"writer of {os.getpid()}")
