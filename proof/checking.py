"""The checks at the end of a history. Each returns what is wrong, in words; nothing is trusted to an index."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from datetime import datetime
from uuid import UUID

from psycopg import sql

from accountdb.catalog.tables import Table, read_tables
from accountdb.contract.row_contract import ACCOUNT_TABLES
from accountdb.demo.watch import take
from accountdb.health.status import read_status
from accountdb.lab import Lab
from accountdb.pg.connect import Connection, connect
from proof.writing import NUMBERED, Acknowledged

_APPLY_ERROR = re.compile(r"(?:apply worker|pglogical apply).*\b(?:ERROR|PANIC):")
# What a cut link, a killed server or a bounced subscription say of themselves. And what an engine tries
# again by itself: a deadlock with a local transaction, and (pglogical) a row that a local transaction
# deleted while the worker waited for its lock, which happens before any trigger fires.
_EXPECTED = re.compile(
    r"connect to the p|receive data from WAL|connection to other side|data stream|terminating|shut(?:ting)? down"
    r"|deadlock detected|unexpected HTSU_Result after locking|could not send|starting up"
    r"|recovery mode|active for PID|streaming command|COPY|replication slot .* is active",
    re.IGNORECASE,
)


def everything(lab: Lab, promised: Mapping[str, Acknowledged], log_offsets: Mapping[str, int]) -> list[str]:
    """All checks on a lab that is quiet and healed."""
    found: list[str] = []
    picture = take(lab, "proof")
    found += [f"{name} differs between the regions" for name in picture.different]
    status = read_status({region.name: region.admin_dsn for region in lab.regions})
    found += [f"stream: {finding}" for region in status.regions for finding in region.findings]
    with ExitStack() as stack:
        conns = {r.name: stack.enter_context(connect(r.admin_dsn, autocommit=True)) for r in lab.regions}
        for name, conn in conns.items():
            tables = [t for t in read_tables(conn) if t.name in ACCOUNT_TABLES]
            found += [f"{name}: {fault}" for fault in constraints(conn, tables)]
        found += lost(conns.values(), promised)
    for region in lab.regions:
        found += [f"{region.name} log: {line}" for line in apply_errors(region.log_file, log_offsets[region.name])]
    return found


def constraints(conn: Connection, tables: Iterable[Table]) -> list[str]:
    """Unique indexes and foreign keys, by scans of the tables themselves."""
    for setting in ("enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan"):
        conn.execute("SELECT set_config(%s, 'off', false)", (setting,))
    found: list[str] = []
    for table in tables:
        for index in table.unique_indexes:
            keys = sql.SQL(", ").join(sql.SQL(key) for key in index.keys)
            given = sql.SQL(" AND ").join(sql.SQL("({}) IS NOT NULL").format(sql.SQL(key)) for key in index.keys)
            query = sql.SQL("SELECT count(*) FROM (SELECT FROM {} WHERE {} GROUP BY {} HAVING count(*) > 1) AS d")
            row = conn.execute(query.format(table.identifier, given, keys)).fetchone()
            if row and row[0]:
                found.append(f"{row[0]} values of {index.name} stand twice")
        for reference in table.references:
            query = sql.SQL(
                "SELECT count(*) FROM {0} c LEFT JOIN {1} p ON p.{2} = c.{3} WHERE p.{2} IS NULL AND c.{3} IS NOT NULL"
            )
            child, parent = sql.Identifier(reference.child_columns[0]), sql.Identifier(reference.parent_columns[0])
            statement = query.format(table.identifier, sql.Identifier(*reference.parent), parent, child)
            row = conn.execute(statement).fetchone()
            if row and row[0]:
                found.append(f"{row[0]} rows of {table.name} have no parent by {reference.name}")
    return found


def lost(conns: Iterable[Connection], promised: Mapping[str, Acknowledged]) -> list[str]:
    """Acknowledged writes that are neither in the row, nor in a copy that lost, nor lawfully deleted."""
    kept: defaultdict[tuple[str, UUID], set[int]] = defaultdict(set)
    known: set[tuple[str, UUID]] = set()
    dead: set[tuple[str, UUID]] = set()
    for conn in conns:
        for table in ACCOUNT_TABLES:
            column = NUMBERED.get(table)
            numbered = sql.Identifier(column) if column else sql.SQL("NULL::jsonb")
            for key, numbers in conn.execute(
                sql.SQL("SELECT uuid, {} FROM {}").format(numbered, sql.Identifier("public", table))
            ):
                known.add((table, key))
                kept[table, key].update(numbers or ())
            losers = "SELECT row_key, loser -> %s FROM accountdb.conflict WHERE table_name = %s AND loser IS NOT NULL"
            for key, numbers in conn.execute(losers, (column or "", table)):
                known.add((table, key))
                kept[table, key].update(numbers or ())
        dead.update(conn.execute("SELECT table_name, row_key FROM accountdb.tombstone").fetchall())
    found = []
    for region, acknowledged in promised.items():
        for row, numbers in acknowledged.writes.items():
            lost = numbers - kept[row] if row[0] in NUMBERED else (set() if row in known else numbers)
            if lost and row not in dead:
                found.append(f"{region}: acknowledged writes {sorted(lost)} of {row[0]} {row[1]} are nowhere")
    return found


def apply_errors(log_file: object, offset: int) -> list[str]:
    """Errors of apply workers that no fault explains."""
    with open(str(log_file), encoding="utf-8", errors="replace") as log:
        log.seek(offset)
        lines = log.read().splitlines()
    return [line for line in lines if _APPLY_ERROR.search(line) and not _EXPECTED.search(line)][:5]


class Versions:
    """That ``version`` never falls: looked at between the rounds, for each life of each row in each region."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, UUID, datetime], int] = {}
        self.faults: list[str] = []

    def crashed(self, region: str) -> None:
        """Forget what was seen: both engines apply with synchronous_commit off, so what a crash takes comes again."""
        self._seen = {life: version for life, version in self._seen.items() if life[0] != region}

    def look(self, region: str, conn: Connection) -> None:
        """Compare with the last look."""
        for table in ACCOUNT_TABLES:
            query = sql.SQL("SELECT uuid, created_at, version FROM {}").format(sql.Identifier("public", table))
            for key, created_at, version in conn.execute(query):
                life = (region, table, key, created_at)
                if version < self._seen.get(life, 0):
                    self.faults.append(f"{region}: version of {table} {key} fell from {self._seen[life]} to {version}")
                self._seen[life] = version
