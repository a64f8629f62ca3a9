"""The structure that a snapshot was taken of, and how another one differs from it. Pure but for the reading."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from psycopg import sql

from accountdb.catalog.order import parents_first
from accountdb.catalog.tables import Table, read_tables
from accountdb.compare.session import FILE
from accountdb.contract.masking import printable
from accountdb.contract.row_contract import candidates, violations
from accountdb.errors import AccountdbError, Refused
from accountdb.pg.connect import Connection
from accountdb.snapshot.model import ColumnShape, Header, TableShape
from accountdb.sql import block

_MOST = 20


@dataclass(frozen=True)
class Structure:
    """The account tables of one database, parents first; ``outside`` are the others, with what they lack."""

    tables: tuple[Table, ...]
    outside: Mapping[str, tuple[str, ...]]
    partitioned: frozenset[tuple[str, str]]

    def own(self, table: Table) -> sql.Composable:
        """What a table's rows are read from: without tables that inherit, of whose rows its key says nothing."""
        name = (table.schema, table.name)
        return table.identifier if name in self.partitioned else sql.SQL("ONLY ") + table.identifier


def read_structure(conn: Connection) -> Structure:
    """The account tables: all of public under the row contract. Raises AccountdbError where there is none."""
    known = candidates(read_tables(conn))
    faults = {table.name: violations(table) for table in known}
    tables = parents_first([table for table in known if not faults[table.name]])
    if not tables:
        why = "; ".join(f"{name}: {found[0]}" for name, found in faults.items()) or "public has no table"
        raise AccountdbError(f"there is no account table here ({why})", hint="migratectl migrate makes them")
    partitioned = frozenset((schema, name) for schema, name in conn.execute(block(FILE, "partitioned")).fetchall())
    return Structure(tuple(tables), {name: found for name, found in faults.items() if found}, partitioned)


def shape_of(table: Table) -> TableShape:
    """A table as the header tells it."""
    columns = (ColumnShape(c.name, c.type, c.not_null, c.generated) for c in table.columns)
    return TableShape(table.name, tuple(columns))


def fingerprint(tables: Iterable[TableShape]) -> str:
    """The SHA-256 of the structure, whatever the order of tables and columns."""
    plain = {t.name: sorted((asdict(c) for c in t.columns), key=lambda c: str(c["name"])) for t in tables}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def check_same(header: Header, tables: Sequence[Table]) -> None:
    """Raises Refused, which names what differs, where the database has another structure than the snapshot."""
    found = differences(header.tables, [shape_of(table) for table in tables])
    if found:
        more = f"; and {len(found) - _MOST} more" if len(found) > _MOST else ""
        raise Refused(
            f"the snapshot is of another structure: {printable('; '.join(found[:_MOST]))}{more}",
            hint="bring the database to the structure of the snapshot: migratectl migrate, or migrate --to N",
        )


def differences(snapshot: Iterable[TableShape], here: Iterable[TableShape]) -> list[str]:
    """What differs, each as one phrase. The order of tables and columns is none."""
    theirs, ours = ({table.name: table for table in side} for side in (snapshot, here))
    found = [f"table {name} is not in the database" for name in theirs if name not in ours]
    found += [f"table {name} is not in the snapshot" for name in ours if name not in theirs]
    for name in theirs.keys() & ours.keys():
        found += _columns(name, theirs[name].columns, ours[name].columns)
    return sorted(found)


def _columns(table: str, snapshot: Sequence[ColumnShape], here: Sequence[ColumnShape]) -> list[str]:
    theirs, ours = ({column.name: column for column in side} for side in (snapshot, here))
    found = [f"{table}.{name} is not in the database" for name in theirs if name not in ours]
    found += [f"{table}.{name} is not in the snapshot" for name in ours if name not in theirs]
    for name in theirs.keys() & ours.keys():
        if theirs[name] != ours[name]:
            found.append(f"{table}.{name} is {_told(ours[name])}, in the snapshot {_told(theirs[name])}")
    return found


def _told(column: ColumnShape) -> str:
    null = " NOT NULL" if column.not_null else ""
    return f"{column.type}{null}{' GENERATED' if column.generated else ''}"
