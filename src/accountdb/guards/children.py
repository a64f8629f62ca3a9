"""The parts of a guard that look after the children of a deleted row (design 4.3, 4.4). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from psycopg import sql

from accountdb.catalog.tables import Reference, Table
from accountdb.guards.template import comment_text, filled

_SET_NULL, _CASCADE = "n", "c"


def taken_along(table: Table, tables: Mapping[tuple[str, str], Table]) -> sql.Composable:
    """What the applying side does with children when a delete arrives.

    Rows of RESTRICT, NO ACTION and SET DEFAULT go too: those that the deleter knew of it has moved
    or had none, so these are unknown to it, and a delete wins.
    """
    if not table.referenced_by:
        return sql.SQL("")
    parts = (filled("child", part=_taken(reference, tables)) for reference in table.referenced_by)
    each = sql.SQL("\n        ").join(parts)
    return filled("children", each=each)


def _taken(reference: Reference, tables: Mapping[tuple[str, str], Table]) -> sql.Composed:
    child = sql.Identifier(*reference.child)
    match = _match(reference, "OLD")
    stays = _stays(reference, tables)
    if reference.on_delete == _SET_NULL and _can_be_empty(reference, tables):
        empty = [sql.SQL("{} = NULL").format(sql.Identifier(name)) for name in reference.touched]
        return filled("child_emptied", child=child, match=match, stays=stays, empty=sql.SQL(", ").join(empty))
    parts = [filled("child_deleted", child=child, match=match, constraint=comment_text(reference.name))]
    if reference.parent_columns == ("uuid",):
        column = sql.Identifier(reference.child_columns[0])
        parts.insert(0, filled("child_inherited", child=child, match=match, stays=stays, column=column))
    return sql.SQL("\n        ").join(parts)


def _stays(reference: Reference, tables: Mapping[tuple[str, str], Table]) -> sql.Composable:
    child = tables.get(reference.child)
    return filled("child_stays") if child is not None and child.column("uuid") else sql.SQL("true")


def _can_be_empty(reference: Reference, tables: Mapping[tuple[str, str], Table]) -> bool:
    child = tables.get(reference.child)
    columns = [child.column(name) for name in reference.touched] if child else []
    return all(column is not None and not column.not_null for column in columns)


def buried_along(table: Table, tables: Mapping[tuple[str, str], Table]) -> sql.Composable:
    """Tombstones of everything that a local delete takes along by ON DELETE CASCADE, to any depth."""
    paths = [_along(path) for path in _cascades(table, tables, ())]
    return filled("all_along", each=sql.SQL("\n    ").join(paths)) if paths else sql.SQL("")


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
    same = [
        sql.SQL("{}.{} OPERATOR({}.{}) {}.{}").format(
            sql.SQL(parent),
            sql.Identifier(above),
            sql.Identifier(schema),
            sql.SQL(operator),
            sql.SQL(child),
            sql.Identifier(below),
        )
        for above, (schema, operator), below in reference.equalities
    ]
    return sql.SQL(" AND ").join(same)
