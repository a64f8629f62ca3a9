"""What must hold in a region after a command died: at once, and when it was run again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from psycopg import sql

from accountdb.catalog.tables import read_tables
from accountdb.guards.install import GuardState, states
from accountdb.lab import Lab
from accountdb.pg.connect import Connection, connect
from proof.apart import TABLES, Rows, Tombstones, read, read_tombstones
from proof.checking import constraints

_INDEXES = b"""
SELECT i.indrelid::regclass::text, pg_get_indexdef(i.indexrelid), i.indisvalid AND i.indisready,
       coalesce(obj_description(i.indexrelid, 'pg_class'), '')
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
WHERE c.relnamespace IN ('public'::regnamespace, 'accountdb'::regnamespace)
"""
# A temporary table of a session that a crash took is no harm: nobody sees it, and it is removed by itself.
_STAGES = b"""
SELECT c.oid::regclass::text FROM pg_class AS c
WHERE c.relname LIKE 'accountdb_stage%' AND c.relpersistence <> 't'
"""
_LEFT = b"""
SELECT 'a session: ' || a.query FROM pg_stat_activity AS a WHERE a.application_name = 'migratectl'
UNION ALL
SELECT 'a lock: ' || l.objid FROM pg_locks AS l WHERE l.locktype = 'advisory'
UNION ALL
SELECT 'an origin: ' || o.roname FROM pg_replication_origin AS o WHERE o.roname LIKE 'accountdb\\_merge%'
"""
# What took a dead row, its own tombstone or its parent's, depends on the order; that it was recorded does not.
_CONFLICTS = b"""
SELECT CASE WHEN c.kind IN ('orphan', 'child_of_deleted', 'dead_row') THEN 'death' ELSE c.kind || ' ' || c.rule END,
       c.table_name, c.row_key::text, CASE WHEN c.kind = 'unique_claim' THEN c.detail END, c.state
FROM accountdb.conflict AS c
"""

Conflict = tuple[str, ...]
Index = tuple[str, str, bool, str]


@dataclass(frozen=True)
class Picture:
    """Both regions at one moment, by name."""

    rows: Mapping[str, Rows]
    tombstones: Mapping[str, Tombstones]
    indexes: Mapping[str, frozenset[Index]]
    conflicts: Mapping[str, Counter[Conflict]]


def take(lab: Lab) -> Picture:
    """Look at both regions."""
    rows: dict[str, Rows] = {}
    tombstones: dict[str, Tombstones] = {}
    indexes: dict[str, frozenset[Index]] = {}
    conflicts: dict[str, Counter[Conflict]] = {}
    for region in lab.regions:
        with connect(region.admin_dsn, autocommit=True, application="accountdb proof") as conn:
            rows[region.name] = read(conn)
            tombstones[region.name] = read_tombstones(conn)
            indexes[region.name] = frozenset(conn.execute(_INDEXES).fetchall())
            conflicts[region.name] = Counter(conn.execute(_CONFLICTS).fetchall())
    return Picture(rows, tombstones, indexes, conflicts)


def at_once(lab: Lab, before: Picture, end: Picture) -> list[str]:
    """What is wrong right after the fault: every row is as it was or as it will be, and the schema is whole."""
    now = take(lab)
    found: list[str] = []
    for region in lab.regions:
        name = region.name
        old, new, here = before.rows[name], end.rows[name], now.rows[name]
        for key in sorted(old.keys() | new.keys() | here.keys()):
            if here.get(key) not in (old.get(key), new.get(key)) and not _between_lives(key, name, now):
                found.append(f"{name}: {' '.join(key)} is neither as it was nor as it will be")
        for index in before.indexes[name] ^ now.indexes[name]:
            state = "is missing" if index in before.indexes[name] else "was not there"
            found.append(f"{name}: an index {state}: {index}")
        with connect(region.admin_dsn, autocommit=True, application="accountdb proof") as conn:
            found += [f"{name}: {fault}" for fault in (*_lawless(conn), *_names(conn, _STAGES))]
    return found


def _between_lives(key: tuple[str, str], region: str, now: Picture) -> bool:
    """Whether a row is dead here, by a tombstone, and its next life still waits in the other region."""
    dead = any(key == (table, uuid) for table, uuid, _, _ in now.tombstones[region])
    return key not in now.rows[region] and dead and any(key in rows for rows in now.rows.values())


def at_the_end(lab: Lab, end: Picture) -> list[str]:
    """What is wrong after the second run: the regions must be as if nothing had happened."""
    now = take(lab)
    found: list[str] = []
    for region in lab.regions:
        name = region.name
        different = sorted({key for key, _ in now.rows[name].items() ^ end.rows[name].items()})
        found += [f"{name}: {' '.join(key)} is not as without the fault" for key in different]
        if now.indexes[name] != end.indexes[name]:
            found.append(f"{name}: the indexes are others")
        twice = [conflict for conflict, count in now.conflicts[name].items() if count > 1]
        found += [f"{name}: recorded twice: {conflict}" for conflict in twice]
        with connect(region.admin_dsn, autocommit=True, application="accountdb proof") as conn:
            found += [f"{name}: {fault}" for fault in _lawless(conn)]
    # A row that died in one region before the other one saw it has one tombstone, else two.
    expected_dead, dead = ({one[:3] for some in p.tombstones.values() for one in some} for p in (end, now))
    found += [f"dead only with the fault, or only without: {one}" for one in sorted(expected_dead ^ dead)]
    expected, recorded = ({c for one in p.conflicts.values() for c in one} for p in (end, now))
    found += [f"not recorded in any region: {one}" for one in sorted(expected - recorded, key=str)]
    found += [f"recorded, but without the fault it was not: {one}" for one in sorted(recorded - expected, key=str)]
    return found


def left(lab: Lab) -> list[str]:
    """What a command has left in the servers: sessions, locks, origins."""
    found: list[str] = []
    for region in lab.regions:
        with connect(region.admin_dsn, autocommit=True, application="accountdb proof") as conn:
            found += [f"{region.name}: {what}" for what in _names(conn, _LEFT)]
    return found


def _lawless(conn: Connection) -> list[str]:
    """Unique indexes and references that do not hold, and guards that are not installed."""
    known = read_tables(conn)
    tables = [table for table in known if table.name in TABLES]
    found = constraints(conn, tables)
    guards = states(conn, tables, known)
    return found + [f"guard of {g.table}: {g.state}" for g in guards if g.state is not GuardState.INSTALLED]


def _names(conn: Connection, query: bytes) -> list[str]:
    return [str(name) for (name,) in conn.execute(sql.SQL(query.decode()))]
