"""The kinds of objects that are compared, in the order of output, and what is not compared.

A kind is one file ``sql/drift/<kind>.sql`` with a block ``read`` that gives the columns schema,
owner (the table or view it belongs to, or NULL), name and definition (a JSON object of attributes).
To add a kind: add its file and its name here; if its objects belong to a table, its name in
``structure.OWNED_KINDS`` too.
"""

from __future__ import annotations

from dataclasses import dataclass

KINDS = (
    "enum",
    "domain",
    "sequence",
    "table",
    "column",
    "constraint",
    "index",
    "trigger",
    "view",
    "function",
)


@dataclass(frozen=True)
class NotCompared:
    """Something that a comparison did not look at, and why."""

    what: str
    why: str


_NO_READER = "no reader for this kind yet"

NOT_COMPARED = (
    NotCompared("extensions and what they contain", "their version decides what they contain"),
    NotCompared("materialised views, foreign tables, composite types, aggregates", _NO_READER),
    NotCompared("rules, policies and row security, extended statistics", _NO_READER),
    NotCompared("grants, owners, comments", _NO_READER),
    NotCompared("publications, subscriptions, replication sets, replica identity", _NO_READER),
    NotCompared("storage: tablespaces, parameters, TOAST, compression", "it changes speed, not results"),
    NotCompared("the order of columns, attribute numbers, sequence values", "not structure"),
    NotCompared("names of NOT NULL constraints", "only PostgreSQL 18 and later have them"),
    NotCompared("other schemas", "only the account schemas are compared"),
)
