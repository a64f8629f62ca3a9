"""migratectl status."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from accountdb.cli import options
from accountdb.health.asking import ANSWER_S
from accountdb.health.status import RegionStatus, Status, StreamStatus, read_status
from accountdb.render import output

_WATCH_S = 2.0


def status(
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    node: options.Nodes = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every 2 seconds, until Ctrl-C.")] = False,
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", min=0.1, help="How long a region may take to let us in."),
    ] = ANSWER_S,
    json: options.Json = False,
) -> int:
    """Nodes, subscriptions, lag, slots, guards and conflicts; exit status 1 when something is wrong."""
    regions = options.regions(cn, global_, node, least=1)
    while True:
        found = read_status(regions, timeout)
        if json:
            output.say(output.as_json(found, indent=None if watch else 2))
        else:
            _show(found)
        if not watch:
            return 0 if found.healthy else 1
        time.sleep(_WATCH_S)  # the interval of a screen, not a wait for a state


def _show(found: Status) -> None:
    for region in found.regions:
        output.say(_region_line(region))
        for stream in region.streams:
            output.say(f"  {_stream_line(stream)}")
        for slot in region.followers:
            activity = "active" if slot.active else "inactive"
            output.say(f"  slot {slot.name}: {activity}, {output.bytes_text(slot.lag_bytes)} not confirmed")
    for region in found.regions:
        for problem in region.problems:
            word = "finding" if problem.level == "fail" else "warning"
            output.tell(f"{word}: {problem.sentence}", style="yellow")
            if problem.remedy.text:
                output.tell(f"hint: {problem.remedy.text}")
    output.tell("healthy" if found.healthy else "unhealthy", style="green" if found.healthy else "red")


def _region_line(region: RegionStatus) -> str:
    if region.error:
        return f"{region.name}: down, {region.error}"
    guards = (
        f", guards {sum(g.state == 'installed' for g in region.guards)}/{len(region.guards)}" if region.guards else ""
    )
    opened = "unknown" if region.conflicts_open is None else str(region.conflicts_open)
    node = region.node or "no node name"
    return f"{region.name}: {node}, mode {region.mode}, PostgreSQL {region.server}{guards}, open conflicts {opened}"


def _stream_line(stream: StreamStatus) -> str:
    lag = f"lag {output.bytes_text(stream.lag_bytes)}, {output.seconds_text(stream.lag_seconds)}"
    reason = f" ({stream.reason})" if stream.reason else ""
    return f"{stream.subscription}: {stream.state}, {lag}{reason}"
