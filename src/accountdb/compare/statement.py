"""The pieces that the statements of a comparison share. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from accountdb.compare import columns
from accountdb.compare.model import Key, Shape
from accountdb.pg.names import doubled


def bounds_expression(shape: Shape, bounds: Sequence[Key]) -> sql.Composable:
    """``bounds`` as the array that width_bucket takes. Their order is that of the key."""
    if len(shape.key) == 1:
        literal = sql.Literal([bound[0] for bound in bounds]) + sql.SQL("::text[]")
        return doubled(literal + sql.SQL("::{}[]").format(sql.SQL(columns.key_type(shape.key[0]))))
    names = [f"k{n}" for n in range(len(shape.key))]
    arrays = [sql.Literal([bound[n] for bound in bounds]) + sql.SQL("::text[]") for n in range(len(shape.key))]
    row = sql.SQL("ROW({})").format(
        sql.SQL(", ").join(columns.key_value(c, sql.SQL("w." + n)) for c, n in zip(shape.key, names, strict=True))
    )
    return sql.SQL(
        "(SELECT coalesce(array_agg({row} ORDER BY {row}), '{{}}') FROM unnest({arrays}) AS w ({names}))"
    ).format(
        row=row,
        arrays=sql.SQL(", ").join(map(doubled, arrays)),
        names=sql.SQL(", ").join(map(sql.Identifier, names)),
    )


def key_expression(shape: Shape) -> sql.Composable:
    """What the rows of a table are ordered by."""
    parts = [columns.key(column) for column in shape.key]
    return parts[0] if len(parts) == 1 else sql.SQL("ROW({})").format(sql.SQL(", ").join(parts))


def key_texts(shape: Shape) -> sql.Composable:
    """The columns of the key as text."""
    return sql.SQL(", ").join(
        columns.key_text(column) + sql.SQL(" AS ") + sql.Identifier(f"k{n}") for n, column in enumerate(shape.key)
    )


def condition(where: str | None) -> sql.Composable:
    """The user's condition, on lines of its own: a comment in it ends there."""
    return sql.SQL("true") if where is None else sql.SQL("\n{}\n").format(doubled(sql.SQL(where)))
