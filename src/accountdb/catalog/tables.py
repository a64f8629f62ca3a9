"""The shape of tables, read from the catalog in one pass for each schema."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from psycopg import sql

from accountdb.pg import session
from accountdb.pg.connect import Connection
from accountdb.sql import block

_FILE = "catalog/tables.sql"


@dataclass(frozen=True)
class Column:
    """One column. ``default`` is the expression's text, of a generated column too; None where there is none.

    ``bases`` are the columns that a generated one is made of.
    """

    name: str
    type: str
    not_null: bool
    generated: bool
    identity: bool
    default: str | None
    uses_sequence: bool
    bases: tuple[str, ...] = ()


@dataclass(frozen=True)
class RowTrigger:
    """A BEFORE UPDATE row trigger. ``mode`` is O (origin), D (disabled), R (replica) or A (always)."""

    name: str
    function: str
    mode: str


@dataclass(frozen=True)
class Table:
    """One ordinary or partitioned table."""

    schema: str
    name: str
    owner: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    row_triggers: tuple[RowTrigger, ...]

    @property
    def identifier(self) -> sql.Identifier:
        """The qualified name for composed SQL."""
        return sql.Identifier(self.schema, self.name)

    def column(self, name: str) -> Column | None:
        """The column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def generated(self) -> tuple[Column, ...]:
        """The generated columns."""
        return tuple(column for column in self.columns if column.generated)


def read_tables(conn: Connection, schema: str = "public") -> tuple[Table, ...]:
    """All tables of ``schema`` in name order; partitions count with their parent.

    Expressions come with every name qualified.
    """
    with session.pinned_search_path(conn):
        return _read_tables(conn, {"schema": schema})


def _read_tables(conn: Connection, params: dict[str, str]) -> tuple[Table, ...]:
    bases = {
        (table, column): tuple(names or ()) for table, column, names in conn.execute(block(_FILE, "generated"), params)
    }
    columns: dict[str, list[Column]] = {}
    owners: dict[str, str] = {}
    for table, owner, name, type_, not_null, generated, identity, default, sequence in conn.execute(
        block(_FILE, "columns"), params
    ):
        owners[table] = owner
        found = columns.setdefault(table, [])
        if name is not None:
            made_of = bases.get((table, name), ())
            found.append(Column(name, type_, not_null, generated != "", identity != "", default, sequence, made_of))
    keys = {table: tuple(names) for table, names in conn.execute(block(_FILE, "primary_keys"), params)}
    triggers: defaultdict[str, list[RowTrigger]] = defaultdict(list)
    for table, name, function, mode in conn.execute(block(_FILE, "row_triggers"), params):
        triggers[table].append(RowTrigger(name, function, mode))
    return tuple(
        Table(params["schema"], name, owners[name], tuple(found), keys.get(name, ()), tuple(triggers[name]))
        for name, found in sorted(columns.items())
    )
