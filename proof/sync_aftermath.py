"""What must hold on both sides of a job after a pass of pgsync died: at once, and after the next one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from psycopg import sql

from accountdb.catalog.tables import read_tables
from accountdb.pg.connect import Connection, connect
from accountdb.sync.capture import Capture
from proof.apart import TABLES, Rows, read
from proof.checking import constraints
from proof.sync_scenes import GROUPS, JOB, Pair

# Everything that a pass may change for the length of a transaction, and what it makes of its own.
_SCHEMA = b"""
SELECT concat_ws(' ', 'index', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisready, i.indislive,
                 obj_description(i.indexrelid, 'pg_class'))
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid WHERE c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT concat_ws(' ', 'trigger', t.tgrelid::regclass, t.tgfoid::regproc, CASE WHEN NOT t.tgisinternal THEN t.tgname END,
                 t.tgenabled, t.tgdeferrable, t.tginitdeferred)
FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid WHERE c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT concat_ws(' ', 'constraint', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid), k.convalidated)
FROM pg_constraint AS k WHERE k.connamespace = 'public'::regnamespace
UNION ALL
SELECT concat_ws(' ', 'table', c.oid::regclass) FROM pg_class AS c
WHERE c.relkind = 'r' AND (c.relnamespace = 'public'::regnamespace OR c.relname LIKE 'accountdb_stage%')
"""
_MARKS = b"SELECT w.table_name, w.snapshot::text FROM accountdb.sync_watermark AS w WHERE w.job = %(job)s"
# What a reader that has come so far has yet to see.
_NEEDED = b"""
SELECT l.table_name, l.row_key::text, l.operation FROM accountdb.change_log AS l
WHERE NOT pg_visible_in_snapshot(l.xid, %(since)s::pg_snapshot) AND l.table_name = %(table)s
"""
_LEFT = b"""
SELECT 'a session: ' || a.query FROM pg_stat_activity AS a WHERE a.application_name IN ('pgsync', 'migratectl')
UNION ALL
SELECT 'a lock: ' || l.objid FROM pg_locks AS l WHERE l.locktype = 'advisory'
UNION ALL
SELECT 'a staging table: ' || c.relname FROM pg_class AS c WHERE c.relname LIKE 'accountdb_stage%'
"""

Entry = tuple[str, ...]


@dataclass(frozen=True)
class Side:
    """One side at one moment."""

    rows: Rows
    schema: Counter[str]


@dataclass(frozen=True)
class Picture:
    """Both sides at one moment. ``needed``: what the log has of each table since its watermark."""

    source: Side
    destination: Side
    marks: Mapping[str, str]
    needed: Mapping[str, Counter[Entry]]


def take(pair: Pair, capture: Capture, patience_s: float = 20.0) -> Picture:
    """Look at both sides. ``patience_s``: so long a session that is dead may still hold a table of the destination."""
    with (
        connect(pair.source, autocommit=True, application="accountdb proof") as source,
        connect(pair.destination, autocommit=True, application="accountdb proof") as destination,
    ):
        destination.execute("SELECT set_config('lock_timeout', %s, false)", (f"{patience_s:.0f}s",))
        marks: dict[str, str] = {}
        found = destination.execute("SELECT to_regclass('accountdb.sync_watermark') IS NOT NULL").fetchone()
        if found and found[0]:
            marks = dict(destination.execute(_MARKS, {"job": JOB}).fetchall())
        needed = {
            table: Counter(source.execute(_NEEDED, {"since": since, "table": table}).fetchall())
            for table, since in marks.items()
            if capture is Capture.LOG
        }
        return Picture(_side(source), _side(destination), marks, needed)


def _side(conn: Connection) -> Side:
    return Side(read(conn), Counter(_names(conn, _SCHEMA)))


def at_once(pair: Pair, before: Picture, now: Picture) -> list[str]:
    """What is wrong right after the fault: each group of tables is as it was, or as the source is."""
    found: list[str] = []
    for group in GROUPS:
        old, new, here = (
            _of(group, rows) for rows in (before.destination.rows, before.source.rows, now.destination.rows)
        )
        moved = {table for table in group if before.marks.get(table) != now.marks.get(table)}
        if moved and moved != set(group):
            found.append(f"of {', '.join(group)} the watermark moved only for {', '.join(sorted(moved))}")
        if here != (new if moved else old):
            which = "the source, though the watermark moved" if moved else "before, though no watermark moved"
            found.append(f"{_differing(here, new if moved else old)} are not as {which}")
        for table in group:
            kept, needed = now.needed.get(table), before.needed.get(table)
            if kept is not None and kept != (Counter() if moved else needed):
                found.append(f"the log of {table} has {kept.total()} changes for the next pass, not {needed}")
    return found + _whole(pair, before, now)


def at_the_end(pair: Pair, before: Picture, now: Picture) -> list[str]:
    """What is wrong after the next pass: the destination is what the source is, and everything is marked."""
    found = [f"no watermark of {table}" for table in TABLES if table not in now.marks]
    if now.destination.rows != before.source.rows:
        found.append(f"{_differing(now.destination.rows, before.source.rows)} are not as at the source")
    found += [f"the log of {table} has changes for the next pass" for table, entries in now.needed.items() if entries]
    return found + _whole(pair, before, now)


def left(pair: Pair) -> list[str]:
    """What passes have left in the servers: sessions, locks, staging tables."""
    found: list[str] = []
    for name, dsn in (("source", pair.source), ("destination", pair.destination)):
        with connect(dsn, autocommit=True, application="accountdb proof") as conn:
            found += [f"{name}: {what}" for what in _names(conn, _LEFT)]
    return found


def _whole(pair: Pair, before: Picture, now: Picture) -> list[str]:
    """The source is untouched, both schemas are what they were, and unique indexes and references hold."""
    found = [] if now.source.rows == before.source.rows else ["the source's rows have changed"]
    for name, was, is_ in (
        ("source", before.source.schema, now.source.schema),
        ("destination", before.destination.schema, now.destination.schema),
    ):
        found += [f"{name}: is missing: {what}" for what in was - is_]
        found += [f"{name}: was not there: {what}" for what in is_ - was]
    with connect(pair.destination, autocommit=True, application="accountdb proof") as conn:
        tables = [table for table in read_tables(conn) if table.name in TABLES]
        return found + [f"destination: {fault}" for fault in constraints(conn, tables)]


def _of(group: tuple[str, ...], rows: Rows) -> Rows:
    return {key: content for key, content in rows.items() if key[0] in group}


def _differing(here: Rows, wanted: Rows) -> str:
    counts = Counter(table for (table, _), _ in here.items() ^ wanted.items())
    return ", ".join(f"{count} copies of {table}" for table, count in sorted(counts.items()))


def _names(conn: Connection, query: bytes) -> list[str]:
    return [str(name) for (name,) in conn.execute(sql.SQL(query.decode()))]
