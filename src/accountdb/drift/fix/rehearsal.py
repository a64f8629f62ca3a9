"""The rows of a rehearsal: some of each table, taken to a scratch database, looked at before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from psycopg import sql

from accountdb.drift.fix import names
from accountdb.drift.fix.model import Fix, Label
from accountdb.drift.structure import Identity, Structure
from accountdb.errors import AccountdbError
from accountdb.pg.connect import Connection

ROWS = 1000
_Table: TypeAlias = tuple[str, str]
_Rows: TypeAlias = "Counter[tuple[Any, ...]]"


@dataclass(frozen=True)
class Watched:
    """What of a table must stay: the values of ``columns``, and of ``filled`` whether there is one."""

    table: _Table
    columns: tuple[str, ...]
    filled: tuple[str, ...]


def tables(structure: Structure) -> list[_Table]:
    """The tables that hold rows themselves."""
    return [
        (one.schema, one.name)
        for one, definition in structure.objects.items()
        if one.kind == "table" and definition["form"] == "table"
    ]


def columns(structure: Structure, table: _Table) -> dict[str, Identity]:
    """The columns of a table that hold a value of their own."""
    return {
        one.leaf: one
        for one, definition in structure.objects.items()
        if one.kind == "column" and (one.schema, one.owner) == table and "generated" not in definition
    }


def watched(target: Structure, wanted: Structure, fix: Fix) -> list[Watched]:
    """The values that a fix has to leave as they are. Pure."""
    lossy = {part for one in fix.loses for part in one.objects}
    rebuilt = {part for one in fix.statements if one.label is Label.REWRITES for part in one.objects}
    out = []
    for table in tables(target):
        if Identity("table", *table) in lossy or Identity("table", *table) not in wanted.objects:
            continue
        before, after = columns(target, table), columns(wanted, table)
        kept = [name for name in before if name in after and before[name] not in lossy]
        moved = [n for n in kept if _type(target, before[n]) != _type(wanted, after[n]) or before[n] in rebuilt]
        same = [n for n in kept if _type(target, before[n]) == _type(wanted, after[n])]
        out.append(Watched(table, tuple(same), tuple(name for name in moved if name not in same)))
    return out


def _type(structure: Structure, column: Identity) -> object:
    return structure.objects[column].get("type")


def copy(source: Connection, scratch: Connection, structure: Structure) -> int:
    """Up to ``ROWS`` rows of each table; how many there were. Raises psycopg.Error."""
    total = 0
    for table in tables(structure):
        listed = sql.SQL(", ").join(map(sql.Identifier, columns(structure, table)))
        if not listed.as_string():
            continue
        name = sql.Identifier(*table)
        out = sql.SQL("COPY (SELECT {} FROM ONLY {} LIMIT {}) TO STDOUT").format(listed, name, sql.Literal(ROWS))
        into = sql.SQL("COPY {} ({}) FROM STDIN").format(name, listed)
        with source.cursor() as reader, scratch.cursor() as writer:
            with reader.copy(out) as read, writer.copy(into) as write:
                for chunk in read:
                    write.write(chunk)
            total += max(writer.rowcount, 0)
    return total


def drop_orphans(conn: Connection, structure: Structure) -> int:
    """Delete rows whose parents are not among those that were copied; how many."""
    total = 0
    keys = [
        (one, names.inside(str(definition["definition"])), str(definition["definition"]).partition(" REFERENCES ")[2])
        for one, definition in structure.objects.items()
        if one.kind == "constraint" and str(definition["definition"]).startswith("FOREIGN KEY")
    ]
    while True:
        gone = 0
        for one, own, target in keys:
            mine, theirs = names.elements(own or ""), names.elements(names.inside(target) or "")
            parent = names.name(*names.pairs_in_order(target)[0])
            filled = " AND ".join(f"c.{column} IS NOT NULL" for column in mine)
            equal = " AND ".join(f"p.{b} = c.{a}" for a, b in zip(mine, theirs, strict=True))
            child = names.name(one.schema, one.owner or "")
            query = names.filled(_ORPHANS, child=child, parent=parent, filled=filled, equal=equal)
            gone += conn.execute(query.encode()).rowcount
        if not gone:
            return total
        total += gone


_ORPHANS = "DELETE FROM {child} AS c WHERE {filled} AND NOT EXISTS (SELECT FROM {parent} AS p WHERE {equal})"


def contents(conn: Connection, watching: Iterable[Watched]) -> dict[_Table, _Rows]:
    """What is watched, as it stands."""
    out: dict[_Table, _Rows] = {}
    for one in watching:
        values = [sql.SQL("{}::text").format(sql.Identifier(name)) for name in one.columns]
        values += [sql.SQL("{} IS NOT NULL").format(sql.Identifier(name)) for name in one.filled]
        listed = sql.SQL(", ").join(values or [sql.SQL("1").format()])
        query = sql.SQL("SELECT {} FROM ONLY {}").format(listed, sql.Identifier(*one.table))
        out[one.table] = Counter(conn.execute(query).fetchall())
    return out


def survived(before: Mapping[_Table, _Rows], after: Mapping[_Table, _Rows]) -> None:
    """Raise AccountdbError for the first table whose rows are not what they were. Pure."""
    for table, rows in before.items():
        if rows != after.get(table):
            changed = sum((rows - after.get(table, Counter())).values())
            raise AccountdbError(
                f"table {'.'.join(table)}: {changed} of {sum(rows.values())} rows are not what they were after the fix",
                hint="--fix-sql FILE writes the statements, to be changed by hand",
            )
