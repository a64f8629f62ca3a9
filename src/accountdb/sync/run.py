"""A pass under way: both sides of it, the watermarks, and what has become of each table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from accountdb.compare.model import Watch
from accountdb.compare.session import named
from accountdb.errors import Refused
from accountdb.pg.connect import Connection
from accountdb.sql import block
from accountdb.sync.capture import Capture
from accountdb.sync.config import Job
from accountdb.sync.model import SOURCE, Counts, Name, PassOptions, SyncTable
from accountdb.sync.source import FILE as SOURCE_SQL
from accountdb.sync.source import Source
from accountdb.sync.target import Target
from accountdb.sync.watermark import Reach, Watermark, check_history, move, shape_of, why_full


@dataclass
class Run:
    """What every policy needs. ``counts`` are of the tables that are done."""

    name: str
    job: Job
    options: PassOptions
    source: Source
    target: Connection = field(repr=False)
    marks: dict[Name, Watermark]
    watch: Watch
    counts: dict[Name, Counts] = field(default_factory=dict)
    full: bool = False
    done: list[SyncTable] = field(default_factory=list)
    reach: dict[Name, Reach] = field(default_factory=dict)
    reasons: dict[Name, str | None] = field(default_factory=dict)

    def check(self) -> None:
        """Raises Refused where the source is not what the target was synced from."""
        if self.options.once:
            return
        self.reach = {name: self.source.reach(mark.snapshot) for name, mark in self.marks.items()}
        check_history(self.name, self.marks, self.source.identity, self.reach)

    def why_full(self, table: SyncTable) -> str | None:
        """Why a table has to be compared whole; None where what has changed is enough."""
        if self.options.once:
            return "asked for"
        if table.name not in self.reasons:
            mark, logged = self.marks.get(table.name), False
            if mark and table.capture is Capture.LOG:
                logged = self.source.log_reaches(table.name, mark.snapshot)
            self.reasons[table.name] = why_full(table, self.job.policy, mark, self.reach.get(table.name), logged=logged)
        return self.reasons[table.name]

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
        for table in tables:
            shape = shape_of(table, self.job.policy)
            mark = Watermark(table.capture, moment.snapshot, moment.identity, shape, moment.taken_at)
            move(self.target, self.name, table.name, mark)

    def acknowledge(self, source: Connection) -> None:
        """Tell the source what has been applied, and let go of what every reader has passed."""
        with named(SOURCE, self.job.source.dsn):
            for table in self.done:
                if table.capture is not Capture.LOG:
                    continue
                names = {"schema": table.name[0], "table": table.name[1]}
                reader = {"job": self.name, "target": self.source.target, "snapshot": self.source.snapshot}
                source.execute(block(SOURCE_SQL, "passed"), {**names, **reader})
                source.execute(block(SOURCE_SQL, "purge"), names)
