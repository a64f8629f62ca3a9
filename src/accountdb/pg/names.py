"""Names and expressions in statements that have parameters."""

from __future__ import annotations

from psycopg import sql


def doubled(part: sql.Composable) -> sql.SQL:
    """``part`` for a statement with parameters, in which a percent sign stands twice."""
    return sql.SQL(part.as_string().replace("%", "%%"))
