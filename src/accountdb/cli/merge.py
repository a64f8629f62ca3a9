"""migratectl merge, undo and purge: bringing data to the same rows, taking it back, and retention."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from accountdb.cli import options
from accountdb.cli.diff import Exclude, Jobs, Settle, Tables, tell_row
from accountdb.errors import Refused, UsageError
from accountdb.health.status import read_status
from accountdb.merge.heal import HealReport
from accountdb.merge.model import Counts, Receipt, TablePlan
from accountdb.merge.purge import purge as remove
from accountdb.pg.connect import connect
from accountdb.render import output
from accountdb.render.progress import meter
from accountdb.setup.merging import MergeOptions, heal_regions, merge_regions, plan_merge, undo_merge

_WATCH_S = 10.0


def merge(
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    node: options.Nodes = None,
    table: Tables = None,
    exclude: Exclude = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show what each region would get, write nothing.")] = False,
    undo: Annotated[
        Path | None,
        typer.Option("--undo", metavar="FILE", help="Write a file for migratectl undo."),
    ] = None,
    settle: Settle = None,
    jobs: Jobs = 2,
    no_lock: Annotated[
        bool, typer.Option("--no-lock", help="Never lock a table: an empty one is filled by batches too, more slowly.")
    ] = False,
    recent: Annotated[
        bool, typer.Option("--recent", help="Only rows that a conflict or a tombstone names: the healing pass.")
    ] = False,
    hours: Annotated[float, typer.Option("--hours", min=0.01, help="How far --recent looks back.")] = 24.0,
    watch: Annotated[bool, typer.Option("--watch", help="Again every 10 seconds, until Ctrl-C.")] = False,
    json: options.Json = False,
) -> int:
    """Make two regions or more hold the same rows by the row order; exit status 1 when some still differ."""
    regions = options.regions(cn, global_, node)
    if recent and (table or exclude or plan or undo):
        raise UsageError("--recent takes no --table, --exclude, --plan or --undo", hint="leave out --recent")
    if plan and (undo or watch):
        raise UsageError("--plan writes nothing, so --undo and --watch have nothing to do", hint="leave out --plan")
    chosen = MergeOptions(tuple(table or ()), tuple(exclude or ()), jobs, settle, not no_lock, undo)
    if plan:
        return _plan(regions, chosen, json=json)
    while True:
        status = _heal(regions, hours, json=json) if recent else _merge(regions, chosen, json=json)
        if not watch:
            return status
        time.sleep(_WATCH_S)  # the interval between two passes, not a wait for a state


def _plan(regions: dict[str, str], chosen: MergeOptions, *, json: bool) -> int:
    with meter() as watch:
        found = plan_merge(regions, chosen, watch)
    if json:
        output.say(output.as_json({"regions": list(regions), "tables": found}))
    else:
        _tell_plan(tuple(regions), found)
    return 1 if any(counts.total for one in found for counts in one.regions.values()) else 0


def _tell_plan(names: tuple[str, ...], found: tuple[TablePlan, ...]) -> None:
    for one in found:
        for row in one.samples:
            tell_row(row)
    _tell_counts({one.table: one.regions for one in found}, names)
    if any(counts.total for one in found for counts in one.regions.values()):
        output.tell("nothing was written")
        output.tell("hint: migratectl merge --undo FILE does it, and migratectl undo FILE takes it back")
    else:
        output.tell("nothing to do: the regions are equal")


def _tell_counts(tables: Mapping[str, Mapping[str, Counts]], names: tuple[str, ...]) -> None:
    rows = [
        [table, name, str(counts[name].inserted), str(counts[name].updated), str(counts[name].deleted)]
        for table, counts in tables.items()
        for name in names
        if name in counts and counts[name].total
    ]
    output.table("", ["table", "region", "insert", "update", "delete"], rows)


def _merge(regions: dict[str, str], chosen: MergeOptions, *, json: bool) -> int:
    with meter() as watch:
        receipt = merge_regions(regions, chosen, watch)
    if json:
        output.say(
            output.as_json({"equal": receipt.equal, **{f.name: getattr(receipt, f.name) for f in fields(receipt)}})
        )
    else:
        tell_receipt(tuple(regions), receipt)
    return 0 if receipt.equal else 1


def tell_receipt(names: tuple[str, ...], receipt: Receipt) -> None:
    """What a merge did, for people: rows on stdout, the rest on stderr."""
    for row in receipt.different:
        tell_row(row)
    _tell_counts(receipt.written, names)
    if receipt.also:
        output.tell(f"merged too, because others refer to them: {', '.join(receipt.also)}")
    for name in receipt.left_out:
        output.tell(f"warning: {name} is not under the row contract and was left out", style="yellow")
    wrote = any(counts.total for regions in receipt.written.values() for counts in regions.values())
    if receipt.echo and wrote:
        output.tell("no right to a replication origin: what was written is streamed once more, which changes nothing")
    changing = sum(result.changing for result in receipt.proof)
    state = "equal" if receipt.equal else "not equal yet"
    rounds = "1 round" if receipt.rounds == 1 else f"{receipt.rounds} rounds"
    output.tell(f"{state} after {rounds}, {receipt.seconds:.1f} s")
    if receipt.healed:
        output.tell(f"{receipt.healed} conflicts closed: their rows stand now")
    if receipt.undo and wrote:
        output.tell(f"hint: migratectl undo {receipt.undo} takes it back; the file holds secrets")
    if receipt.unproved:
        output.tell(f"not looked at again after the last change: {', '.join(receipt.unproved)}")
    if changing:
        output.tell(f"{changing} rows are being written all the time")
    if receipt.withheld:
        output.tell(
            f"rows to be deleted stay in {', '.join(receipt.withheld)}: tables that refer to them were not merged"
        )
        output.tell("hint: migratectl merge without --table and --exclude")
    elif not receipt.equal:
        output.tell("hint: run it again; a row that stays waits for a person: migratectl conflicts list")


def _heal(regions: dict[str, str], hours: float, *, json: bool) -> int:
    found = heal_regions(regions, within_s=hours * 3600)
    if json:
        output.say(output.as_json(found))
    else:
        _tell(found)
    return 1 if found.different else 0


def _tell(found: HealReport) -> None:
    written = ", ".join(f"{count} in {name}" for name, count in found.written.items())
    output.tell(f"{found.looked_at} rows looked at, written: {written}, {found.rounds} rounds")
    for table, uuid in found.different:
        output.say(f"differs: {table} {uuid}")
    if found.different:
        output.tell("hint: run it again; a row that stays waits for a person: migratectl conflicts list")


def undo(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file that merge --undo wrote.")],
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    node: options.Nodes = None,
    json: options.Json = False,
) -> int:
    """Take a merge back; exit status 1 when rows had been changed since, and were left as they are."""
    regions = options.regions(cn, global_, node)
    found = undo_merge(regions, file)
    if json:
        output.say(output.as_json(found))
    else:
        for name, done in found.items():
            output.say(f"{name}: {done.removed} removed, {done.restored} restored, {done.left} left")
        if any(done.left for done in found.values()):
            output.tell("rows that are left were changed since, have children by now, or another row has their value")
    return 1 if any(done.left for done in found.values()) else 0


def purge(
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    node: options.Nodes = None,
    days: Annotated[float, typer.Option("--days", min=1, help="Keep what is younger.")] = 30.0,
    plan: Annotated[bool, typer.Option("--plan", help="Count, remove nothing.")] = False,
) -> int:
    """Remove old tombstones and settled conflicts; refused while a stream is not replicating."""
    regions = options.regions(cn, global_, node)
    findings = [finding for region in read_status(regions).regions for finding in region.findings]
    if findings and not plan:
        raise Refused(
            f"a change that is still on its way may need its tombstone: {findings[0]}",
            hint="mend the stream first; --plan counts without removing",
        )
    for name, dsn in regions.items():
        with connect(dsn, name=f"--{name}", autocommit=True) as conn:
            found = remove(conn, days, plan=plan)
        output.say(f"{name}: {found.tombstones} tombstones, {found.conflicts} conflicts older than {days:g} days")
    output.tell("nothing was removed" if plan else "removed")
    return 0
