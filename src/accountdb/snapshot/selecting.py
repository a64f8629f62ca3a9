"""Some users and whatever refers to them: which rows those are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from psycopg import sql

from accountdb.catalog.references import refers
from accountdb.catalog.tables import Table
from accountdb.errors import UsageError
from accountdb.pg.connect import Connection
from accountdb.pg.names import doubled
from accountdb.sql import block

_FILE = "snapshot/export.sql"
USERS = "users"

# Where the rows of a table are read from, for a statement with parameters.
Source = Callable[[Table], sql.Composable]


class Selection:
    """The keys of the chosen rows, in temporary tables: their number may be any."""

    def __init__(self, conn: Connection, tables: Sequence[Table], source: Source) -> None:
        """``tables`` are all account tables; ``source`` says where their rows are.

        Raises UsageError where there is no table of users. Its tables last as long as the session.
        """
        self._conn, self._tables, self._source = conn, tables, source
        self._wanted = {table.name: f"accountdb_wanted_{n}" for n, table in enumerate(tables)}
        if USERS not in self._wanted:
            raise UsageError(f"there is no account table {USERS} to choose from", hint="leave the option out")
        for name in self._wanted.values():
            conn.execute(sql.SQL(block(_FILE, "make_wanted")).format(wanted=sql.Identifier(name)))

    def by_email(self, word: str) -> None:
        """The users whose email contains ``word``, whatever the case, and what refers to them."""
        users = self._users()
        if users.column("email") is None:
            raise UsageError(f"{USERS} has no column email to choose by", hint="leave --email out")
        self._want("want_email", users, {"word": word})

    def by_uuid(self, users: Sequence[str]) -> int:
        """Those users, and what refers to them. Returns how many of the users there are."""
        return self._want("want_users", self._users(), {"users": list(users)})

    def wanted(self, table: Table) -> sql.Identifier:
        """The table of the chosen keys."""
        return sql.Identifier("pg_temp", self._wanted[table.name])

    def _users(self) -> Table:
        return next(table for table in self._tables if table.name == USERS)

    def _want(self, heading: str, users: Table, values: Mapping[str, object]) -> int:
        statement = sql.SQL(block(_FILE, heading)).format(wanted=self.wanted(users), own=self._source(users))
        found = self._conn.execute(statement, values).rowcount
        self._follow()
        return found

    def _follow(self) -> None:
        """From parents to children, as far as it goes: references may lead in a circle, but never back to users."""
        by_name = {(table.schema, table.name): table for table in self._tables}
        fresh, hop = {USERS}, 0
        while fresh:
            hop += 1
            found: set[str] = set()
            for child in self._tables:
                for reference in child.references if child.name != USERS else ():
                    parent = by_name.get(reference.parent)
                    if parent is None or parent.name not in fresh:
                        continue
                    statement = sql.SQL(block(_FILE, "want_children")).format(
                        wanted=self.wanted(child),
                        child=self._source(child),
                        parent=self._source(parent),
                        parent_wanted=self.wanted(parent),
                        match=refers(reference, "c", "p"),
                    )
                    if self._conn.execute(statement, {"hop": hop}).rowcount:
                        found.add(child.name)
            fresh = found
        for table in self._tables:
            self._conn.execute(sql.SQL(block(_FILE, "analyze_wanted")).format(wanted=self.wanted(table)))


def source_of(own: Callable[[Table], sql.Composable]) -> Source:
    """A source for statements with parameters."""
    return lambda table: doubled(own(table))
