"""One pass of one job: read what changed since the watermark, apply it, and move the watermark with it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime

from accountdb.compare.model import Watch
from accountdb.errors import AccountdbError, UsageError
from accountdb.pg import session
from accountdb.sql import block
from accountdb.sync.capture import Capture
from accountdb.sync.config import Job, Policy
from accountdb.sync.differing import Comparing
from accountdb.sync.installing import install
from accountdb.sync.mergeable import check_job, check_mergeable, guarded, ledgers
from accountdb.sync.merging import Merging
from accountdb.sync.mirroring import Mirroring
from accountdb.sync.model import DESTINATION, SOURCE, PassOptions, Receipt, SyncTable
from accountdb.sync.preflight import FILE as PREFLIGHT
from accountdb.sync.preflight import preflight
from accountdb.sync.run import Run
from accountdb.sync.side import Side, open_side
from accountdb.sync.source import FILE as SOURCE_SQL
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
        source = stack.enter_context(open_side(SOURCE, job.source.dsn))
        target = stack.enter_context(open_side(DESTINATION, job.destination.dsn))
        if not _alone(target, name):
            return None
        if _same_database(source, target):
            raise UsageError(f"job {name}: source and destination are the same database", hint="they are two regions")
        new = _equip(job, source, target) if job.policy is Policy.MERGE and not options.dry_run else ()
        tables = _chosen(name, job, options, source, target)
        also = _mergeable(name, tables, source, target) if job.policy is Policy.MERGE else ()
        with target.use() as conn:
            marks = read_watermarks(conn, name)
            if not options.dry_run:
                conn.execute(block(STATE, "make"))
        database = str(target.row(PREFLIGHT, "identity")[0])
        if not options.dry_run:
            _register(name, source, database, [*tables, *also])
        with (
            at_snapshot(source.conn, source.dsn, database) as moment,
            closing(Comparing(source.dsn, target.dsn, moment.exported, watch)) as comparing,
        ):
            run = Run(name, job, options, moment, target, comparing, marks, watch)
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
            new,
        )


def _equip(job: Job, source: Side, target: Side) -> tuple[str, ...]:
    """Install the guards that a merge job lacks, and capture with them. Where it may not, the preflight tells."""
    if guarded(job, source) and guarded(job, target):
        return ()
    try:
        return tuple(str(one) for one in install(job) if one.new)
    except AccountdbError:
        return ()
    finally:
        source.forget()
        target.forget()


def _mergeable(name: str, tables: Sequence[SyncTable], source: Side, target: Side) -> tuple[SyncTable, ...]:
    """The ledgers of a merge job, once everything is there that it needs."""
    found = ledgers(name, source, target)
    check_mergeable(name, tables, source, target)
    return found


def _alone(target: Side, name: str) -> bool:
    """Take the job's lock in this target, for as long as the connection lives."""
    key = int.from_bytes(hashlib.sha256(f"accountdb pgsync {name}".encode()).digest()[:8], signed=True)
    with target.use() as conn:
        row = conn.execute("SELECT pg_catalog.pg_try_advisory_lock(%s)", (key,)).fetchone()
    return bool(row and row[0])


def _same_database(source: Side, target: Side) -> bool:
    """The mark is made at the target: there is one question to the source, which may be far away."""
    with target.use() as conn:
        key = session.mark(conn)
    with source.use() as conn:
        same = session.marked(conn, key)
    with target.use() as conn:
        session.unmark(conn, key)
    return same


def _chosen(name: str, job: Job, options: PassOptions, source: Side, target: Side) -> tuple[SyncTable, ...]:
    if unknown := [table for table in options.tables if table not in job.tables]:
        raise UsageError(f"job {name} has no table {', '.join(unknown)}", hint=f"it has {', '.join(job.tables)}")
    tables = preflight(name, job, source, target)
    return tuple(table for table in tables if not options.tables or table.name[1] in options.tables)


def _register(name: str, source: Side, target: str, tables: Sequence[SyncTable]) -> None:
    """Have the log kept for this job: while its first pass is under way, others may let go of what they have read."""
    names = [table.name for table in tables if table.capture is Capture.LOG]
    if names:
        schemas, tables_ = ([one[n] for one in names] for n in (0, 1))
        with source.use() as conn:
            values = {"job": name, "target": target, "schemas": schemas, "tables": tables_}
            conn.execute(block(SOURCE_SQL, "register"), values)
