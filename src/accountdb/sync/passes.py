"""One pass of one job: read what changed since the watermark, apply it, and move the watermark with it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime

from accountdb.compare.model import Watch
from accountdb.compare.session import named, prepare
from accountdb.errors import UsageError
from accountdb.pg import session
from accountdb.pg.connect import Connection, connect
from accountdb.sql import block
from accountdb.sync.config import Job, Policy
from accountdb.sync.mergeable import check_job, check_mergeable, ledgers
from accountdb.sync.merging import Merging
from accountdb.sync.mirroring import Mirroring
from accountdb.sync.model import DESTINATION, SOURCE, PassOptions, Receipt, SyncTable
from accountdb.sync.preflight import FILE as PREFLIGHT
from accountdb.sync.preflight import preflight
from accountdb.sync.run import Run
from accountdb.sync.source import at_snapshot
from accountdb.sync.watermark import FILE as STATE
from accountdb.sync.watermark import read_watermarks

Stop = Callable[[], bool]


def run_pass(name: str, job: Job, options: PassOptions, watch: Watch, stop: Stop = lambda: False) -> Receipt | None:
    """One pass. None, and nothing done, while another one of this job is at work in this target.

    Raises UsageError and Refused before anything is written, AccountdbError for a side that is lost: what was
    committed by then is a whole state of its tables, and the next pass goes on. ``stop`` is asked between transactions.
    """
    began = time.monotonic()
    if job.policy is Policy.MERGE:
        check_job(name, job, options.tables)
    with ExitStack() as stack:
        source = stack.enter_context(connect(job.source.dsn, name=SOURCE, autocommit=True, application="pgsync"))
        target = stack.enter_context(
            connect(job.destination.dsn, name=DESTINATION, autocommit=True, application="pgsync")
        )
        with named(DESTINATION, job.destination.dsn):
            prepare(target)
            if not _alone(target, name):
                return None
        if session.same_database(source, target):
            raise UsageError(f"job {name}: source and destination are the same database", hint="they are two regions")
        tables = _chosen(name, job, options, source, target)
        also = _mergeable(name, tables, source, target) if job.policy is Policy.MERGE else ()
        with named(DESTINATION, job.destination.dsn):
            marks = read_watermarks(target, name)
            if not options.dry_run:
                target.execute(block(STATE, "make"))
            row = target.execute(block(PREFLIGHT, "identity")).fetchone()
            assert row is not None
        with at_snapshot(source, job.source.dsn, str(row[0])) as moment:
            run = Run(name, job, options, moment, target, marks, watch)
            run.check([*tables, *also])
            run.offer([*tables, *also])
            work = Merging(run, also) if job.policy is Policy.MERGE else Mirroring(run)
            work.bring(tables, stop)
            left = tuple(table.title for table in tables if table not in run.done)
            verified = work.verify(tables) if options.verify and not (options.dry_run or left) else None
        if not options.dry_run:
            run.purge(source)
        now = datetime.now(UTC)
        return Receipt(
            name,
            job.policy.value,
            run.full,
            {table.title: run.counts[table.name] for table in tables if table.name in run.counts},
            round(time.monotonic() - began, 3),
            round((now - moment.taken_at).total_seconds(), 3),
            options.dry_run,
            verified,
            left,
        )


def _mergeable(
    name: str, tables: tuple[SyncTable, ...], source: Connection, target: Connection
) -> tuple[SyncTable, ...]:
    """The ledgers of a merge job, once everything is there that it needs."""
    found = ledgers(name, source, target)
    check_mergeable(name, tables, source, target)
    return found


def _alone(target: Connection, name: str) -> bool:
    """Take the job's lock in this target, for as long as the connection lives."""
    key = int.from_bytes(hashlib.sha256(f"accountdb pgsync {name}".encode()).digest()[:8], signed=True)
    row = target.execute("SELECT pg_catalog.pg_try_advisory_lock(%s)", (key,)).fetchone()
    return bool(row and row[0])


def _chosen(name: str, job: Job, options: PassOptions, source: Connection, target: Connection) -> tuple[SyncTable, ...]:
    if unknown := [table for table in options.tables if table not in job.tables]:
        raise UsageError(f"job {name} has no table {', '.join(unknown)}", hint=f"it has {', '.join(job.tables)}")
    tables = preflight(name, job, source, target)
    return tuple(table for table in tables if not options.tables or table.name[1] in options.tables)
