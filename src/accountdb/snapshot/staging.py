"""The rows of a snapshot in staging tables: of the types of the account tables, without any of their constraints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby

import psycopg
from psycopg import sql

from accountdb.catalog.tables import Table
from accountdb.compare.model import Watch
from accountdb.contract.masking import printable
from accountdb.errors import AccountdbError, UsageError
from accountdb.pg.connect import Connection, one_line
from accountdb.pg.names import doubled
from accountdb.snapshot.model import Header, Values
from accountdb.snapshot.selecting import USERS, Selection
from accountdb.snapshot.structure import Structure
from accountdb.sql import block

FILE = "snapshot/import.sql"
_MOST = 10
_CONTEXT = re.compile(r"line (?P<line>\d+)(?:, column (?P<column>.+?): \")?")


class Staged:
    """The staging tables of one transaction."""

    def __init__(self, conn: Connection, structure: Structure) -> None:
        """Makes them, empty."""
        self.conn, self.structure = conn, structure
        self._numbers = {table.name: n for n, table in enumerate(structure.tables)}
        for table in structure.tables:
            statement = sql.SQL(block(FILE, "stage")).format(
                new=sql.Identifier(self._name(table)), columns=names("t.", written(table)), table=table.identifier
            )
            conn.execute(statement)

    def stage(self, table: Table) -> sql.Identifier:
        """The staging table."""
        return sql.Identifier("pg_temp", self._name(table))

    def verdicts_name(self, table: Table) -> str:
        """The name of the table's verdicts."""
        return f"accountdb_verdict_{self._numbers[table.name]}"

    def verdicts(self, table: Table) -> sql.Identifier:
        """The table's verdicts."""
        return sql.Identifier("pg_temp", self.verdicts_name(table))

    def _name(self, table: Table) -> str:
        return f"accountdb_snapshot_{self._numbers[table.name]}"

    def receive(
        self, name: str, header: Header, rows: Iterable[tuple[str, list[Values]]], watch: Watch
    ) -> dict[str, int]:
        """Take all rows in. Returns how many there are of each table. ``name`` is how messages call the file."""
        counts = {table.name: 0 for table in header.tables}
        tables = {table.name: table for table in self.structure.tables}
        for title, batches in groupby(rows, key=lambda found: found[0]):
            watch.stage(f"reading {printable(title)}")
            shape = header.table(title)
            assert shape is not None
            statement = sql.SQL(block(FILE, "receive")).format(
                stage=self.stage(tables[title]), columns=names("", shape.written)
            )
            before = counts[title]
            with _told(name, title, before), self.conn.cursor() as cursor, cursor.copy(statement) as copy:
                for _, batch in batches:
                    copy.write(_copied(batch))
                    counts[title] += len(batch)
                    watch.advance(len(batch))
        return counts

    def ready(self, name: str) -> None:
        """Have keys, and statistics, on all of them. Raises AccountdbError for a row that is there twice."""
        for table in self.structure.tables:
            try:
                self._run("key", table)
            except psycopg.errors.UniqueViolation as error:
                detail = one_line(error.diag.message_detail or "")
                raise AccountdbError(f"{name}: {table.name} has a row twice: {detail}") from None
            self._run("analyze", table)

    def choose(self, name: str, users: Sequence[str]) -> None:
        """Keep those users and what refers to them. Raises UsageError for users that the snapshot has not."""
        by_name = {table.name: table for table in self.structure.tables}
        selection = Selection(self.conn, self.structure.tables, lambda table: doubled(self.stage(table)))
        statement = sql.SQL(block(FILE, "absent")).format(stage=self.stage(by_name[USERS]))
        absent = [uuid for (uuid,) in self.conn.execute(statement, {"users": list(users)})]
        if absent:
            more = f" and {len(absent) - _MOST} more" if len(absent) > _MOST else ""
            raise UsageError(
                f"{name} has no user {', '.join(absent[:_MOST])}{more}",
                hint="--merge-allowlist takes uuids of its users",
            )
        selection.by_uuid(users)
        for table in self.structure.tables:
            self._run("discard", table, wanted=selection.wanted(table))
            self._run("analyze", table)

    def _run(self, heading: str, table: Table, **parts: sql.Composable) -> None:
        self.conn.execute(sql.SQL(block(FILE, heading)).format(stage=self.stage(table), **parts))


def written(table: Table) -> list[str]:
    """The columns that rows carry."""
    return [column.name for column in table.columns if not column.generated]


def names(prefix: str, columns: Iterable[str]) -> sql.Composed:
    """Columns for a statement without parameters."""
    return sql.SQL(", ").join(sql.SQL(prefix) + sql.Identifier(name) for name in columns)


_NULL = "\0"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_SPECIAL = re.compile(r"[\\\t\n\r\0]")


def _copied(batch: Sequence[Values]) -> bytes:
    """Rows of one width in the text format of COPY. Raises ValueError for what no text can hold."""
    text = "\n".join(["\t".join([_NULL if value is None else value for value in values]) for values in batch])
    nulls = sum([values.count(None) for values in batch])
    plain = (
        "\\" not in text
        and "\r" not in text
        and text.count("\n") == len(batch) - 1
        and text.count("\t") == len(batch) * (len(batch[0]) - 1)
        and text.count(_NULL) == nulls
    )
    if plain:
        return (text.replace(_NULL, "\\N") + "\n").encode()
    # Value by value where one of them needs it.
    lines = ["\t".join(["\\N" if value is None else _escaped(value) for value in values]) for values in batch]
    return ("\n".join(lines) + "\n").encode()


def _escaped(value: str) -> str:
    if _SPECIAL.search(value) is None:
        return value
    if _NULL in value:
        raise ValueError("a NUL character, which no text may have")
    return value.translate(_ESCAPES)


@contextmanager
def _told(name: str, table: str, before: int) -> Iterator[None]:
    """What the server does not take, with the row's number."""
    try:
        yield
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise AccountdbError(
            f"{name}: {_place(error, table, before)}: {error.diag.message_primary or 'not a value of its type'}",
            hint="nothing was written",
        ) from None
    except (UnicodeError, ValueError) as error:
        what = "text that is not Unicode" if isinstance(error, UnicodeError) else str(error)
        raise AccountdbError(f"{name}: {table} has {what}", hint="nothing was written") from None


def _place(error: psycopg.Error, table: str, before: int) -> str:
    """``row 7 of users, column level``, out of what COPY says where it was."""
    context = error.diag.context or ""
    found = _CONTEXT.search(context)
    if found is None:
        return table
    column = f", column {found['column']}" if found["column"] else ""
    return f"row {before + int(found['line'])} of {table}{column}"


def mapping_of(tables: Sequence[Table]) -> Mapping[tuple[str, str], Table]:
    """Tables by schema and name."""
    return {(table.schema, table.name): table for table in tables}
