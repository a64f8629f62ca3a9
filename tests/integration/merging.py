"""Two regions without streams, brought together by merge: by the library, and by the command in this process."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import typer
from psycopg import sql
from psycopg.rows import dict_row

from accountdb.catalog.tables import Table, read_tables
from accountdb.cli import merge as commands
from accountdb.cli.run import run
from accountdb.compare.content import differing, read_content
from accountdb.compare.model import Unwatched
from accountdb.guards.install import install
from accountdb.lab import Lab
from accountdb.merge.model import Receipt, TablePlan
from accountdb.merge.takeback import TakenBack
from accountdb.pg.connect import Connection, connect
from accountdb.pg.names import doubled
from accountdb.setup.merging import MergeOptions, merge_regions, plan_merge, undo_merge
from tests.acceptance.guarding import broken_indexes, broken_references
from tests.conftest import CONTRACT, Databases, as_role
from tests.integration.comparing import Told

__all__ = ["ACCOUNT", "CONTRACT", "Apart", "Row", "Side", "refused", "regions_apart", "told"]

Row = dict[str, Any]
NAMES = ("cn", "global")
ACCOUNT = ("users", "identities", "sessions", "admin_settings", "subscriptions")


@dataclass(frozen=True)
class Side:
    """One region: ``admin`` looks, ``user`` writes as the application does."""

    name: str
    dsn: str = field(repr=False)
    """A superuser's."""
    owner_dsn: str = field(repr=False)
    """Of the ordinary role that owns the tables."""
    admin: Connection = field(repr=False)
    user: Connection = field(repr=False)

    def run(self, statement: str, *params: Any) -> None:
        """One local statement, or several in one transaction."""
        with self.user.transaction():
            self.user.execute(statement.encode(), params or None)

    def rows(self, table: str) -> list[Row]:
        """All rows of a table in public, by uuid."""
        query = sql.SQL("SELECT * FROM {} ORDER BY uuid").format(sql.Identifier("public", table))
        return self.admin.cursor(row_factory=dict_row).execute(query).fetchall()

    def row(self, table: str, uuid: Any) -> Row | None:
        """One row."""
        query = sql.SQL("SELECT * FROM {} WHERE uuid = %s").format(doubled(sql.Identifier("public", table)))
        return self.admin.cursor(row_factory=dict_row).execute(query, (uuid,)).fetchone()

    def found(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return self.admin.execute(query.encode(), params or None).fetchall()

    def value(self, query: str, *params: Any) -> Any:
        """The one value of a query."""
        return self.found(query, *params)[0][0]

    def conflicts(self) -> list[Row]:
        """All that was recorded here."""
        query = "SELECT * FROM accountdb.conflict ORDER BY recorded_at, id"
        return self.admin.cursor(row_factory=dict_row).execute(query).fetchall()

    def dead(self) -> set[tuple[str, Any, Any]]:
        """Table, uuid and created_at of the lives that ended, as this region knows."""
        return set(self.found("SELECT table_name, row_key, created_at FROM accountdb.tombstone"))

    def all(self, *tables: str) -> dict[str, list[Any]]:
        """Everything that stands here: rows and tombstones, but not when those were written."""
        graves = (
            "SELECT row_key, table_name, created_at, node, version, winner FROM accountdb.tombstone ORDER BY 1, 2, 3, 4"
        )
        return {**{table: self.rows(table) for table in tables}, "dead": self.found(graves)}

    def tables(self) -> tuple[Table, ...]:
        """The tables in public."""
        return read_tables(self.admin)


@dataclass(frozen=True)
class Apart:
    """Two regions that no stream ties."""

    cn: Side
    global_: Side
    role: str = "admin"
    """Who merges them: an administrator, or the ordinary role that owns the tables."""

    def by(self, role: str) -> Apart:
        """The same two, merged by ``admin`` or ``owner``."""
        return replace(self, role=role)

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.cn, self.global_

    @property
    def dsns(self) -> dict[str, str]:
        return {side.name: side.dsn if self.role == "admin" else side.owner_dsn for side in self.sides}

    def both(self, statement: str, *params: Any) -> None:
        """The same in both: a row gets the same stamp only where the statement gives it one."""
        for side in self.sides:
            side.run(statement, *params)

    def merge(self, *tables: str, **options: Any) -> Receipt:
        """What the library does."""
        return merge_regions(self.dsns, MergeOptions(tables=tables, **options), Unwatched())

    def undo(self, path: Path) -> dict[str, TakenBack]:
        """What the library takes back, by region."""
        return undo_merge(self.dsns, path)

    def plan(self, *tables: str, **options: Any) -> dict[str, TablePlan]:
        """What the library would do, by table."""
        found = plan_merge(self.dsns, MergeOptions(tables=tables, **options), Unwatched())
        return {one.table: one for one in found}

    def command(self, *arguments: str, dsns: Mapping[str, str] | None = None) -> Told:
        """``migratectl merge``, or ``undo`` where it is the first argument, with these arguments."""
        return told(*arguments, *(f"--node={name}={dsn}" for name, dsn in (dsns or self.dsns).items()))

    def same(self, table: str, uuid: Any) -> Row | None:
        """The row that both hold alike (None: neither)."""
        here, there = (side.row(table, uuid) for side in self.sides)
        assert here == there
        return here

    def one(self, table: str, uuid: Any) -> Row:
        """The row that both hold alike."""
        found = self.same(table, uuid)
        assert found is not None
        return found

    def assert_lawful(self) -> None:
        """Equal rows, every unique index and every foreign key true by SQL, nothing that could not be stored."""
        contents = []
        for side in self.sides:
            tables = side.tables()
            contents.append(read_content(side.admin, tables))
            assert [name for table in tables for name in broken_indexes(side.admin, table)] == []
            assert [reference.name for table in tables for reference in broken_references(side.admin, table)] == []
            assert [one["detail"] for one in side.conflicts() if one["kind"] == "unknown"] == []
        assert differing(*contents) == ()

    def empty(self, *tables: str) -> None:
        """No row, no tombstone, no conflict."""
        names = [f'public."{name}"' for name in tables]
        names += [f"accountdb.{name}" for name in ("tombstone", "conflict", "resolution")]
        for side in self.sides:
            with side.admin.transaction():
                side.admin.execute("SET LOCAL session_replication_role = replica")
                side.admin.execute("SET LOCAL accountdb.allow_truncate = on")
                side.admin.execute(f"TRUNCATE {', '.join(names)}".encode())


@contextmanager
def regions_apart(databases: Databases, lab: Lab, *ddl: str) -> Iterator[Apart]:
    """Two migrated databases on one server of ``lab``, with tables of one's own and guards on all."""
    dsns = [databases.migrated() for _ in NAMES]
    sides = []
    try:
        for name, dsn in zip(NAMES, dsns, strict=True):
            owner = as_role(dsn, lab.region("cn").app_dsn)
            side = Side(name, dsn, owner, connect(dsn, autocommit=True), connect(dsn, autocommit=True))
            sides.append(side)
            side.user.execute("SET ROLE account")
            side.admin.execute(b"INSERT INTO accountdb.node (name) VALUES ('node_" + name.encode() + b"')")
            make(side, *ddl)
        yield Apart(sides[0], sides[1])
    finally:
        for side in sides:
            side.admin.close()
            side.user.close()


def make(side: Side, *ddl: str) -> None:
    """Make tables as the owner, put them under the row contract and install their guards."""
    for statement in ddl:
        side.user.execute(statement.encode())
    for table in read_tables(side.user):
        for function in ("set_updated_at", "bump_version") if not table.row_triggers else ():
            side.user.execute(
                sql.SQL("CREATE TRIGGER {} BEFORE UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION {}()").format(
                    sql.Identifier(function), table.identifier, sql.Identifier("public", function)
                )
            )
    install(side.admin, read_tables(side.admin))


def refused(side: Side, statement: str, *params: Any) -> bool:
    """Run it as a user does. Whether a constraint was against it."""
    try:
        side.run(statement, *params)
    except psycopg.IntegrityError:
        return True
    return False


def told(*arguments: str) -> Told:
    """``migratectl merge`` with these arguments, in this process; ``undo`` as the first one is that command."""
    undo = arguments[:1] == ("undo",)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command("undo" if undo else "merge")(commands.undo if undo else commands.merge)
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        status = run(app, "migratectl", arguments[1:] if undo else arguments)
    return Told(status, out.getvalue(), err.getvalue())
