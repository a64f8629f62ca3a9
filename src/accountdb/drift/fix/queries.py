"""The query of a view as a server takes it again, where only a structure is known. Pure.

It cannot know what a name in a subquery means that both tables have: see ``model.Facts.queries``.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise

from accountdb.drift.fix import names

# A structure writes a query of one table without the table's name before columns; this is how it finds that name.
from accountdb.drift.normal import lone_alias
from accountdb.script.lexer import Token, tokens

_BEFORE_A_ROW = frozenset({"(", ",", "[", "=", "<", ">"})


def runnable(text: str, schemas: Collection[str]) -> str:
    """``text`` of a structure with the name of its only table wherever it cannot be done without.

    That is before each ``*`` that stands for the whole row; and where the table is called by the name of
    one of ``schemas``, before the table itself.
    """
    parts = list(tokens(names.executable(text.strip().rstrip(";"))))
    alias = lone_alias([token.text for token in parts])
    if alias is None:
        return "".join(token.text for token in parts)
    loud = [token for token in parts if not token.silent]
    rows = {
        after.start
        for (before, last), after in zip(pairwise([loud[0], *loud]), loud[1:], strict=False)
        if after.text == "*" and _is_row(before, last)
    }
    if alias in schemas:
        rows |= {table.start for table in _bare_tables(loud, alias)}
    return "".join(f"{alias}.{token.text}" if token.start in rows else token.text for token in parts)


def _is_row(second_last: Token, last: Token) -> bool:
    """Whether a ``*`` after these tokens is a whole row: not a product, and not that of count(*)."""
    if last.text == "(" and second_last.text == "count":
        return False
    # The server writes key words in capitals, and names that have capitals in quotes.
    return last.text in _BEFORE_A_ROW or (last.kind == "word" and last.text.isupper())


def _bare_tables(loud: list[Token], alias: str) -> list[Token]:
    triples = zip(loud, loud[1:], loud[2:], strict=False)
    return [table for word, table, name in triples if word.text in ("FROM", "ONLY") and name.text == alias]
