"""migratectl status."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import typer

from accountdb.cli import options
from accountdb.health.asking import ANSWER_S
from accountdb.health.status import RegionStatus, Status, StreamStatus, read_status
from accountdb.health.watching import Look, Watcher
from accountdb.render import output

_INTERVAL_S = 2.0
# So much of its log a server keeps anyhow.
_SEGMENT = 16 * 1024 * 1024


def status(
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    node: options.Nodes = None,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and show it again and again, until Ctrl-C.")] = False,
    interval: Annotated[
        float,
        typer.Option("--interval", metavar="SECONDS", min=0.2, max=3600, help="With --watch: how often."),
    ] = _INTERVAL_S,
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", min=0.1, max=600, help="How long a region may take to answer."),
    ] = ANSWER_S,
    json: options.Json = False,
) -> int:
    """Nodes, subscriptions, lag, slots, guards and conflicts; exit status 1 when something is wrong.

    With --watch each region gets a beat at each look, by which the lag is known in seconds.
    """
    regions = options.regions(cn, global_, node, least=1)
    if watch:
        return _watch(regions, interval, json=json)
    found = read_status(regions, timeout)
    if json:
        output.say(output.as_json(found))
    else:
        _show(found)
    return 0 if found.healthy else 1


def _watch(regions: Mapping[str, str], interval_s: float, *, json: bool) -> int:
    """Until Ctrl-C; the exit status is that of the last look."""
    watcher = Watcher(regions, interval_s)
    healthy = False
    try:
        watcher.start()
        with _Lines(json=json) if json or not output.stdout().is_terminal else _Screen(interval_s) as show:
            while True:
                look = watcher.look()
                healthy = look.status.healthy
                show.show(look)
                time.sleep(interval_s)  # the interval of a screen, not a wait for a state
    except KeyboardInterrupt:
        return 0 if healthy else 1
    finally:
        watcher.stop()


class _Screen:
    """The whole terminal, drawn anew at each look."""

    def __init__(self, interval_s: float) -> None:
        from rich.live import Live

        from accountdb.cli.screen import Trails

        self._interval_s = interval_s
        self._trails = Trails()
        self._live = Live(console=output.stdout(), screen=True, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> _Screen:
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.__exit__(None, None, None)

    def show(self, look: Look) -> None:
        from accountdb.cli.screen import draw

        self._trails.add(look.status)
        size = self._live.console.size
        now = datetime.now(UTC)
        drawn = draw(look, self._trails, now, self._interval_s, width=size.width, height=size.height)
        self._live.update(drawn, refresh=True)


class _Lines:
    """A pipe or a log: each look a few plain lines, or one JSON document on a line; problems when they change."""

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self._told: list[str] = []

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def show(self, look: Look) -> None:
        if self._json:
            output.say(output.as_json({"at": datetime.now(UTC), **vars(look.status)}, indent=None))
            return
        at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        for region in look.status.regions:
            output.say(f"{at} {_region_line(region)}")
            for stream in region.streams:
                output.say(f"{at} {region.name}: {_stream_line(stream)}")
        told = [f"{region.name} {problem.sentence}" for region in look.status.regions for problem in region.problems]
        if told != self._told:
            _tell_problems(look.status)
        self._told = told


def _show(found: Status) -> None:
    for region in found.regions:
        output.say(_region_line(region))
        for stream in region.streams:
            output.say(f"  {_stream_line(stream)}")
        for slot in region.followers:
            activity = "active" if slot.active else "inactive"
            output.say(f"  slot {slot.name}: {activity}, {output.bytes_text(slot.lag_bytes)} not confirmed")
        for run in region.runs:
            equal = {True: ", equal", False: ", not equal", None: ""}[run.equal]
            output.say(f"  {run.kind} with {run.partners}: {output.span_text(run.age_seconds)} ago{equal}")
        for one in region.passes:
            output.say(f"  pgsync job {one.job}: pass {output.span_text(one.age_seconds)} ago, {one.tables} tables")
        if region.backlog:
            more = "more than " if region.backlog.more else ""
            output.say(f"  capture log: {more}{region.backlog.changes} changes")
    _tell_problems(found)


def _tell_problems(found: Status) -> None:
    for region in found.regions:
        for problem in region.problems:
            word = "finding" if problem.level == "fail" else "warning"
            output.tell(f"{word}: {problem.sentence}", style="yellow")
            for hint in problem.remedy.lines:
                output.tell(f"hint: {hint}")
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
    if stream.lag_transactions:
        lag += f", at most {stream.lag_transactions} transactions"
    if (stream.retained_bytes or 0) >= _SEGMENT or stream.wal_status not in (None, "reserved"):
        lag += f", slot keeps {output.bytes_text(stream.retained_bytes)} ({stream.wal_status})"
    if stream.lost_in_seconds:
        lag += f", lost in {output.span_text(stream.lost_in_seconds)}"
    if stream.bytes_per_second is not None:
        lag += f", applies {output.bytes_text(int(stream.bytes_per_second))}/s"
    if stream.transactions_per_second is not None:
        lag += f", {stream.transactions_per_second:.1f} transactions/s"
    reason = f" ({stream.reason})" if stream.reason else ""
    return f"{stream.subscription}: {stream.state}, {lag}{reason}"
