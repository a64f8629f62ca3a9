"""The parts of a guard that look after the children of a deleted row (design 4.3, 4.4). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from psycopg import sql

from accountdb.catalog.tables import Reference, Table
from accountdb.guards.template import comment_text, filled

_SET_NULL, _SET_DEFAULT, _CASCADE = "n", "d", "c"


def taken_along(table: Table) -> sql.Composed:
    """What the applying side does with children when a delete arrives.

    Rows of RESTRICT and NO ACTION go too: the deleter had none, so these are unknown to it, and a
    delete wins.
    """
    return sql.SQL("\n        ").join(_taken(reference) for reference in table.referenced_by)


def _taken(reference: Reference) -> sql.Composed:
    child = sql.Identifier(*reference.child)
    match = _match(reference, "OLD")
    emptied = {_SET_NULL: "NULL", _SET_DEFAULT: "DEFAULT"}.get(reference.on_delete)
    if emptied:
        empty = [sql.SQL("{} = {}").format(sql.Identifier(name), sql.SQL(emptied)) for name in reference.child_columns]
        return filled("child_emptied", child=child, match=match, empty=sql.SQL(", ").join(empty))
    parts = [filled("child_deleted", child=child, match=match, constraint=comment_text(reference.name))]
    if reference.parent_columns == ("uuid",):
        column = sql.Identifier(reference.child_columns[0])
        parts.insert(0, filled("child_inherited", child=child, match=match, column=column))
    return sql.SQL("\n        ").join(parts)


def buried_along(table: Table, tables: Mapping[tuple[str, str], Table]) -> sql.Composed:
    """Tombstones of everything that a local delete takes along by ON DELETE CASCADE, to any depth."""
    return sql.SQL("\n    ").join(_along(path) for path in _cascades(table, tables, ()))


def _cascades(
    table: Table, tables: Mapping[tuple[str, str], Table], path: tuple[Reference, ...]
) -> Iterator[tuple[Reference, ...]]:
    """The ways down, nearest first; a way never leads through one foreign key twice."""
    for reference in table.referenced_by:
        child = tables.get(reference.child)
        if reference.on_delete == _CASCADE and child is not None and reference not in path:
            longer = (*path, reference)
            yield longer
            yield from _cascades(child, tables, longer)


def _along(path: tuple[Reference, ...]) -> sql.Composed:
    """One way down: the last child is c, the tables between are c1, c2, ..."""
    names = [f"c{position}" for position in range(1, len(path))] + ["c"]
    joined: sql.Composable = sql.SQL("{} AS {}").format(sql.Identifier(*path[0].child), sql.SQL(names[0]))
    for reference, name, above in zip(path[1:], names[1:], names, strict=False):
        joined = sql.SQL("{} JOIN {} AS {} ON {}").format(
            joined, sql.Identifier(*reference.child), sql.SQL(name), _match(reference, above, name)
        )
    return filled(
        "along",
        child_schema=sql.Literal(path[-1].child[0]),
        child_table=sql.Literal(path[-1].child[1]),
        joined=joined,
        match=_match(path[0], "OLD", names[0]),
    )


def _match(reference: Reference, parent: str, child: str = "c") -> sql.Composed:
    pairs = zip(reference.child_columns, reference.parent_columns, strict=True)
    same = [
        sql.SQL("{}.{} = {}.{}").format(sql.SQL(child), sql.Identifier(c), sql.SQL(parent), sql.Identifier(p))
        for c, p in pairs
    ]
    return sql.SQL(" AND ").join(same)
