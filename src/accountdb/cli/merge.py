"""migratectl merge and migratectl purge: bringing data to the same rows, and retention."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from accountdb.cli import options
from accountdb.errors import Refused, UsageError
from accountdb.health.status import read_status
from accountdb.merge.heal import HealReport
from accountdb.merge.purge import purge as remove
from accountdb.pg.connect import connect
from accountdb.render import output
from accountdb.setup.data import heal_regions

_WATCH_S = 10.0


def merge(
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    node: options.Nodes = None,
    recent: Annotated[
        bool, typer.Option("--recent", help="Only rows that a conflict or a tombstone names: the healing pass.")
    ] = False,
    hours: Annotated[float, typer.Option("--hours", min=0.01, help="How far --recent looks back.")] = 24.0,
    watch: Annotated[bool, typer.Option("--watch", help="Again every 10 seconds, until Ctrl-C.")] = False,
    json: options.Json = False,
) -> int:
    """Make rows that differ equal by the row order; exit status 1 when some still differ."""
    if not recent:
        raise UsageError("a merge of whole tables is not part of this version", hint="migratectl merge --recent")
    regions = options.regions(cn, global_, node)
    if len(regions) != 2:
        raise UsageError(f"merge takes two regions, {len(regions)} given", hint="--cn DSN --global DSN")
    while True:
        found = heal_regions(regions, within_s=hours * 3600)
        if json:
            output.say(output.as_json(found))
        else:
            _tell(found)
        if not watch:
            return 1 if found.different else 0
        time.sleep(_WATCH_S)  # the interval between two passes, not a wait for a state


def _tell(found: HealReport) -> None:
    written = ", ".join(f"{count} in {name}" for name, count in found.written.items())
    output.tell(f"{found.looked_at} rows looked at, written: {written}, {found.rounds} rounds")
    for table, uuid in found.different:
        output.say(f"differs: {table} {uuid}")
    if found.different:
        output.tell("hint: run it again; a row that stays waits for a person: migratectl conflicts list")


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
