"""Policy merge: what changed at the source is judged at the target by the row order, the claims and the tombstones.

Two such jobs, one each way, make a two-way sync. The judge is the one of `migratectl merge`, and behind it the
target's guards. All of a pass is one transaction of the target: rows, tombstones, resolutions and the watermark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain

from accountdb.catalog.order import parents_first
from accountdb.compare.diff import Comparison
from accountdb.compare.model import Key, Shape
from accountdb.compare.session import region_of
from accountdb.compare.shapes import negotiate
from accountdb.compare.spool import Spool
from accountdb.contract.masking import Secrets
from accountdb.merge.oneway import OneWay
from accountdb.merge.run import close_in
from accountdb.merge.writer import Writer
from accountdb.sql import block
from accountdb.sync import echo
from accountdb.sync.capture import Capture
from accountdb.sync.model import DESTINATION, SOURCE, Counts, SyncTable
from accountdb.sync.run import Run
from accountdb.sync.target import Target, writing

FILE = "sync/merging.sql"

# Where users write too, a pass that has to wait keeps them waiting.
_LOCK_TIMEOUT = "3s"


@dataclass
class Merging:
    """A pass of a merge job. ``ledgers``, tombstones among them, go along: rows of them are added, never changed."""

    run: Run
    ledgers: Sequence[SyncTable]

    @property
    def tombstones(self) -> SyncTable:
        """Of the ledgers the one that says who died."""
        return next(ledger for ledger in self.ledgers if ledger.name[1] == "tombstone")

    def bring(self, tables: Sequence[SyncTable], stop: Callable[[], bool]) -> None:
        """All tables, parents first, unless it is to stop before it has begun."""
        if stop():
            return
        run = self.run
        with ExitStack() as stack:
            keys = {table.title: stack.enter_context(closing(self._keys(table))) for table in tables}
            run.full |= any(run.why_full(table) for table in tables)
            with writing(run.target.conn, run.target.dsn, judged=False, rollback=run.options.dry_run) as target:
                began = self._begin()
                for ledger in self.ledgers:
                    self._carry(target, ledger)
                one_way = self._one_way(tables, target, stack)
                one_way.bring(keys)
                close_in(run.target.conn, [table.target for table in tables])
                self._mark(tables, one_way)
                run.counts |= self._counts(tables, keys, one_way, began)
                run.move([*tables, *self.ledgers])
        run.done += [*tables, *self.ledgers]

    def verify(self, tables: Sequence[SyncTable]) -> bool:
        """Whether nothing is left that the source had at the pass's snapshot and that wins at the target."""
        side = self.run.target
        with ExitStack() as stack, writing(side.conn, side.dsn, judged=False, rollback=True) as target:
            keys = {table.title: self._differing(table) for table in tables}
            return not self._one_way(tables, target, stack).undecided(keys)

    def _begin(self) -> datetime:
        found: datetime = self.run.target.row(FILE, "begin", {"lock": _LOCK_TIMEOUT})[0]
        return found

    def _keys(self, table: SyncTable) -> Spool[Key]:
        """The rows to look at: those that changed or died since the watermark, and those that could not be stored."""
        run = self.run
        spool = Spool[Key]()
        mark = run.marks.get(table.name)
        if mark is None and not run.job.snapshot:
            return spool
        # Of a death whose tombstone nobody logged only the whole table tells.
        if run.why_full(table) or run.why_full(self.tombstones) or mark is None or self._emptied(table):
            run.watch.stage(table.title)
            found = self._differing(table)
        else:
            more = {*self._buried(table, mark.snapshot), *self._unstored(table)}
            changed = run.source.changed(table, mark)
            found = chain(more, (key for key in changed if key not in more))
        for key in found:
            spool.add(key)
        return spool

    def _emptied(self, table: SyncTable) -> bool:
        return table.capture is Capture.LOG and self.run.logged[table.name].emptied

    def _buried(self, table: SyncTable, since: str) -> Iterator[Key]:
        return self.run.source.buried(table, self.tombstones, since)

    def _unstored(self, table: SyncTable) -> Iterator[Key]:
        names = {"schema": table.name[0], "table": table.name[1]}
        with self.run.target.use() as conn:
            yield from conn.execute(block(FILE, "unstored"), names).fetchall()

    def _differing(self, table: SyncTable) -> Iterator[Key]:
        return (pair.key for pair in self.run.comparing.differing(table))

    def _carry(self, target: Target, ledger: SyncTable) -> None:
        run = self.run
        mark = run.marks.get(ledger.name)
        full = mark is None or run.why_full(ledger)
        if not full and ledger.capture is Capture.LOG and not run.logged[ledger.name].rows:
            return
        target.stage(ledger)
        if mark is None or full:
            with run.source.whole(ledger) as pieces:
                target.receive(ledger, pieces, run.watch.advance, present=False)
        elif ledger.capture is Capture.XMIN:
            with run.source.by_xmin(ledger, mark) as pieces:
                target.receive(ledger, pieces, run.watch.advance)
        else:
            with run.source.by_log(ledger, mark.snapshot) as pieces:
                target.receive(ledger, pieces, run.watch.advance)
        target.add(ledger)
        echo.mark_all(run.target.conn, ledger.name, run.source.identity.database)

    def _one_way(self, tables: Sequence[SyncTable], target: Target, stack: ExitStack) -> OneWay:
        run = self.run
        a = region_of(SOURCE, run.source.dsn, [run.source.conn])
        b = region_of(DESTINATION, run.target.dsn, [run.target.conn])
        order = {(table.schema, table.name): n for n, table in enumerate(parents_first([t.target for t in tables]))}
        tables = sorted(tables, key=lambda table: order[table.name])
        shapes = tuple(_shape(table) for table in tables)
        found = Comparison(a, b, shapes, negotiate(a, b, None), Secrets({}), policy=True)
        writer = Writer(DESTINATION, run.target.dsn, run.target.conn, worker=False, origin=None)
        by_title = {table.title: table for table in tables}
        known = {title: table.target for title, table in by_title.items()}

        def allow(title: str, doomed: int) -> None:
            run.check_deletes(target, by_title[title], doomed)

        unseen = echo.unread(run.target.conn, known.values(), run.source.identity.database)
        return OneWay(found, known, writer, allow, run.watch, stack, unseen)

    def _mark(self, tables: Sequence[SyncTable], one_way: OneWay) -> None:
        """What the source holds alike needs not go back to it."""
        source = self.run.source.identity.database
        for table in tables:
            if one_way.equal[table.title].count:
                echo.mark_equal(self.run.target.conn, table.name, source, one_way.equal[table.title])
        echo.mark_deaths(self.run.target.conn, source)

    def _counts(
        self, tables: Sequence[SyncTable], keys: Mapping[str, Spool[Key]], one_way: OneWay, began: datetime
    ) -> dict[tuple[str, str], Counts]:
        released = {
            (schema, name): count
            for schema, name, count in self.run.target.conn.execute(block(FILE, "released"), {"since": began})
        }
        found = {}
        for table in tables:
            did, read = one_way.counts[table.title], keys[table.title].count
            counts = Counts(read, did.inserted, did.updated, did.deleted, released=released.get(table.name, 0))
            found[table.name] = replace(counts, unchanged=read - counts.written)
        return found


def _shape(table: SyncTable) -> Shape:
    columns = tuple(sorted(table.target.columns, key=lambda column: column.name))
    return Shape(*table.name, table.key, columns, ordered=True, partitioned=table.partitioned)
