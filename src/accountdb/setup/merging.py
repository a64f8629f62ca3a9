"""``migratectl merge`` and what belongs to it: regions made to hold the same rows, healed, taken back."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from accountdb.catalog.order import parents_first
from accountdb.catalog.tables import Table, read_tables
from accountdb.compare.diff import Comparison, comparisons
from accountdb.compare.model import Options, Watch
from accountdb.compare.session import named
from accountdb.compare.shapes import split_name
from accountdb.contract.row_contract import candidates, violations
from accountdb.errors import AccountdbError, MissingRightError, Refused, UsageError
from accountdb.guards.install import GuardState, states
from accountdb.merge.heal import HealReport, Row, heal, recent
from accountdb.merge.model import Receipt, TablePlan, Turn
from accountdb.merge.order import with_parents
from accountdb.merge.planning import plan
from accountdb.merge.recording import Recorder
from accountdb.merge.run import Merge, close_healed
from accountdb.merge.takeback import TakenBack, check_rights, take_back
from accountdb.merge.turns import Turns
from accountdb.merge.undo import check_lines, identity, read_header, undo_file
from accountdb.merge.writer import Writer, open_writers
from accountdb.pg import session
from accountdb.pg.connect import Connection, connect
from accountdb.replication import common
from accountdb.replication.drain import run_dry
from accountdb.replication.engine import standing
from accountdb.replication.model import Mode
from accountdb.setup.diffing import SETTLE_S, streams
from accountdb.sql import block

_FILE = "setup.sql"
_LOCK = 0x6163_6D65


@dataclass(frozen=True)
class MergeOptions:
    """What a merge is asked for. ``tables`` none: all under the row contract.

    ``fill``: an empty table may be locked and loaded whole. ``undo`` is the file that can take the merge back.
    """

    tables: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    jobs: int = 2
    settle_s: float | None = None
    fill: bool = True
    undo: Path | None = None


@dataclass(frozen=True)
class _Ready:
    """Regions that can be merged: the first one with each of the others, their tables parents first.

    ``also`` are tables that were not asked for.
    """

    pairs: tuple[Comparison, ...]
    tables: Mapping[str, Table]
    also: tuple[str, ...]
    left_out: tuple[str, ...]
    outside: tuple[Table, ...]
    """Replicated tables that were not asked for."""

    @property
    def by_other(self) -> dict[str, Comparison]:
        """The pairs by their second region."""
        return {pair.b.name: pair for pair in self.pairs}


def plan_merge(regions: Mapping[str, str], options: MergeOptions, watch: Watch) -> tuple[TablePlan, ...]:
    """What a merge of the regions, given by name and DSN, would do. Writes nothing."""
    with _ready(regions, options) as ready:
        return plan(ready.pairs, options.jobs, ready.pairs[0].shapes, watch)


def check_mergeable(regions: Mapping[str, str]) -> None:
    """Raise what would keep ``merge_regions`` from beginning. Writes nothing."""
    with _ready(regions, MergeOptions(jobs=1)):
        return


def merge_regions(regions: Mapping[str, str], options: MergeOptions, watch: Watch) -> Receipt:
    """Make two regions or more, given by name and DSN, hold the same rows by the policy, and prove it.

    The first region is merged with each of the others in turn, until none of these changes it any more.
    Raises UsageError and Refused before anything is written. A failure later leaves whole
    transactions behind, each of them lawful: run again, it goes on.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        ready = stack.enter_context(_ready(regions, options))
        joined, wait = stack.enter_context(streams(regions))
        _lock(stack, regions)
        writers = {n: stack.enter_context(open_writers(n, dsn, options.jobs)) for n, dsn in regions.items()}
        recorders = _recorders(stack, ready, options.undo, writers)
        settle_s = options.settle_s if options.settle_s is not None else SETTLE_S if joined else 0.0
        done: dict[str, Turn] = {}
        turns = Turns(tuple(ready.by_other))
        while (other := turns.next()) is not None:
            found = ready.by_other[other]
            merging = Merge(
                found,
                ready.tables,
                {name: writers[name] for name in found.names},
                recorders,
                wait,
                settle_s,
                options.jobs,
                watch,
                ready.outside,
                options.fill,
                again=other in done,
            )
            turn = Turn(*merging.run(), close_healed(found, ready.tables), merging.written, frozenset(merging.withheld))
            turns.done(hub_changed=any(counts[found.a.name].total for counts in turn.written.values()))
            done[other] = turn.after(done.get(other))
        receipt = Receipt.of(
            tuple(done.values()),
            seconds=round(time.monotonic() - began, 3),
            echo=any(writer.origin is None for some in writers.values() for writer in some),
            undo=str(options.undo) if options.undo else None,
            also=ready.also,
            left_out=ready.left_out,
            unproved=turns.waiting,
        )
        note_run(regions, "merge", receipt.seconds, equal=receipt.equal, written=receipt.by_region(regions))
        return receipt


def heal_regions(regions: Mapping[str, str], *, within_s: float, patience_s: float = 30.0) -> HealReport:
    """Heal regions, given by name and DSN: all that stream to each other.

    All streams must run: it waits for what they still carry. Raises Refused where the regions follow others
    too, AccountdbError where they do not run dry within ``patience_s``; nothing was written then
    that the next pass would not find as it is.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        ready = stack.enter_context(_ready(regions, MergeOptions(jobs=1)))
        # Looking at slots is best done by sessions of their own.
        marks = {name: stack.enter_context(connect(dsn, name=f"--{name}")) for name, dsn in regions.items()}
        _check_all_named(marks)
        _lock(stack, regions)
        writers = {name: stack.enter_context(open_writers(name, dsn, 1)) for name, dsn in regions.items()}

        def dry() -> None:
            run_dry(marks, within_s=patience_s)

        done: dict[str, HealReport] = {}
        turns = Turns(tuple(ready.by_other))
        while (other := turns.next()) is not None:
            found = ready.by_other[other]
            more: set[Row] = set()
            if found.others:
                dry()
                more = recent(found, within_s)
            healed = heal(found, ready.tables, writers, dry, within_s=within_s, more=more)
            turns.done(hub_changed=bool(healed.written[found.a.name]))
            done[other] = healed.after(done.get(other))
        report = HealReport.of(tuple(done.values()))
        seconds = round(time.monotonic() - began, 3)
        note_run(regions, "heal", seconds, equal=not report.different, written=report.written)
        return report


def _check_all_named(conns: Mapping[str, Connection]) -> None:
    """Raises Refused where a region follows more regions than are named, AccountdbError where it does not follow all.

    What a region that is not named has deleted may have reached one of two, and not what happened before the deletion.
    """
    others = len(conns) - 1
    for name, conn in conns.items():
        try:
            with named(name, ""):
                followed = sum(s.slot is not None for s in standing(conn).subscriptions)
                conn.commit()
        except MissingRightError:
            conn.rollback()
            continue
        # Of two that do not follow each other the streams tell, which never run dry.
        if others > 1 and followed < others:
            raise AccountdbError(
                f"{name} follows {followed} of the {others} other regions: what the rest writes does not reach it",
                hint="migratectl doctor names the stream that is missing; region join makes it",
            )
        if followed > others:
            raise Refused(
                f"{name} follows {followed} regions, and {others} of them named: all must be healed together",
                hint="name every region that streams to these: --node NAME=DSN for each, or ACCOUNTDB_REGIONS",
            )


def note_run(regions: Mapping[str, str], kind: str, seconds: float, *, equal: bool, written: Mapping[str, int]) -> None:
    """Leave in each region what ran last, for status; where this role may not, nothing is left."""
    nodes: dict[str, str] = {}
    with ExitStack() as stack:
        conns = {n: stack.enter_context(connect(dsn, name=f"--{n}", autocommit=True)) for n, dsn in regions.items()}
        for name, conn in conns.items():
            nodes[name] = common.node(conn)[0] or name
        for name, conn in conns.items():
            if not (conn.execute(block(_FILE, "may_note")).fetchone() or (False,))[0]:
                continue
            partners = ", ".join(sorted(node for other, node in nodes.items() if other != name))
            noted = {"kind": kind, "partners": partners, "seconds": seconds, "equal": equal}
            conn.execute(block(_FILE, "note_run"), {**noted, "written": written[name]})


def undo_merge(regions: Mapping[str, str], path: Path) -> dict[str, TakenBack]:
    """Take a merge back. ``regions`` are those of the merge, whatever their names now.

    Raises UsageError for a file that is not of these regions, MissingRightError where the other
    region would follow.
    """
    wanted = read_header(path)
    check_lines(path, wanted)
    with ExitStack() as stack:
        _lock(stack, regions)
        writers: dict[str, Writer] = {}
        tables: dict[tuple[str, str], Table] = {}
        for name, dsn in regions.items():
            (writer,) = stack.enter_context(open_writers(name, dsn, 1))
            with named(name, dsn):
                own = identity(writer.conn)
                replicated = _replicated(writer.conn)
            known = [was for was, database in wanted.items() if database == own]
            if len(known) != 1 or known[0] in writers:
                raise UsageError(
                    f"{path} was not written by a merge of {name}",
                    hint="undo takes the regions of the merge",
                )
            writers[known[0]] = writer
            tables |= {(t.schema, t.name): t for t in replicated}
        missing = [was for was in wanted if was not in writers]
        if missing:
            raise UsageError(
                f"{path} was written by a merge of {', '.join(wanted)}; {', '.join(missing)} is not given",
                hint="undo takes all regions of the merge: --node NAME=DSN for each",
            )
        check_rights(writers.values())
        return take_back(path, writers, tables)


@contextmanager
def _ready(regions: Mapping[str, str], options: MergeOptions) -> Iterator[_Ready]:
    """Check that the regions can be merged, and connect to them."""
    (first, dsn), *_ = regions.items()
    with connect(dsn, name=f"--{first}", autocommit=True) as conn, named(first, dsn):
        known = {(t.schema, t.name): t for t in read_tables(conn)}
    names, also, left_out = _chosen(known, options)
    wanted = Options(tables=tuple(".".join(name) for name in names), jobs=options.jobs)
    with comparisons(regions, wanted, connections=options.jobs) as pairs:
        found = pairs[0]
        _check_contract(found)
        _check_guards(found)
        tables = {f"{t.schema}.{t.name}": t for t in parents_first([known[name] for name in names])}
        by_title = {shape.title: shape for shape in found.shapes}
        shapes = tuple(by_title[title] for title in tables)
        outside = tuple(t for t in candidates(known.values()) if not violations(t) and (t.schema, t.name) not in names)
        ordered = tuple(dataclasses.replace(pair, shapes=shapes) for pair in pairs)
        yield _Ready(ordered, tables, also, left_out, outside)


def _chosen(
    known: Mapping[tuple[str, str], Table], options: MergeOptions
) -> tuple[list[tuple[str, str]], tuple[str, ...], tuple[str, ...]]:
    """The tables to merge, those among them that were not asked for, and those outside the row contract."""
    excluded = _excluded(known, options)
    fit = {(t.schema, t.name): t for t in candidates(known.values(), excluded) if not violations(t)}
    if not options.tables:
        outside = [t.name for t in candidates(known.values(), excluded) if violations(t)]
        return list(fit), (), tuple(outside)
    asked = [split_name(name) for name in options.tables]
    unfit = [".".join(name) for name in asked if name in known and name not in fit]
    if unfit:
        name = tuple(unfit[0].split(".", 1))
        why = violations(known[name[0], name[1]]) or ("another tool keeps it",)
        raise Refused(
            f"{unfit[0]} is not under the row contract, so no row order decides: {'; '.join(why)}",
            hint="migratectl table add brings a table under it",
        )
    missing = [".".join(name) for name in asked if name not in known]
    if missing:
        raise UsageError(f"no such table: {', '.join(missing)}", hint="--table users, or --table schema.table")
    names = with_parents(asked, fit)
    return names, tuple(".".join(name) for name in names if name not in asked), ()


def _excluded(known: Mapping[tuple[str, str], Table], options: MergeOptions) -> set[str]:
    """The names of the tables in public that are left out.

    Raises UsageError for one that cannot be: others that are merged refer to it.
    """
    excluded = {split_name(name) for name in options.exclude}
    if unknown := excluded - known.keys():
        listed = ", ".join(sorted(".".join(name) for name in unknown))
        raise UsageError(f"--exclude: no such table: {listed}", hint="--exclude takes names of tables")
    asked = [split_name(name) for name in options.tables]
    both = [".".join(name) for name in asked if name in excluded]
    if both:
        raise UsageError(f"--table and --exclude both name {', '.join(both)}", hint="leave one of the two out")
    fit = {(t.schema, t.name): t for t in candidates(known.values()) if not violations(t)}
    wanted = asked or [name for name in fit if name not in excluded]
    needed = excluded & set(with_parents([name for name in wanted if name in fit], fit))
    if needed:
        listed = ", ".join(".".join(name) for name in sorted(needed))
        raise UsageError(
            f"--exclude {listed}: tables that are merged refer to it, and a row without its parent cannot be brought",
            hint="leave those out too, or merge it with them",
        )
    return {name for _, name in excluded}


def _check_contract(found: Comparison) -> None:
    unfit = [shape.title for shape in found.shapes if not shape.ordered]
    if unfit:
        raise Refused(
            f"not under the row contract in both regions: {', '.join(unfit)}", hint="migratectl init in both regions"
        )
    if not found.policy:
        raise Refused(
            "a region has no tombstones, or this role may not read them",
            hint="run it as the owner of the tables or as an administrator; migratectl init makes what is missing",
        )


def _check_guards(found: Comparison) -> None:
    """The guards judge what a merge writes: they must be there, and be of this version."""
    for region in found.regions:
        with region.use() as conn:
            tables = read_tables(conn)
            merged = [t for t in tables if any((s.schema, s.name) == (t.schema, t.name) for s in found.shapes)]
            stale = [g for g in states(conn, merged, tables) if g.state is not GuardState.INSTALLED]
            if stale:
                listed = ", ".join(f"{guard.table} ({guard.state})" for guard in stale)
                _, mode = common.node(conn)
                raise Refused(f"{region.name}: guards are not current: {listed}", hint=_how_to_guard(mode))


def _how_to_guard(mode: Mode) -> str:
    """Which ``init`` installs guards: without ``--mode`` it would be that of pgsync, which has none."""
    if mode is not Mode.PGSYNC:
        return f"migratectl init --mode {mode}, in both regions"
    return (
        "migratectl init --mode native (before PostgreSQL 16: pglogical), in both regions; pgsync alone has no guards"
    )


def _replicated(conn: Connection) -> list[Table]:
    return [t for t in candidates(read_tables(conn)) if not violations(t)]


def _lock(stack: ExitStack, regions: Mapping[str, str]) -> None:
    """One merge at a time. The order of the names keeps two of them from waiting for each other."""
    for name, dsn in sorted(regions.items()):
        conn = stack.enter_context(connect(dsn, name=f"--{name}", autocommit=True))
        busy = f"another merge is at work in {name}"
        with named(name, dsn):
            session.keep_alive(conn)
            stack.enter_context(session.advisory_lock(conn, _LOCK, busy=busy))


def _recorders(
    stack: ExitStack, ready: _Ready, path: Path | None, writers: Mapping[str, Sequence[Writer]]
) -> dict[str, Recorder]:
    if path is None:
        return {}
    check_rights(writer for some in writers.values() for writer in some)
    identities: dict[str, str] = {}
    tables: dict[str, dict[tuple[str, str], Table]] = {}
    for name, (writer, *_) in writers.items():
        with named(name, writer.dsn):
            identities[name] = identity(writer.conn)
            tables[name] = {(t.schema, t.name): t for t in _replicated(writer.conn)}
    undo = stack.enter_context(undo_file(path, identities))
    return {name: Recorder(name, undo, known) for name, known in tables.items()}
