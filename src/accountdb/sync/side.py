"""One end of a job: a session whose errors name it, and the tables that it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from accountdb.catalog.tables import Table, read_tables
from accountdb.compare.session import named, prepare
from accountdb.pg import session
from accountdb.pg.connect import Connection, connect
from accountdb.sql import block


@dataclass(frozen=True)
class Side:
    """``name`` is how messages call it. Its tables are read once."""

    name: str
    dsn: str = field(repr=False)
    conn: Connection = field(repr=False)
    _known: dict[str, tuple[Table, ...]] = field(default_factory=dict, repr=False)

    @contextmanager
    def use(self) -> Iterator[Connection]:
        """The session. Errors name the side: nothing in the block may talk to the other one."""
        with named(self.name, self.dsn):
            yield self.conn

    @contextmanager
    def ask(self) -> Iterator[Connection]:
        """The same for several questions at once, none of which waits for the answer to another: fetch after it."""
        with named(self.name, self.dsn), session.pipelined(self.conn):
            yield self.conn

    def row(self, file: str, heading: str, values: Mapping[str, object] | None = None) -> tuple[Any, ...]:
        """The one row of a statement."""
        with self.use() as conn:
            row = conn.execute(block(file, heading), values).fetchone()
        assert row is not None
        return row

    def tables(self, schema: str) -> tuple[Table, ...]:
        """All tables of a schema."""
        if schema not in self._known:
            with self.use() as conn:
                self._known[schema] = read_tables(conn, schema)
        return self._known[schema]

    def forget(self) -> None:
        """The tables have been changed: read them anew."""
        self._known.clear()


@contextmanager
def open_side(name: str, dsn: str) -> Iterator[Side]:
    """Connect; each statement is a transaction of its own."""
    with connect(dsn, name=name, autocommit=True, application="pgsync") as conn:
        with named(name, dsn):
            prepare(conn)
        yield Side(name, dsn, conn)
