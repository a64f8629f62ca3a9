"""Two regions apart: written on both sides while the link is cut, then healed and held to the laws of the design."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from psycopg import sql
from psycopg.rows import dict_row

from accountdb.catalog.tables import Reference, Table, UniqueIndex, read_tables
from accountdb.compare.content import differing, read_content
from accountdb.lab import Lab
from accountdb.lab.lab import LabRegion
from accountdb.pg.connect import Connection, connect
from accountdb.replication.engine import engine_for, standing
from accountdb.replication.model import State
from tests.conftest import eventually, rows, run_command

Row = dict[str, Any]

# What a cut link makes servers say; nothing else may be an error.
_OF_THE_CUT = re.compile(
    r"could not connect|could not (receive|send) data|connection to (server|other side|client)|connection lost"
    r"|data stream ended|server closed the connection|could not start WAL streaming|terminating|no connection to"
    r"|unexpected EOF|Connection (refused|reset)|could not fetch table info|canceling|is (already )?active for PID"
)
_OF_A_CLIENT = re.compile(r" (client backend|parallel worker) ")


@dataclass(frozen=True)
class Side:
    """One region as a test writes to it and looks at it."""

    region: LabRegion

    def run(self, statement: str, *params: Any) -> None:
        """One local statement, or several in one transaction."""
        with connect(self.region.app_dsn) as conn:
            conn.execute(statement.encode(), params or None)

    def found(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        return rows(self.region.admin_dsn, query, *params)

    def register(self, name: str | None = None, email: str | None = None, uuid: UUID | None = None) -> UUID:
        """A new user. What is not given is unlike any other."""
        tag = uuid4().hex
        found = rows(
            self.region.app_dsn,
            "INSERT INTO users (uuid, username, email, password) VALUES (%s, %s, %s, 'secret') RETURNING uuid",
            uuid or uuid4(),
            name or f"u-{tag}",
            email or f"{tag}@example.cn",
        )
        return UUID(str(found[0][0]))

    def add(self, table: str, **values: Any) -> UUID:
        """A new row of ``table``."""
        names = sql.SQL(", ").join(map(sql.Identifier, values))
        marks = sql.SQL(", ").join(sql.Placeholder() * len(values))
        query = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING uuid").format(sql.Identifier(table), names, marks)
        with connect(self.region.app_dsn) as conn:
            row = conn.execute(query, list(values.values())).fetchone()
        assert row is not None
        return UUID(str(row[0]))

    def row(self, table: str, uuid: UUID) -> Row | None:
        with connect(self.region.admin_dsn, autocommit=True) as conn:
            query = sql.SQL("SELECT * FROM {} WHERE uuid = %s").format(sql.Identifier(table))
            return conn.cursor(row_factory=dict_row).execute(query, (uuid,)).fetchone()

    def conflicts(self, *keys: UUID) -> list[Row]:
        """What was recorded of these rows, in the order of the events' ids."""
        with connect(self.region.admin_dsn, autocommit=True) as conn:
            query = "SELECT * FROM accountdb.conflict WHERE row_key = ANY (%s) ORDER BY id"
            return conn.cursor(row_factory=dict_row).execute(query, (list(keys),)).fetchall()

    def dead(self, *keys: UUID) -> set[UUID]:
        found = self.found("SELECT row_key FROM accountdb.tombstone WHERE row_key = ANY (%s)", list(keys))
        return {key for (key,) in found}

    def log(self, since: int) -> str:
        with self.region.log_file.open("rb") as file:
            file.seek(since)
            return file.read().decode(errors="replace")

    @property
    def log_size(self) -> int:
        return self.region.log_file.stat().st_size


@dataclass
class Pair:
    """Both regions of a joined lab, from before a conflict until after it."""

    lab: Lab
    cn: Side = field(init=False)
    global_: Side = field(init=False)
    logs: dict[str, int] = field(init=False)
    unknown: set[tuple[str, str]] = field(init=False)
    """What guards could not settle before: other tests of the same lab leave some on record."""

    def __post_init__(self) -> None:
        self.cn, self.global_ = (Side(self.lab.region(name)) for name in ("cn", "global"))
        self.logs = {side.region.name: side.log_size for side in self.sides}
        self.unknown = unknown(self)

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.cn, self.global_

    def first_and_second(self, first: str) -> tuple[Side, Side]:
        return (self.cn, self.global_) if first == "cn" else (self.global_, self.cn)

    def shared(self, **values: Any) -> UUID:
        """A user that both regions know."""
        user = self.cn.register(**values)
        self.meet()
        return user

    @contextmanager
    def apart(self) -> Iterator[None]:
        """While the link is cut. Afterwards everything that was written has been applied on both sides."""
        self.lab.cut()
        try:
            yield
        finally:
            self.lab.heal()
        self.meet()

    def meet(self, within_s: float = 60) -> None:
        """Wait until each side has applied all that the other one has committed up to now."""
        self.wake()
        for here, there in (self.sides, self.sides[::-1]):
            # Changes are applied in the order of their commits: this row is behind all others.
            marker = here.add("admin_settings", module_key=f"marker-{uuid4().hex}", role="x")
            eventually(
                lambda t=there, m=marker: t.row("admin_settings", m),  # type: ignore[misc]
                within_s=within_s,
                what=f"all of {here.region.name} in {there.region.name}",
            )

    def wake(self) -> None:
        """Have failed workers try again at once."""
        for side in self.sides:
            with connect(side.region.admin_dsn, autocommit=True) as conn:
                current = standing(conn)
                for subscription in current.subscriptions:
                    if subscription.state is not State.REPLICATING:
                        # A failed worker waits before its next try, unless it is told.
                        engine_for(current.mode).resume(conn, subscription.name)

    def same(self, table: str, uuid: UUID) -> Row | None:
        """The row that both regions hold alike (None: neither has it)."""
        here, there = (side.row(table, uuid) for side in self.sides)
        assert here == there
        return here

    def same_conflicts(self, *keys: UUID) -> list[Row]:
        """What both regions recorded of these rows: the same events with the same content."""
        found = [
            [{k: v for k, v in one.items() if k not in ("node", "recorded_at")} for one in side.conflicts(*keys)]
            for side in self.sides
        ]
        assert found[0] == found[1]
        return found[0]

    def all_conflicts(self, *keys: UUID) -> list[Row]:
        """What either region recorded of these rows."""
        return [one for side in self.sides for one in side.conflicts(*keys)]


def unknown(pair: Pair) -> set[tuple[str, str]]:
    """The conflicts that no rule of a guard foresaw, with what the server said."""
    query = "SELECT id::text, detail FROM accountdb.conflict WHERE kind = 'unknown'"
    return {(key, detail) for side in pair.sides for key, detail in side.found(query)}


def heal(lab: Lab) -> None:
    """Settle what only one side had cause for, as cron does."""
    sides = ("--cn", lab.region("cn").admin_dsn, "--global", lab.region("global").admin_dsn)
    found = run_command("migratectl", "merge", "--recent", *sides, env=lab.env(), timeout_s=120)
    assert found.returncode == 0, found.stderr


@contextmanager
def lawful(lab: Lab) -> Iterator[Pair]:
    """Two regions for one test. At its end every law of the design holds, without any healing."""
    pair = Pair(lab)
    yield pair
    assert_lawful(pair)


def assert_lawful(pair: Pair, *, expected_error: str = "") -> None:
    """Equal rows, every unique index and foreign key true by SQL, streams up, no error that is not of the cut."""
    assert_running(pair, expected_error=expected_error)
    contents = []
    for side in pair.sides:
        with connect(side.region.admin_dsn, autocommit=True) as conn:
            contents.append(read_content(conn, read_tables(conn)))
    assert differing(*contents) == ()


def assert_running(pair: Pair, *, expected_error: str = "") -> None:
    """All of that but equal rows: what must hold while one side still waits to be healed."""
    for side in pair.sides:
        found = errors(side.log(pair.logs[side.region.name]))
        assert [line for line in found if not expected_error or expected_error not in line] == []
        eventually(lambda s=side: _streams(s), what="a running subscription")  # type: ignore[misc]
        with connect(side.region.admin_dsn, autocommit=True) as conn:
            tables = read_tables(conn)
            assert [name for table in tables for name in broken_indexes(conn, table)] == []
            assert [reference.name for table in tables for reference in broken_references(conn, table)] == []
    assert [list(new) for new in unknown(pair) - pair.unknown] == []


def _streams(side: Side) -> bool:
    with connect(side.region.admin_dsn, autocommit=True) as conn:
        states = [subscription.state for subscription in standing(conn).subscriptions]
    return states == [State.REPLICATING]


def errors(log: str) -> list[str]:
    """The lines of a server's log that say an error which a cut link does not explain, nor a client's own statement."""
    lines = [line for line in log.splitlines() if re.search(r" (ERROR|FATAL|PANIC): ", line)]
    return [line for line in lines if not _OF_THE_CUT.search(line) and not _OF_A_CLIENT.search(line)]


def broken_indexes(conn: Connection, table: Table) -> list[str]:
    """Unique indexes whose keys occur more than once."""
    return [index.name for index in table.unique_indexes if _duplicates(conn, table, index)]


def _duplicates(conn: Connection, table: Table, index: UniqueIndex) -> bool:
    keys = sql.SQL(", ").join(sql.SQL("({})").format(sql.SQL(key)) for key in index.keys)
    given: list[sql.Composable] = [sql.SQL("true")]
    if not index.nulls_equal:
        given = [sql.SQL("({}) IS NOT NULL").format(sql.SQL(key)) for key in index.keys]
    if index.predicate:
        given.append(sql.SQL("({})").format(sql.SQL(index.predicate)))
    query = sql.SQL("SELECT FROM {} WHERE {} GROUP BY {} HAVING count(*) > 1 LIMIT 1")
    # As if the index were not there: a broken one could hide what it should show.
    conn.execute("SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off")
    found = conn.execute(query.format(table.identifier, sql.SQL(" AND ").join(given), keys)).fetchall()
    return bool(found)


def broken_references(conn: Connection, table: Table) -> list[Reference]:
    """Foreign keys of ``table`` with a child that has no parent."""
    broken = []
    for reference in table.references:
        pairs = list(zip(reference.child_columns, reference.parent_columns, strict=True))
        query = sql.SQL("SELECT FROM {} AS c LEFT JOIN {} AS p ON {} WHERE {} AND p.uuid IS NULL LIMIT 1").format(
            sql.Identifier(*reference.child),
            sql.Identifier(*reference.parent),
            sql.SQL(" AND ").join(
                sql.SQL("c.{} = p.{}").format(sql.Identifier(c), sql.Identifier(p)) for c, p in pairs
            ),
            sql.SQL(" AND ").join(sql.SQL("c.{} IS NOT NULL").format(sql.Identifier(c)) for c, _ in pairs),
        )
        if conn.execute(query).fetchall():
            broken.append(reference)
    return broken
