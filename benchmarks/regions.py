"""Regions to measure on: migrated, initialised and not joined, so that no stream carries what is loaded.

The rows are as applications leave them: neither names nor e-mails nor keys lie in their order on
disk, passwords have the length of bcrypt, and half of the rows came from each region.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from accountdb import lab
from accountdb.lab import Lab, LabRegion
from accountdb.pg.connect import Connection, connect
from accountdb.replication.model import Mode
from accountdb.setup.init import InitRequest, init
from accountdb.setup.ready import NODES

LOAD = b"""
INSERT INTO public.users (uuid, username, password, email, level, groups, mfa_totp_secret, mfa_enabled,
                          email_verified_at, created_at, updated_at, version, origin_node)
SELECT md5(n::text)::uuid, substr(md5(n || 'x'), 1, 12), '$2b$12$' || md5(n || 'p') || substr(md5(n || 'q'), 1, 21),
       substr(md5(n || 'y'), 1, 12) || '@example.cn', 20, '["member","newsletter"]',
       CASE WHEN n %% 10 = 0 THEN upper(md5(n || 's')) END, n %% 10 = 0,
       CASE WHEN n %% 3 > 0 THEN at + '5 min' END, at, at + (n %% 1000) * interval '1 hour', n %% 7,
       CASE n %% 2 WHEN 0 THEN 'node_cn' ELSE 'node_global' END
FROM (SELECT n, timestamptz '2024-01-01 00:00Z' + n * interval '31.000417 s' AS at
      FROM generate_series(1, %s) AS n) AS made
"""
_DIFFER = b"""
UPDATE public.users SET level = level + %(step)s
WHERE uuid = ANY (ARRAY(SELECT md5((n * %(rows)s / %(count)s)::text)::uuid
                        FROM generate_series(1, %(count)s::bigint) AS n))
"""


@contextmanager
def unjoined(folder: Path, mode: str) -> Iterator[Lab]:
    """A lab whose regions have the account schema and its guards, and do not know each other."""
    running = lab.up(folder, lab.mode_of(mode), owner_pid=os.getpid()).keep()
    try:
        for region in running.regions:
            init(InitRequest(region.app_dsn, Mode(mode), NODES[region.name], region.admin_dsn))
        yield running
    finally:
        running.down()


def load(regions: Sequence[LabRegion], rows: int) -> None:
    """The same rows in each of ``regions``, all at the same time, vacuumed and on disk."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda region: _load(region, rows), regions))


def _load(region: LabRegion, rows: int) -> None:
    with quiet(region) as conn:
        conn.execute("TRUNCATE public.users CASCADE")
        conn.execute(LOAD, (rows,))
        conn.execute("VACUUM (ANALYZE, FREEZE) public.users")
        conn.execute("CHECKPOINT")


@contextmanager
def quiet(region: LabRegion) -> Iterator[Connection]:
    """A session whose writes fire no trigger of ``users``."""
    with connect(region.admin_dsn, autocommit=True) as conn:
        conn.execute("SET session_replication_role = replica")
        conn.execute("ALTER TABLE public.users DISABLE TRIGGER accountdb_guard")
        try:
            yield conn
        finally:
            conn.execute("ALTER TABLE public.users ENABLE REPLICA TRIGGER accountdb_guard")


@contextmanager
def scattered(region: LabRegion, rows: int, count: int) -> Iterator[None]:
    """``count`` of the ``rows`` rows changed as long as the block runs, all over the table and its keys."""
    for step in (1, -1):
        with quiet(region) as conn:
            changed = conn.execute(_DIFFER, {"step": step, "rows": rows, "count": count}).rowcount
        if changed != count:
            raise SystemExit(f"{changed} rows were changed, not {count}")
        if step == 1:
            yield
