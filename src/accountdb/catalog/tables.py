"""The shape of tables, read from the catalog in one pass for each schema."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from psycopg import sql

from accountdb.pg.connect import Connection
from accountdb.sql import block

_FILE = "catalog/tables.sql"


@dataclass(frozen=True)
class Column:
    """One column. ``default`` is the expression's text; None where there is none."""

    name: str
    type: str
    not_null: bool
    generated: bool
    identity: bool
    default: str | None
    uses_sequence: bool


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
    def generated(self) -> tuple[str, ...]:
        """Names of the generated columns."""
        return tuple(column.name for column in self.columns if column.generated)


def read_tables(conn: Connection, schema: str = "public") -> tuple[Table, ...]:
    """All tables of ``schema`` in name order; partitions count with their parent."""
    columns: dict[str, list[Column]] = {}
    owners: dict[str, str] = {}
    params = {"schema": schema}
    for table, owner, name, type_, not_null, generated, identity, default, sequence in conn.execute(
        block(_FILE, "columns"), params
    ):
        owners[table] = owner
        found = columns.setdefault(table, [])
        if name is not None:
            found.append(Column(name, type_, not_null, generated != "", identity != "", default, sequence))
    keys = {table: tuple(names) for table, names in conn.execute(block(_FILE, "primary_keys"), params)}
    triggers: defaultdict[str, list[RowTrigger]] = defaultdict(list)
    for table, name, function, mode in conn.execute(block(_FILE, "row_triggers"), params):
        triggers[table].append(RowTrigger(name, function, mode))
    return tuple(
        Table(schema, name, owners[name], tuple(found), keys.get(name, ()), tuple(triggers[name]))
        for name, found in sorted(columns.items())
    )
