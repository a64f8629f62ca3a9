"""Policy mirror: the target becomes the source, a group of tables at a time, each in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice

from accountdb.compare.model import Key
from accountdb.compare.spool import Spool
from accountdb.errors import Refused
from accountdb.sync.capture import Capture
from accountdb.sync.grouping import groups
from accountdb.sync.model import Counts, Name, SyncTable
from accountdb.sync.run import Run
from accountdb.sync.target import FILL_FROM, StrangerError, Target, writing
from accountdb.sync.watermark import Watermark


@dataclass
class Mirroring:
    """A pass of a mirror job."""

    run: Run

    def bring(self, tables: Sequence[SyncTable], stop: Callable[[], bool]) -> None:
        """All groups; ``stop`` is asked between two of them."""
        for group in groups(tables):
            if stop():
                return
            self._group(group)

    def verify(self, tables: Sequence[SyncTable]) -> bool:
        """Whether the target now holds what the source held at the pass's snapshot."""
        return not any(
            pair.a is not None or table.delete
            for table in tables
            for pair in self.run.comparing.differing(table, doing="verifying")
        )

    def _group(self, tables: Sequence[SyncTable]) -> None:
        """One group, in one transaction of the target."""
        whole = {table.name for table in tables if self.run.why_full(table)}
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
        self.run.done += tables

    def _apply(self, tables: Sequence[SyncTable], whole: set[Name]) -> None:
        run = self.run
        counts = {table.name: Counts() for table in tables}
        with ExitStack() as stack:
            plans = [self._plan(table, table.name in whole, stack) for table in tables]
            with (
                writing(run.target.conn, run.target.dsn, judged=True, rollback=run.options.dry_run) as target,
                target.quiet(tables if any(plan.work for plan in plans) else ()),
            ):
                staged = [plan for plan in plans if self._bring(target, plan, counts[plan.table.name])]
                for plan in reversed(staged):
                    if plan.table.delete:
                        counts[plan.table.name].deleted = self._delete(target, plan.table)
                run.move(tables)
        run.counts |= counts
        run.full |= bool(whole)

    def _plan(self, table: SyncTable, whole: bool, stack: ExitStack) -> _Plan:
        """What has to be brought: decided, and compared, before the target's transaction begins."""
        run = self.run
        mark = run.marks.get(table.name)
        if mark is None and not run.job.snapshot:
            return _Plan(table)
        if not whole and table.capture is Capture.LOG and mark is not None:
            changes = run.logged[table.name]
            whole = changes.emptied
            if not whole:
                return _Plan(table, log=mark if changes.rows else None)
        if whole and self._empty(table):
            return _Plan(table, fill=True)
        spool = stack.enter_context(closing(Spool[Key]()))
        if whole or table.delete:
            for pair in run.comparing.differing(table, keys_only=not whole):
                if whole or pair.a is None:
                    spool.add(pair.key)
        return _Plan(table, keys=spool, recent=None if whole else mark)

    def _empty(self, table: SyncTable) -> bool:
        with self.run.target.use() as conn:
            return Target(conn, self.run.target.dsn).empty(table)

    def _bring(self, target: Target, plan: _Plan, counts: Counts) -> bool:
        """Whether rows were staged, of which some may have to be deleted."""
        table, source, watch = plan.table, self.run.source, self.run.watch
        if not plan.work:
            return False
        if plan.fill:
            watch.stage(f"loading {table.title}", source.about(table))
            large = source.has(table, FILL_FROM)
            with source.whole(table) as pieces:
                counts.read = counts.inserted = target.fill(table, pieces, watch.advance, large=large)
            return False
        # By its keys alone: all of them are known.
        watch.stage(f"reading {table.title}", plan.keys.count if plan.keys and not plan.recent else None)
        target.stage(table)
        if plan.log is not None:
            with source.by_log(table, plan.log.snapshot) as pieces:
                target.receive(table, pieces, watch.advance)
        if plan.recent is not None:
            with source.by_xmin(table, plan.recent) as pieces:
                target.receive(table, pieces, watch.advance)
        keys = iter(plan.keys or ())
        while batch := list(islice(keys, self.run.job.batch_size)):
            with source.by_keys(table, batch) as pieces:
                target.receive(table, pieces, watch.advance)
        present, counts.read = target.staged(table)
        if present:
            watch.stage(f"writing {table.title}")
            target.upsert(table, counts)
        counts.unchanged = present - counts.inserted - counts.updated
        return present < counts.read

    def _delete(self, target: Target, table: SyncTable) -> int:
        doomed = target.doomed(table)
        if not doomed:
            return 0
        if not self.run.source.holds_rows(table):
            raise Refused(
                f"{table.title} is empty at the source, and an empty source never empties the destination",
                hint=f"empty it at the destination yourself (TRUNCATE), or set delete: false for {table.name[1]}",
            )
        self.run.check_deletes(target, table, doomed)
        return target.delete(table)


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
