"""Two databases of which one follows the other by pgsync: filled, emptied and passed over as the bench asks.

Both have the account schema and belong to an ordinary role, which is also who pgsync works as. The
source of each pair is the region cn, the destination the region global.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from psycopg import sql

from accountdb import lab
from accountdb.catalog.tables import read_tables
from accountdb.contract.row_contract import ACCOUNT_TABLES
from accountdb.lab import Lab
from accountdb.migrations import runner
from accountdb.pg.connect import connect
from accountdb.pg.dsn import with_params
from accountdb.sync import capture
from benchmarks.measure import Took, command
from benchmarks.regions import LOAD

_COMMAND = Path(sys.executable).with_name("pgsync")
_DIFFER = b"""
UPDATE public.users SET level = level + 1
WHERE uuid = ANY (ARRAY(SELECT md5((n * %(rows)s / %(count)s)::text)::uuid
                        FROM generate_series(1, %(count)s::bigint) AS n))
"""


@dataclass(frozen=True)
class Passed:
    """One pass: the process as a whole, and what the pass says that it took itself."""

    took: Took
    seconds: float


@dataclass(frozen=True)
class Pair:
    """A source, a destination and the job file between them. The administrator's DSNs are for what no role may do."""

    folder: Path
    name: str
    source: str = field(repr=False)
    target: str = field(repr=False)
    source_admin: str = field(repr=False)
    target_admin: str = field(repr=False)

    def load(self, rows: int) -> None:
        """The source's users, on disk, and the destination with nothing."""
        with connect(self.source_admin, autocommit=True) as conn:
            conn.execute("TRUNCATE public.users CASCADE")
            conn.execute(LOAD, (rows,))
            conn.execute("VACUUM (ANALYZE, FREEZE) public.users")
            conn.execute("CHECKPOINT")
        self.empty()

    def empty(self) -> None:
        """The destination as it was before the first pass, also of what pgsync keeps there."""
        with connect(self.target_admin, autocommit=True) as conn:
            conn.execute("TRUNCATE public.users CASCADE")
            conn.execute("DROP TABLE IF EXISTS accountdb.sync_watermark")
            conn.execute("CHECKPOINT")

    def log(self, on: bool) -> None:
        """Whether the source logs its changes."""
        with connect(self.source) as conn:
            tables = [table for table in read_tables(conn) if table.name in ACCOUNT_TABLES]
            if on:
                capture.install(conn, tables)
                return
            for table in tables:
                capture.remove(conn, table)

    def change(self, rows: int, count: int) -> None:
        """Change ``count`` of the source's ``rows`` users, all over the table and its keys."""
        with connect(self.source) as conn:
            changed = conn.execute(_DIFFER, {"rows": rows, "count": count}).rowcount
        if changed != count:
            raise SystemExit(f"{changed} rows were changed, not {count}")

    def settle(self) -> None:
        """Both sides' tables and logs as a server leaves them that has had time, and on disk."""
        for dsn in (self.source_admin, self.target_admin):
            with connect(dsn, autocommit=True) as conn:
                conn.execute("VACUUM (ANALYZE)")
                conn.execute("CHECKPOINT")

    def check(self, rows: int) -> None:
        """Raises SystemExit where the destination has another number of users."""
        with connect(self.target) as conn:
            found = conn.execute("SELECT count(*) FROM public.users").fetchone()
        if found != (rows,):
            raise SystemExit(f"{found} rows arrived, not {rows}")

    def sync(
        self, *words: str, tables: tuple[str, ...] = ("users",), through: int | None = None, **counts: int
    ) -> Passed:
        """One pass, which must count what ``counts`` say of users. ``through``: by which port the source is reached."""
        source = self.source if through is None else with_params(self.source, port=str(through))
        took = command([_COMMAND, "--config", self._job(source, tables), "--json", *words])
        told: dict[str, Any] = json.loads("\n".join(took.said))
        found = told["tables"]["public.users"]
        if any(found[name] != count for name, count in counts.items()):
            raise SystemExit(f"a pass counted {found}, not {counts}")
        return Passed(took, told["seconds"])

    def _job(self, source: str, tables: tuple[str, ...]) -> Path:
        file = self.folder / f"{self.name}.yaml"
        job = {"source": {"dsn": source}, "destination": {"dsn": self.target}, "tables": dict.fromkeys(tables)}
        file.touch(mode=0o600)
        file.write_text(yaml.safe_dump({"jobs": {self.name: job}}))
        return file


@contextmanager
def servers(folder: Path) -> Iterator[Lab]:
    """Two servers without a stream between them."""
    running = lab.up(folder / "lab", "pgsync", owner_pid=os.getpid()).keep()
    try:
        yield running
    finally:
        running.down()


def pair(running: Lab, folder: Path, name: str) -> Pair:
    """Two new databases ``name`` with the account schema; nothing captures yet."""
    dsns = []
    for region in running.regions:
        with connect(region.admin_dsn, autocommit=True) as conn:
            conn.execute(sql.SQL("CREATE DATABASE {} OWNER account").format(sql.Identifier(name)))
        dsns.append((with_params(region.app_dsn, dbname=name), with_params(region.admin_dsn, dbname=name)))
        with connect(dsns[-1][0]) as conn:
            runner.migrate(conn)
    (source, source_admin), (target, target_admin) = dsns
    return Pair(folder, name, source, target, source_admin, target_admin)
