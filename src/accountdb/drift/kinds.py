"""The kinds of objects that are compared, in the order of output, and what is not compared.

A kind is one file ``sql/drift/<kind>.sql`` with a block ``read`` that gives the columns schema,
owner (the table or view it belongs to, or NULL), name, definition (a JSON object of attributes),
id and part (its oid, and of a column its number: what comments and grants hang on). A block
``read_before_<version>`` takes its place on a server below that version.
To add a kind: add its file and its name here, with its catalog; if its objects belong to a table,
its name in ``structure.OWNED_KINDS`` too.

Attributes of every kind are ``comment`` and one ``grant to ROLE`` for each role that was granted
something (see ``structure.grantee``), as sorted privileges, ``*`` behind one with grant option.
"""

from __future__ import annotations

from dataclasses import dataclass

CATALOGS = {
    "schema": "pg_namespace",
    "extension": "pg_extension",
    "enum": "pg_type",
    "domain": "pg_type",
    "composite": "pg_type",
    "sequence": "pg_class",
    "table": "pg_class",
    "column": "pg_class",
    "constraint": "pg_constraint",
    "index": "pg_class",
    "statistics": "pg_statistic_ext",
    "trigger": "pg_trigger",
    "rule": "pg_rewrite",
    "policy": "pg_policy",
    "view": "pg_class",
    "materialized_view": "pg_class",
    "function": "pg_proc",
    "aggregate": "pg_proc",
    "publication": "pg_publication",
    "subscription": "pg_subscription",
    "replication_set": "",
}
"""Each kind with the catalog that its objects are in."""

KINDS = tuple(CATALOGS)

DATABASE_KINDS = frozenset({"extension", "publication", "subscription", "replication_set"})
"""The kinds whose objects belong to the database and not to a schema: the schema of their identity is empty."""

SCHEMA_KINDS = frozenset(KINDS) - DATABASE_KINDS
"""The kinds that a schema file decides."""


@dataclass(frozen=True)
class NotCompared:
    """Something that a comparison did not look at, and why."""

    what: str
    why: str


_NO_READER = "no reader for this kind yet"

NOT_COMPARED = (
    NotCompared("what extensions contain", "their version decides what they contain"),
    NotCompared("foreign servers and tables, event triggers, range and base types", _NO_READER),
    NotCompared("operators, casts, collations, text search, languages, security labels", _NO_READER),
    NotCompared("owners, and what an owner may", "each region may have its own; commands keep to the owner"),
    NotCompared("default privileges; comments and grants on columns of views", _NO_READER),
    NotCompared(
        "storage: tablespaces, access methods, parameters, compression, statistics targets",
        "it changes speed, not results",
    ),
    NotCompared("the order of columns, attribute numbers, sequence values", "not structure"),
    NotCompared("whether a materialised view is populated", "it is data"),
    NotCompared("constraints that partitions have from their parent", "they come and go with it"),
    NotCompared("names of NOT NULL constraints", "only PostgreSQL 18 and later have them"),
    NotCompared("other schemas", "only the account schemas are compared"),
)
