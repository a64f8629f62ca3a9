"""One pass of one job: read what changed since the watermark, apply it, and move the watermark with it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice

from accountdb.compare.model import Key, Watch
from accountdb.compare.session import named
from accountdb.compare.spool import Spool
from accountdb.errors import AccountdbError, Refused, UsageError
from accountdb.pg import session
from accountdb.pg.connect import Connection, connect
from accountdb.sql import block
from accountdb.sync.capture import Capture
from accountdb.sync.config import Job, Policy
from accountdb.sync.differing import Comparison, comparing
from accountdb.sync.grouping import groups
from accountdb.sync.limit import DEFAULT, Limit
from accountdb.sync.model import DESTINATION, SOURCE, Counts, Name, Receipt, SyncTable
from accountdb.sync.preflight import FILE as PREFLIGHT
from accountdb.sync.preflight import preflight
from accountdb.sync.source import FILE as SOURCE_SQL
from accountdb.sync.source import Source, at_snapshot
from accountdb.sync.target import FILL_FROM, StrangerError, Target, writing
from accountdb.sync.watermark import FILE as STATE
from accountdb.sync.watermark import Reach, Watermark, check_history, move, read_watermarks, shape_of, why_full

Stop = Callable[[], bool]


@dataclass(frozen=True)
class PassOptions:
    """How a pass runs. ``once``: everything is compared, whatever the watermark says. ``tables`` none: all."""

    once: bool = False
    dry_run: bool = False
    verify: bool = False
    max_delete: Limit = DEFAULT
    tables: tuple[str, ...] = ()


def run_pass(name: str, job: Job, options: PassOptions, watch: Watch, stop: Stop = lambda: False) -> Receipt | None:
    """One pass. None, and nothing done, while another one of this job is at work in this target.

    Raises UsageError and Refused before anything is written, AccountdbError for a side that is lost: what was
    committed by then is a whole state of its tables, and the next pass goes on. ``stop`` is asked between transactions.
    """
    if job.policy is Policy.MERGE:
        raise AccountdbError(f"job {name}: policy merge is not part of this version", hint="policy: mirror")
    began = time.monotonic()
    with ExitStack() as stack:
        source = stack.enter_context(connect(job.source.dsn, name=SOURCE, autocommit=True, application="pgsync"))
        target = stack.enter_context(
            connect(job.destination.dsn, name=DESTINATION, autocommit=True, application="pgsync")
        )
        with named(DESTINATION, job.destination.dsn):
            session.keep_alive(target)
            if not _alone(target, name):
                return None
        if session.same_database(source, target):
            raise UsageError(f"job {name}: source and destination are the same database", hint="they are two regions")
        tables = _chosen(name, job, options, source, target)
        with named(DESTINATION, job.destination.dsn):
            marks = read_watermarks(target, name)
            if not options.dry_run:
                target.execute(block(STATE, "make"))
            row = target.execute(block(PREFLIGHT, "identity")).fetchone()
            assert row is not None
        with at_snapshot(source, job.source.dsn, str(row[0])) as moment:
            run = _Pass(name, job, options, moment, target, marks, watch)
            run.check(tables)
            run.offer(tables)
            for group in groups(tables):
                if stop():
                    break
                run.group(group)
            left = tuple(table.title for table in tables if table not in run.done)
            verified = run.verify(tables) if options.verify and not (options.dry_run or left) else None
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


@dataclass
class _Pass:
    """A pass under way. ``counts`` are of the groups that are done."""

    name: str
    job: Job
    options: PassOptions
    source: Source
    target: Connection
    marks: dict[Name, Watermark]
    watch: Watch
    counts: dict[Name, Counts] = field(default_factory=dict)
    reach: dict[Name, Reach] = field(default_factory=dict)
    full: bool = False
    done: list[SyncTable] = field(default_factory=list)

    def check(self, tables: Sequence[SyncTable]) -> None:
        """Raises Refused where the source is not what the target was synced from."""
        if self.options.once:
            return
        for table in tables:
            if mark := self.marks.get(table.name):
                self.reach[table.name] = self.source.reach(self.name, table, mark)
        check_history(self.name, self.marks, self.source.identity, self.reach)

    def offer(self, tables: Sequence[SyncTable]) -> None:
        """Tell the source what the target is about to hold, and what it holds by now.

        In a session of its own: that of the snapshot only reads. After it and before the first group, so that a
        source without this has not all that is in the snapshot either.
        """
        logged = [table for table in tables if table.capture is Capture.LOG]
        if not logged or self.options.dry_run:
            return
        offered = self.source.snapshot
        dsn = self.job.source.dsn
        with connect(dsn, name=SOURCE, application="pgsync") as conn, named(SOURCE, dsn):
            conn.execute(block(SOURCE_SQL, "lasting"))
            for table in logged:
                mark = self.marks.get(table.name)
                passed = offered if mark is None or self._why_full(table) else mark.snapshot
                reader = {"job": self.name, "target": self.source.target, "passed": passed, "offered": offered}
                conn.execute(block(SOURCE_SQL, "offer"), {**reader, "schema": table.name[0], "table": table.name[1]})

    def group(self, tables: Sequence[SyncTable]) -> None:
        """One group, in one transaction of the target."""
        whole = {table.name for table in tables if self._why_full(table)}
        while True:
            try:
                self._apply(tables, whole)
                break
            except StrangerError as error:
                if error.table.name in whole:
                    raise Refused(
                        f"{error.table.title}: a row that only the destination has holds a value of {error.index}"
                        " that the source gives to another one",
                        hint="delete: true takes such rows away; or change the value at the destination",
                    ) from None
                whole |= {error.table.name}
        self.done += tables

    def _why_full(self, table: SyncTable) -> str | None:
        if self.options.once:
            return "asked for"
        return why_full(table, self.job.policy, self.marks.get(table.name), self.reach.get(table.name))

    def _apply(self, tables: Sequence[SyncTable], whole: set[Name]) -> None:
        counts = {table.name: Counts() for table in tables}
        with ExitStack() as stack:
            with self._comparing(tables) as comparison:
                plans = [self._plan(table, table.name in whole, comparison, stack) for table in tables]
            with (
                writing(self.target, self.job.destination.dsn, judged=True, rollback=self.options.dry_run) as target,
                target.quiet(tables if any(plan.work for plan in plans) else ()),
            ):
                staged = [plan for plan in plans if self._bring(target, plan, counts[plan.table.name])]
                for plan in reversed(staged):
                    if plan.table.delete:
                        counts[plan.table.name].deleted = self._delete(target, plan.table)
                if not self.options.dry_run:
                    for plan in plans:
                        move(self.target, self.name, plan.table.name, self._mark(plan.table))
        self.counts |= counts
        self.full |= bool(whole)

    def _comparing(self, tables: Sequence[SyncTable]) -> AbstractContextManager[Comparison]:
        return comparing(self.job.source.dsn, self.source.exported, self.job.destination.dsn, tables, self.watch)

    def _plan(self, table: SyncTable, whole: bool, comparison: Comparison, stack: ExitStack) -> _Plan:
        """What has to be brought: decided, and compared, before the target's transaction begins."""
        mark = self.marks.get(table.name)
        if mark is None and not self.job.snapshot:
            return _Plan(table)
        if not whole and table.capture is Capture.LOG and mark is not None:
            changes = self.source.logged(table, mark.snapshot)
            whole = changes.emptied
            if not whole:
                return _Plan(table, log=mark if changes.rows else None)
        if whole and Target(self.target, self.job.destination.dsn).empty(table):
            return _Plan(table, fill=True)
        spool = stack.enter_context(closing(Spool[Key]()))
        if whole or table.delete:
            self.watch.stage(table.title)
            for pair in comparison.differing(table, keys_only=not whole):
                if whole or pair.a is None:
                    spool.add(pair.key)
        return _Plan(table, keys=spool, recent=None if whole else mark)

    def _bring(self, target: Target, plan: _Plan, counts: Counts) -> bool:
        """Whether rows were staged, of which some may have to be deleted."""
        table = plan.table
        if not plan.work:
            return False
        self.watch.stage(table.title)
        if plan.fill:
            large = self.source.count(table) >= FILL_FROM
            with self.source.whole(table) as pieces:
                counts.read = counts.inserted = target.fill(table, pieces, self.watch.advance, large=large)
            return False
        target.stage(table)
        if plan.log is not None:
            with self.source.by_log(table, plan.log.snapshot) as pieces:
                target.receive(table, pieces, self.watch.advance)
        if plan.recent is not None:
            with self.source.by_xmin(table, plan.recent) as pieces:
                target.receive(table, pieces, self.watch.advance)
        keys = (key for batch in plan.keys.batches() for key in batch) if plan.keys else iter(())
        while batch := list(islice(keys, self.job.batch_size)):
            with self.source.by_keys(table, batch) as pieces:
                target.receive(table, pieces, self.watch.advance)
        present, counts.read = target.staged(table)
        if present:
            target.upsert(table, counts)
        counts.unchanged = present - counts.inserted - counts.updated
        return present < counts.read

    def _delete(self, target: Target, table: SyncTable) -> int:
        doomed = target.doomed(table)
        if not doomed:
            return 0
        if not self.source.holds_rows(table):
            raise Refused(
                f"{table.title} is empty at the source, and an empty source never empties the destination",
                hint=f"empty it at the destination yourself (TRUNCATE), or set delete: false for {table.name[1]}",
            )
        limit = self.options.max_delete
        rows = target.rows(table, limit.rows_for(doomed))
        if not limit.allows(doomed, rows):
            raise Refused(
                f"{table.title}: {doomed} of {rows} rows would be deleted, more than --max-delete {limit}",
                hint=f"look at them (pgsync --dry-run --max-delete 100%), then pgsync --max-delete {doomed}",
            )
        return target.delete(table)

    def _mark(self, table: SyncTable) -> Watermark:
        moment = self.source
        shape = shape_of(table, self.job.policy)
        return Watermark(table.capture, moment.snapshot, moment.identity, shape, moment.taken_at)

    def verify(self, tables: Sequence[SyncTable]) -> bool:
        """Whether the target now holds what the source held at the pass's snapshot."""
        with self._comparing(tables) as comparison:
            return not any(
                pair.a is not None or table.delete for table in tables for pair in comparison.differing(table)
            )

    def purge(self, source: Connection) -> None:
        """Let go of what every reader has passed."""
        with named(SOURCE, self.job.source.dsn):
            for table in self.done:
                if table.capture is not Capture.LOG:
                    continue
                source.execute(block(SOURCE_SQL, "purge"), {"schema": table.name[0], "table": table.name[1]})


@dataclass(frozen=True)
class _Plan:
    """What of one table has to be brought; nothing: it is as it was."""

    table: SyncTable
    fill: bool = False
    log: Watermark | None = None
    recent: Watermark | None = None
    keys: Spool[Key] | None = None

    @property
    def work(self) -> bool:
        """Whether there may be something to write."""
        return bool(self.fill or self.log or self.recent or (self.keys and self.keys.count))
