"""The screen of ``migratectl status --watch``: all regions and directions at one moment. Draws, and reads nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from accountdb.health.advice import Finding, Level
from accountdb.health.status import RegionStatus, Status, StreamStatus
from accountdb.health.watching import Look
from accountdb.render.output import bytes_text, seconds_text, span_text

_BARS = "▁▂▃▄▅▆▇█"
_TRAIL = 20
# A lag below this is drawn flat.
_FLAT_S = 1.0
_STATES = {"replicating": "green", "initializing": "yellow", "pending": "yellow", "disabled": "yellow"}
_LEVELS = {Level.FAIL: "bold red", Level.WARN: "yellow"}


class Trails:
    """The lag of each direction over the last looks."""

    def __init__(self) -> None:
        self._lags: dict[tuple[str, str], deque[float | None]] = {}

    def add(self, status: Status) -> None:
        """One more look."""
        for region in status.regions:
            for stream in region.streams:
                trail = self._lags.setdefault((region.name, stream.subscription), deque(maxlen=_TRAIL))
                trail.append(stream.lag_seconds)

    def of(self, region: str, subscription: str) -> tuple[float | None, ...]:
        """The lags of one direction, oldest first; None where it was not known."""
        return tuple(self._lags.get((region, subscription), ()))


def bars(lags: Sequence[float | None]) -> str:
    """A line of bars, as high as the highest of them; a gap where the lag was not known."""
    top = max([lag for lag in lags if lag is not None], default=0.0)
    top = max(top, _FLAT_S)
    return "".join(" " if lag is None else _BARS[min(int(lag / top * 7.999), 7)] for lag in lags)


def draw(
    look: Look, trails: Trails, at: datetime, interval_s: float, *, width: int = 80, height: int = 24
) -> RenderableType:
    """The whole screen, ``height`` lines at most: what is told twice, and empty lines, go first."""
    status = look.status
    streams = sum(len(region.streams) for region in status.regions)
    least = 1 + sum(_region_height(region) for region in status.regions) + (streams + 1 if streams else 0)
    both_lines = least + streams + 3 <= height
    used = least + (streams if both_lines else 0)
    problems = [problem for region in status.regions for problem in region.problems]
    told, whole = _problems(problems, width, height - used - 3)
    gap: list[RenderableType] = [Text("")] if whole else []
    if not whole:
        told, _ = _problems(problems, width, height - used)
    parts: list[RenderableType] = [_head(status, at, interval_s), *gap]
    parts += [_region(region, look.ages.get(region.name), look.beat_errors) for region in status.regions]
    if streams:
        parts += [*gap, _streams(status, trails, both_lines=both_lines)]
    return Group(*parts, *(gap if told else []), *told)


def _head(status: Status, at: datetime, interval_s: float) -> Table:
    head = Table.grid(expand=True)
    head.add_column(ratio=1, no_wrap=True)
    head.add_column(justify="right")
    told = f"accountdb  {at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC  every {interval_s:g} s"
    state = Text("healthy", "bold green") if status.healthy else Text("UNHEALTHY", "bold red")
    head.add_row(Text(told, "dim"), state)
    return head


def _region_height(region: RegionStatus) -> int:
    return 1 if region.error else 2 + len(region.passes)


def _region(region: RegionStatus, age: float | None, beat_errors: Mapping[str, str]) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{region.name:<8}", "bold")
    if region.error:
        since = f", last answer {span_text(age)} ago" if age is not None else ""
        return text.append(f"down: {region.error}{since}", "bold red")
    guards = [guard.state == "installed" for guard in region.guards]
    text.append(f"{region.node or 'no node'}, {region.mode}, PostgreSQL {(region.server or '').split()[0]}")
    if guards:
        text.append(", guards ").append(f"{sum(guards)}/{len(guards)}", "" if all(guards) else "bold red")
    if beat_errors.get(region.name):
        text.append(f", no beat: {beat_errors[region.name]}", "yellow")
    text.append("\n        ")
    if region.conflicts_open is None:
        text.append("conflicts unknown")
    else:
        text.append(f"conflicts {region.conflicts_open} open", "yellow" if region.conflicts_open else "")
        text.append(f", {region.conflicts_last_minute} in the last minute")
    for run in region.runs:
        equal = {True: "equal", False: "not equal", None: ""}[run.equal]
        text.append(f"; {run.kind} {span_text(run.age_seconds)} ago").append(
            f" {equal}" if equal else "", "" if run.equal else "yellow"
        )
    if region.backlog:
        more = "more than " if region.backlog.more else ""
        text.append(f"; {more}{region.backlog.changes} changes logged for pgsync")
    for one in region.passes:
        text.append(f"\n        pgsync {one.job}: pass {span_text(one.age_seconds)} ago, {one.tables} tables")
    return text


def _streams(status: Status, trails: Trails, *, both_lines: bool) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0), expand=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_row(*(Text(word, "dim") for word in ("direction", "state", "behind", "lag", "at most", "")))
    for region in status.regions:
        for stream in region.streams:
            table.add_row(
                Text(f"{stream.provider or '?'} → {region.name}", "bold"),
                Text(stream.state, _STATES.get(stream.state, "bold red")),
                bytes_text(stream.lag_bytes),
                seconds_text(stream.lag_seconds),
                "" if stream.lag_transactions is None else f"{stream.lag_transactions} tx",
                Text(bars(trails.of(region.name, stream.subscription)), "cyan"),
            )
    if not both_lines:
        return table
    return _with_details(status, table)


def _with_details(status: Status, table: Table) -> Table:
    """The streams, and below them what they do and what their slots hold."""
    whole = Table.grid()
    whole.add_row(table)
    for region in status.regions:
        for stream in region.streams:
            whole.add_row(Text(details(region.name, stream), "dim", no_wrap=True, overflow="ellipsis"))
    return whole


def details(region: str, stream: StreamStatus) -> str:
    """What a stream does, and what is kept for it: one line."""
    rate = "rate unknown yet"
    if stream.bytes_per_second is not None:
        rate = f"{bytes_text(int(stream.bytes_per_second))}/s"
        if stream.transactions_per_second is not None:
            rate += f", {stream.transactions_per_second:.1f} tx/s"
    slot = "slot not seen"
    if stream.retained_bytes is not None or stream.wal_status is not None:
        slot = f"slot keeps {bytes_text(stream.retained_bytes)} ({stream.wal_status or 'unknown'})"
        if stream.safe_bytes is None and stream.wal_status != "lost":
            slot += ", no quota"
        elif stream.wal_status != "lost":
            slot += f", {bytes_text(stream.safe_bytes)} to its quota"
        if stream.lost_in_seconds:
            slot += f", lost in {span_text(stream.lost_in_seconds)}"
    return f"{stream.provider or '?'} → {region}  {rate}; {slot}"


def _problems(problems: Sequence[Finding], width: int, lines: int) -> tuple[list[RenderableType], bool]:
    """As many as there is room for, the worst first, of the rest how many there are; and whether it is all of them."""
    drawn: list[RenderableType] = []
    paper = Console(width=width)
    told = [p for p in problems if p.level in _LEVELS]
    told.sort(key=lambda p: p.level is not Level.FAIL)
    for number, problem in enumerate(told):
        texts = [Text(problem.sentence, _LEVELS[problem.level])]
        texts += [Text(f"  {line}") for line in problem.remedy.lines]
        needed = sum(len(text.wrap(paper, width)) for text in texts)
        if needed > (lines if number == len(told) - 1 else lines - 1):
            return [*drawn, Text(f"and {len(told) - number} more: migratectl status", "yellow")], False
        drawn += texts
        lines -= needed
    return drawn, lines >= 0
