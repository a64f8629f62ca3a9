"""A pass under way: both sides of it, the watermarks, and what has become of each table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from accountdb.compare.model import Watch
from accountdb.compare.session import named
from accountdb.errors import Refused
from accountdb.pg import session
from accountdb.pg.connect import connect
from accountdb.sql import block
from accountdb.sync.capture import Capture
from accountdb.sync.config import Job
from accountdb.sync.differing import Comparing
from accountdb.sync.model import SOURCE, Counts, Name, PassOptions, SyncTable
from accountdb.sync.side import Side
from accountdb.sync.source import FILE as SOURCE_SQL
from accountdb.sync.source import Changes, Source
from accountdb.sync.target import Target
from accountdb.sync.watermark import Reach, Watermark, check_history, move, shape_of, why_full


@dataclass
class Run:
    """What every policy needs. ``counts`` are of the tables that are done."""

    name: str
    job: Job
    options: PassOptions
    source: Source
    target: Side
    comparing: Comparing
    marks: dict[Name, Watermark]
    watch: Watch
    counts: dict[Name, Counts] = field(default_factory=dict)
    full: bool = False
    done: list[SyncTable] = field(default_factory=list)
    outlasts: bool = False
    """Whether a crash of the source would take back nothing of the snapshot."""
    reach: dict[Name, Reach] = field(default_factory=dict)
    logged: dict[Name, Changes] = field(default_factory=dict)

    def check(self, tables: Sequence[SyncTable]) -> None:
        """Raises Refused where the source is not what the target was synced from."""
        if self.options.once:
            return
        known = [(table, self.marks[table.name]) for table in tables if table.name in self.marks]
        self.reach = self.source.reach(self.name, known)
        check_history(self.name, self.marks, self.source.identity, self.reach)
        logged = {table.name: mark.snapshot for table, mark in known if table.capture is Capture.LOG}
        self.logged = self.source.logged(logged)

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
        with connect(dsn, name=SOURCE, application="pgsync") as conn, named(SOURCE, dsn), session.pipelined(conn):
            conn.execute(block(SOURCE_SQL, "lasting"))
            for table in logged:
                mark = self.marks.get(table.name)
                passed = offered if mark is None or self.why_full(table) else mark.snapshot
                reader = {"job": self.name, "target": self.source.target, "passed": passed, "offered": offered}
                conn.execute(block(SOURCE_SQL, "offer"), {**reader, "schema": table.name[0], "table": table.name[1]})
            conn.commit()
        # That commit has waited for all that is in the snapshot.
        self.outlasts = True

    def why_full(self, table: SyncTable) -> str | None:
        """Why a table has to be compared whole; None where what has changed is enough."""
        if self.options.once:
            return "asked for"
        return why_full(table, self.job.policy, self.marks.get(table.name), self.reach.get(table.name))

    def check_deletes(self, target: Target, table: SyncTable, doomed: int) -> None:
        """Raises Refused where so many rows of the target's may not be deleted."""
        limit = self.options.max_delete
        rows = target.rows(table, limit.rows_for(doomed))
        if not limit.allows(doomed, rows):
            raise Refused(
                f"{table.title}: {doomed} of {rows} rows would be deleted, more than --max-delete {limit}",
                hint=f"look at them (pgsync --dry-run --max-delete 100%), then pgsync --max-delete {doomed}",
            )

    def move(self, tables: Sequence[SyncTable]) -> None:
        """Set the watermarks, in the transaction that applied what they say."""
        if self.options.dry_run:
            return
        moment = self.source
        if not self.outlasts:
            moment.outlast_crash()
            self.outlasts = True
        for table in tables:
            shape = shape_of(table, self.job.policy)
            mark = Watermark(table.capture, moment.snapshot, moment.identity, shape, moment.taken_at)
            move(self.target.conn, self.name, table.name, mark)

    def purge(self, source: Side) -> None:
        """Let go of what every reader has passed."""
        with source.ask() as conn:
            for table in self.done:
                if table.capture is Capture.LOG:
                    conn.execute(block(SOURCE_SQL, "purge"), {"schema": table.name[0], "table": table.name[1]})
