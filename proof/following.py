"""One-way sync under writers: passes of pgsync while several sessions write at the source as they please.

    python -m proof.following [--capture log xmin] [--passes 1000] [--seed 1] [--writers 4]

Each writer plays random transactions: some long, so that they commit passes later, some with savepoints
that are kept or rolled back, some prepared first. Every tenth pass proves that the destination is what the
source was at the pass's snapshot; at the end, with nobody writing, both sides hold the same rows.
Exit status 1 when they do not.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from accountdb import lab
from accountdb.catalog.tables import read_tables
from accountdb.compare.content import differing, read_content
from accountdb.compare.model import Unwatched
from accountdb.migrations import runner
from accountdb.pg.connect import Connection, connect
from accountdb.sync.capture import Capture, install
from accountdb.sync.config import Job
from accountdb.sync.limit import Limit
from accountdb.sync.model import PassOptions
from accountdb.sync.passes import run_pass

TABLES = ("users", "identities", "sessions", "subscriptions")
_NAMES = 60
_PROVED_EVERY = 10


@dataclass
class Writer:
    """One session that writes at random, until it is told to stop."""

    dsn: str = field(repr=False)
    rng: random.Random
    stop: threading.Event
    committed: int = 0
    refused: int = 0

    def run(self) -> None:
        """Transaction after transaction. What the database refuses is no matter: nobody was told that it stands."""
        with connect(self.dsn, autocommit=True, application="accountdb proof") as conn:
            conn.execute("SET lock_timeout = '300ms'")
            while not self.stop.is_set():
                try:
                    self._transaction(conn)
                    self.committed += 1
                except psycopg.Error:
                    self.refused += 1
                    with suppress(psycopg.Error):
                        conn.execute("ROLLBACK")

    def _transaction(self, conn: Connection) -> None:
        prepared = self.rng.random() < 0.1
        conn.execute("BEGIN")
        for _ in range(self.rng.randint(1, 6)):
            if self.rng.random() < 0.3:
                self._within_savepoint(conn)
            else:
                self._write(conn)
            if self.rng.random() < 0.2:
                time.sleep(self.rng.random() * 0.3)  # a long transaction: passes go by before it commits
        if not prepared:
            conn.execute("COMMIT")
            return
        name = f"following-{self.rng.getrandbits(64):x}"
        conn.execute(f"PREPARE TRANSACTION '{name}'".encode())
        time.sleep(self.rng.random() * 0.3)  # the same, while it is prepared
        conn.execute(f"COMMIT PREPARED '{name}'".encode())

    def _within_savepoint(self, conn: Connection) -> None:
        conn.execute("SAVEPOINT one")
        try:
            self._write(conn)
            conn.execute("RELEASE SAVEPOINT one" if self.rng.random() < 0.7 else "ROLLBACK TO SAVEPOINT one")
        except psycopg.Error:
            conn.execute("ROLLBACK TO SAVEPOINT one")

    def _write(self, conn: Connection) -> None:
        name, other, number = self._name(), self._name(), self.rng.randint(1, 99)
        statement, values = self.rng.choice(
            (
                ("INSERT INTO users (username, password, email) VALUES (%s, 'x', %s)", (name, f"{other}@x.cn")),
                ("UPDATE users SET level = %s WHERE username = %s", (number, name)),
                ("UPDATE users SET username = %s WHERE username = %s", (name, other)),
                ("UPDATE users SET email = NULL WHERE username = %s", (name,)),
                (
                    "UPDATE users AS u SET username = u.username || '~' || %s WHERE username LIKE %s",
                    (number, f"{name}%"),
                ),
                ("DELETE FROM users WHERE username = %s", (name,)),
                (
                    "INSERT INTO sessions (token, user_uuid, expires_at)"
                    " SELECT %s || username, uuid, now() FROM users ORDER BY md5(username || %s) LIMIT 2",
                    (f"{name}-{number}-", str(number)),
                ),
                ("UPDATE sessions SET token = token || 'x' WHERE token LIKE %s", (f"{name}-%",)),
                ("DELETE FROM sessions WHERE token LIKE %s", (f"{name}-%",)),
                (
                    "UPDATE sessions SET user_uuid = (SELECT uuid FROM users ORDER BY md5(username || %s) LIMIT 1)"
                    " WHERE token LIKE %s",
                    (str(number), f"{name}-%"),
                ),
                (
                    "INSERT INTO identities (provider, external_id, user_uuid)"
                    " SELECT 'p', %s || username, uuid FROM users WHERE username = %s",
                    (str(number), name),
                ),
                ("DELETE FROM identities WHERE external_id LIKE %s", (f"{number}%",)),
            )
        )
        conn.execute(statement.encode(), values)

    def _name(self) -> str:
        return f"u{self.rng.randrange(_NAMES)}"


@dataclass(frozen=True)
class Outcome:
    """What came of one run."""

    passes: int
    written: int
    committed: int
    faults: tuple[str, ...]


def follow(source: str, target: str, capture: Capture, *, passes: int, seed: int, writers: int = 4) -> Outcome:
    """Write and sync until so many passes are done. Both databases have the account schema and are empty."""
    if capture is Capture.LOG:
        with connect(source) as conn:
            install(conn, [table for table in read_tables(conn) if table.name in TABLES])
    job = Job.model_validate(
        {"source": {"dsn": source}, "destination": {"dsn": target}, "tables": {table: {} for table in TABLES}}
    )
    faults: list[str] = []
    written = 0
    limit = Limit(100, percent=True)
    stop = threading.Event()
    playing = [Writer(source, random.Random(f"{seed}/{number}"), stop) for number in range(writers)]
    threads = [threading.Thread(target=writer.run) for writer in playing]
    # Something stands in each table, and stays: an empty source is refused.
    _lasting(source)
    for thread in threads:
        thread.start()
    try:
        for number in range(passes):
            options = PassOptions(max_delete=limit, verify=number % _PROVED_EVERY == 0)
            receipt = run_pass("following", job, options, Unwatched())
            assert receipt is not None
            written += sum(counts.written for counts in receipt.tables.values())
            if receipt.verified is False:
                faults.append(f"pass {number}: the destination is not what the source was")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    run_pass("following", job, PassOptions(max_delete=limit), Unwatched())
    faults += [f"{name} differs in the end" for name in _different(source, target)]
    return Outcome(passes, written, sum(writer.committed for writer in playing), tuple(faults))


def _lasting(source: str) -> None:
    with connect(source) as conn:
        conn.execute(
            "WITH u AS (INSERT INTO users (username, password) VALUES ('lasting', 'x') RETURNING uuid),"
            " s AS (INSERT INTO sessions (token, user_uuid, expires_at) SELECT 'lasting', uuid, now() FROM u),"
            " i AS (INSERT INTO identities (provider, external_id, user_uuid) SELECT 'q', 'lasting', uuid FROM u)"
            " INSERT INTO subscriptions (user_uuid, external_id, provider, payment_method)"
            " SELECT uuid, 'lasting', 'p', 'p' FROM u"
        )


def _different(source: str, target: str) -> Sequence[str]:
    found = []
    for dsn in (source, target):
        with connect(dsn, autocommit=True) as conn:
            found.append(read_content(conn, [table for table in read_tables(conn) if table.name in TABLES]))
    return differing(*found)


def main() -> int:
    """Run it and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m proof.following", description=__doc__)
    parser.add_argument("--capture", nargs="*", default=list(Capture), type=Capture, choices=list(Capture))
    parser.add_argument("--passes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--writers", type=int, default=4)
    options = parser.parse_args()
    failed = False
    for capture in options.capture:
        with tempfile.TemporaryDirectory(prefix="accountdb-proof-") as folder:
            running = lab.up(Path(folder) / "lab", "native", owner_pid=os.getpid()).keep()
            try:
                source, target = (region.app_dsn for region in running.regions)
                for dsn in (source, target):
                    with connect(dsn) as conn:
                        runner.migrate(conn)
                began = time.monotonic()
                outcome = follow(
                    source, target, capture, passes=options.passes, seed=options.seed, writers=options.writers
                )
            finally:
                running.down()
        failed |= bool(outcome.faults)
        print(
            f"{capture}: {outcome.passes} passes in {time.monotonic() - began:.0f} s, {outcome.committed} transactions"
            f" committed, {outcome.written} rows written: {'; '.join(outcome.faults) or 'equal'}",
            flush=True,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
