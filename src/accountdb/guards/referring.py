"""The part of a guard that looks for the parents of an incoming row (design 4.4). Pure."""

from __future__ import annotations

from psycopg import sql

from accountdb.catalog.tables import Reference, Table
from accountdb.guards.template import comment_text, filled, names_of


def checks(table: Table) -> sql.Composed:
    """One check for each foreign key of ``table``."""
    return sql.SQL("\n            ").join(_check(table, reference) for reference in table.references)


def _check(table: Table, reference: Reference) -> sql.Composed:
    match = [
        sql.SQL("p.{} OPERATOR({}.{}) incoming.{}").format(
            sql.Identifier(parent), sql.Identifier(schema), sql.SQL(operator), sql.Identifier(child)
        )
        for parent, (schema, operator), child in reference.equalities
    ]
    given = [sql.SQL("incoming.{} IS NOT NULL").format(sql.Identifier(name)) for name in reference.child_columns]
    if reference.parent == reference.child:
        given.append(_not_itself(reference))
    return filled(
        "reference",
        constraint=comment_text(reference.name),
        given=sql.SQL(" AND ").join(given),
        parent=sql.Identifier(*reference.parent),
        match=sql.SQL(" AND ").join(match),
        missing=_missing(table, reference),
    )


def _not_itself(reference: Reference) -> sql.Composed:
    """A row may refer to itself, before it is there."""
    same = [
        sql.SQL("incoming.{} OPERATOR({}.{}) incoming.{}").format(
            sql.Identifier(parent), sql.Identifier(schema), sql.SQL(operator), sql.Identifier(child)
        )
        for parent, (schema, operator), child in reference.equalities
    ]
    return sql.SQL("NOT ({})").format(sql.SQL(" AND ").join(same))


def _missing(table: Table, reference: Reference) -> sql.Composed:
    """What becomes of a row whose parent is not here."""
    by_uuid = reference.parent_columns == ("uuid",)
    value = sql.SQL("incoming.{}").format(sql.Identifier(reference.child_columns[0]))
    names = {
        **names_of(table),
        "value": value if by_uuid else sql.SQL("NULL::uuid"),
        "parent": sql.Identifier(*reference.parent),
        "parent_schema": sql.Literal(reference.parent[0]),
        "parent_table": sql.Literal(reference.parent[1]),
        "constraint_name": sql.Literal(reference.name),
    }
    if reference.on_delete == "n" and all(_nullable(table, name) for name in reference.touched):
        empty = [sql.SQL("incoming.{} := NULL;").format(sql.Identifier(name)) for name in reference.touched]
        otherwise = filled("reference_emptied", empty=sql.SQL(" ").join(empty))
    else:
        unknown = filled("parent_may_follow" if reference.deferrable else "parent_unknown", **names)
        otherwise = filled("reference_parked", parent_unknown=unknown, **names)
    if not by_uuid:
        return otherwise
    return filled("reference_inherited", otherwise=otherwise, parent_column=sql.Identifier("uuid"), **names)


def _nullable(table: Table, name: str) -> bool:
    column = table.column(name)
    return column is not None and not column.not_null
