"""What a statement of a migration does to a service that is in use. Pure: from its words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from accountdb.script.statements import Statement, head


@dataclass(frozen=True)
class Hazard:
    """``kind`` is one word for programs: loses-data, locks, rewrites, scans, differs, writes, breaks."""

    kind: str
    why: str


_VOLATILE = r"(gen_random_uuid|random|clock_timestamp|timeofday|nextval|uuid_generate_v\d\w*) \("
_ALTER = r"alter table\b.*"
_RULES: tuple[tuple[str, str, str], ...] = (
    ("loses-data", r"drop (table|schema|materialized view)\b", "what it drops is gone with its rows"),
    (
        "loses-data",
        _ALTER + r"\bdrop (column )?(?!constraint|default|not|identity|expression)(if exists )?\S+",
        "the column is gone with its values",
    ),
    ("loses-data", r"truncate\b", "every row is gone, in this region alone: TRUNCATE is not replicated"),
    (
        "locks",
        r"create (unique )?index (?!concurrently)",
        "writes of the table wait until it is built; CREATE INDEX CONCURRENTLY does not block them",
    ),
    (
        "locks",
        r"(reindex|cluster|vacuum full|refresh materialized view)\b(?!.*\bconcurrently)",
        "reads and writes wait until it is done",
    ),
    ("locks", r"lock table\b|^lock \S+", "others wait until the file is through"),
    (
        "rewrites",
        _ALTER + r"\balter (column )?\S+ (set data )?type\b",
        "all rows are written again, unless the new type only widens the old one; reads and writes wait",
    ),
    (
        "rewrites",
        _ALTER + r"\bset (unlogged|logged|access method|tablespace)\b",
        "all rows are written again; reads and writes wait",
    ),
    (
        "differs",
        _ALTER
        + r"\badd (column )?.*\b(default "
        + _VOLATILE
        + r"|default .*"
        + _VOLATILE
        + r"|serial|bigserial|generated (always|by default) as identity)",
        "every row gets a value of its own, and another one in each region; it also rewrites the table",
    ),
    (
        "scans",
        _ALTER + r"\balter (column )?\S+ set not null",
        "all rows are read while reads and writes wait; a validated CHECK (... IS NOT NULL) spares that",
    ),
    (
        "scans",
        _ALTER + r"\badd (constraint \S+ )?(check|foreign key)\b(?!.*\bnot valid)",
        "all rows are read while writes wait; NOT VALID and VALIDATE CONSTRAINT later do not block",
    ),
    (
        "scans",
        _ALTER + r"\badd (constraint \S+ )?(unique|primary key|exclude)\b(?!.*\busing index)",
        "an index is built while reads and writes wait; CREATE UNIQUE INDEX CONCURRENTLY and ADD ... USING INDEX"
        " do not block",
    ),
    ("breaks", r"alter (table|view|type|function)\b.*\brename\b", "programs that use the old name fail from then on"),
    (
        "writes",
        r"(insert|update|delete|merge|copy)\b",
        "it changes rows in every region that it runs in; where they are replicated, the stream carries them too",
    ),
)


def hazards(statement: Statement) -> tuple[Hazard, ...]:
    """What there is to know before ``statement`` is run; empty where nothing is known against it."""
    words = head(statement.bare, size=20_000)
    if words.startswith("with ") and re.search(r"\) (insert|update|delete|merge)\b", words):
        words = words[words.rindex(re.findall(r"\) (insert|update|delete|merge)\b", words)[-1]) :]
    return tuple(Hazard(kind, why) for kind, pattern, why in _RULES if re.match(pattern, words))
