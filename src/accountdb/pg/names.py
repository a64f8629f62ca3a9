"""Names and expressions in statements: with parameters, in the bodies of functions, of functions themselves."""

from __future__ import annotations

import hashlib

from psycopg import sql

_MAX_IDENTIFIER_BYTES = 63


def doubled(part: sql.Composable) -> sql.SQL:
    """``part`` for a statement with parameters, in which a percent sign stands twice."""
    return sql.SQL(part.as_string().replace("%", "%%"))


def dollar_quoted(template: str, word: str, parts: dict[str, sql.Composable]) -> sql.Composed:
    """``template`` with its braces filled, of which {tag} is a dollar quote that nothing in it can end."""
    tag = f"${word}$"
    while sql.SQL(template).format(tag=sql.SQL(tag), **parts).as_string().count(tag) > 2:
        tag = f"{tag[:-1]}_$"
    return sql.SQL(template).format(tag=sql.SQL(tag), **parts)


def function_name(kind: str, schema: str, table: str) -> str:
    """The name of a table's own function in the schema accountdb: unique for each table, 63 bytes at most."""
    name = f"{kind}_{table}"
    if schema == "public" and "." not in table and len(name.encode()) <= _MAX_IDENTIFIER_BYTES:
        return name
    # A dot stands in no plain name, so a hashed name never meets one.
    return f"{kind}_.{hashlib.sha256(repr((schema, table)).encode()).hexdigest()[:40]}"


def named_in(text: str) -> str:
    """The name that a piece of SQL means: ``"Odd"`` is Odd, ``Users`` is users."""
    if text.startswith('"'):
        return text[1:-1].replace('""', '"')
    return text.lower()
