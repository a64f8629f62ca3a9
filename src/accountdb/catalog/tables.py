"""The shape of tables, read from the catalog in one pass for each schema."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql
from psycopg.rows import TupleRow

from accountdb.pg import session
from accountdb.pg.connect import Connection
from accountdb.sql import block

_FILE = "catalog/tables.sql"
_BLOCKS = (
    "generated",
    "columns",
    "primary_keys",
    "row_triggers",
    "checked_columns",
    "unique_indexes",
    "references",
)


@dataclass(frozen=True)
class Column:
    """One column. ``default`` is the expression's text, of a generated column too; None where there is none.

    ``bases`` are the columns that a generated one is made of, ``domain_of`` is the type under a domain.
    """

    name: str
    type: str
    not_null: bool
    generated: bool
    identity: bool
    default: str | None
    uses_sequence: bool
    bases: tuple[str, ...] = ()
    domain_of: str | None = None
    identity_always: bool = False
    """Whether it is an identity to which no UPDATE may give a value."""

    @property
    def base_type(self) -> str:
        """The type, and of a domain the one that it is made of."""
        return self.domain_of or self.type


@dataclass(frozen=True)
class RowTrigger:
    """A BEFORE UPDATE row trigger. ``mode`` is O (origin), D (disabled), R (replica) or A (always)."""

    name: str
    function: str
    mode: str


@dataclass(frozen=True)
class UniqueIndex:
    """A unique index other than the primary key.

    ``keys`` are the expressions as SQL text, each with the ``operators`` (schema, name) that its
    operator class calls equal. ``columns`` are all that keys and ``predicate`` are made of.
    """

    name: str
    keys: tuple[str, ...]
    operators: tuple[tuple[str, str], ...]
    predicate: str | None
    columns: tuple[str, ...]
    nulls_equal: bool
    comment: str | None
    immediate: bool = True


@dataclass(frozen=True)
class Reference:
    """A foreign key. ``on_delete`` is a (no action), r (restrict), c (cascade), n (set null) or d (set default).

    ``emptied`` are the columns that SET NULL and SET DEFAULT touch: all of the child's where empty.
    ``operators`` (schema, name) compare parent with child, in this order.
    """

    name: str
    child: tuple[str, str]
    child_columns: tuple[str, ...]
    parent: tuple[str, str]
    parent_columns: tuple[str, ...]
    on_delete: str
    emptied: tuple[str, ...] = ()
    operators: tuple[tuple[str, str], ...] = ()
    deferrable: bool = False

    @property
    def touched(self) -> tuple[str, ...]:
        """The child's columns that SET NULL and SET DEFAULT touch."""
        return self.emptied or self.child_columns

    @property
    def equalities(self) -> tuple[tuple[str, tuple[str, str], str], ...]:
        """Parent column, operator, child column for each pair."""
        operators = self.operators or (("pg_catalog", "="),) * len(self.child_columns)
        return tuple(zip(self.parent_columns, operators, self.child_columns, strict=True))


@dataclass(frozen=True)
class Table:
    """One ordinary or partitioned table. ``references`` start here, ``referenced_by`` end here.

    ``checked`` are the columns of CHECK and EXCLUDE constraints.
    """

    schema: str
    name: str
    owner: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    row_triggers: tuple[RowTrigger, ...]
    unique_indexes: tuple[UniqueIndex, ...] = ()
    references: tuple[Reference, ...] = ()
    referenced_by: tuple[Reference, ...] = ()
    checked: tuple[str, ...] = ()

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
        with session.pipelined(conn):
            asked = {name: conn.execute(*question) for name, question in questions(schema).items()}
        found = {name: cursor.fetchall() for name, cursor in asked.items()}
    return tables(schema, found)


def questions(schema: str = "public") -> dict[str, tuple[LiteralString, dict[str, str]]]:
    """What ``read_tables`` asks, for a session whose search_path is pg_catalog alone."""
    return {name: (block(_FILE, name), {"schema": schema}) for name in _BLOCKS}


def tables(schema: str, rows: Mapping[str, list[TupleRow]]) -> tuple[Table, ...]:
    """All tables of ``schema`` out of the answers to ``questions``."""
    bases = {(table, column): tuple(names or ()) for table, column, names in rows["generated"]}
    columns: dict[str, list[Column]] = {}
    owners: dict[str, str] = {}
    for table, owner, name, type_, not_null, generated, identity, default, sequence, domain_of in rows["columns"]:
        owners[table] = owner
        found = columns.setdefault(table, [])
        if name is not None:
            made_of = bases.get((table, name), ())
            found.append(
                Column(
                    name,
                    type_,
                    not_null,
                    generated != "",
                    identity != "",
                    default,
                    sequence,
                    made_of,
                    domain_of,
                    identity == "a",
                )
            )
    keys = {table: tuple(names) for table, names in rows["primary_keys"]}
    triggers: defaultdict[str, list[RowTrigger]] = defaultdict(list)
    for table, name, function, mode in rows["row_triggers"]:
        triggers[table].append(RowTrigger(name, function, mode))
    checked = {table: tuple(names) for table, names in rows["checked_columns"]}
    indexes = _unique_indexes(rows)
    references = _references(rows)
    return tuple(
        Table(
            schema,
            name,
            owners[name],
            tuple(found),
            keys.get(name, ()),
            tuple(triggers[name]),
            tuple(indexes[name]),
            tuple(r for r in references if r.child == (schema, name)),
            tuple(r for r in references if r.parent == (schema, name)),
            checked.get(name, ()),
        )
        for name, found in sorted(columns.items())
    )


def _unique_indexes(rows: Mapping[str, list[TupleRow]]) -> defaultdict[str, list[UniqueIndex]]:
    found: defaultdict[str, list[UniqueIndex]] = defaultdict(list)
    for table, name, keys, operators, schemas, predicate, columns, nulls_equal, comment, immediate in rows[
        "unique_indexes"
    ]:
        equal = tuple(zip(schemas, operators, strict=True))
        found[table].append(
            UniqueIndex(name, tuple(keys), equal, predicate, tuple(columns), nulls_equal, comment, immediate)
        )
    return found


def _references(rows: Mapping[str, list[TupleRow]]) -> list[Reference]:
    return [
        Reference(
            name,
            (schema, child),
            tuple(columns),
            (parent_schema, parent),
            tuple(parent_columns),
            on_delete,
            tuple(emptied or ()),
            tuple(zip(operator_schemas, operators, strict=True)),
            deferrable,
        )
        for (
            name,
            schema,
            child,
            columns,
            parent_schema,
            parent,
            parent_columns,
            on_delete,
            emptied,
            operator_schemas,
            operators,
            deferrable,
        ) in rows["references"]
    ]
