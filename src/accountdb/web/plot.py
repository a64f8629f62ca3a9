"""The lag of each direction over time, as the shapes of one drawing. Pure.

The scale of the seconds is logarithmic: a usual lag of milliseconds and an hour of outage are both read off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median

WIDE, NARROW = 960, 420
HEIGHT = 260
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 28
_LEAST_S = 0.01
# What a line of the grid may stand at.
_STEPS = ((0.01, "10 ms"), (0.1, "100 ms"), (1, "1 s"), (10, "10 s"), (60, "1 min"), (600, "10 min"), (3600, "1 h"),
          (6 * 3600, "6 h"), (86400, "1 d"))  # fmt: skip
# Beats come every few seconds or, by cron, minutes: less than this is no gap.
_LEAST_GAP_S = 300.0


@dataclass(frozen=True)
class Point:
    """One beat, or the slowest of a few: when it was made, and how long it took to arrive."""

    at: datetime
    seconds: float


@dataclass(frozen=True)
class Series:
    """One direction. Points are in order of time."""

    provider: str
    receiver: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Line:
    """One direction, drawn. ``path`` is in the units of the drawing; ``gaps`` are bands where no beat arrived."""

    provider: str
    receiver: str
    path: str
    dots: tuple[tuple[float, float], ...]
    gaps: tuple[tuple[float, float], ...]
    missing: tuple[tuple[datetime, datetime], ...]
    now: float | None
    usual: float | None
    highest: Point | None


@dataclass(frozen=True)
class Drawing:
    """All of it: lines of the grid as position and text, then the directions."""

    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    seconds: tuple[tuple[float, str], ...]
    hours: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]
    since: datetime
    until: datetime


def drawing(
    series: Sequence[Series], until: datetime, *, width: int = WIDE, span: timedelta = timedelta(hours=24)
) -> Drawing:
    """The last ``span`` before ``until``."""
    since = until - span
    highest = max((p.seconds for one in series for p in one.points), default=0.0)
    steps = [step for step in _STEPS if step[0] <= max(highest, 10.0)]
    top = max(highest * 1.1, steps[-1][0])
    return Drawing(
        width,
        HEIGHT,
        LEFT,
        width - RIGHT,
        TOP,
        HEIGHT - BOTTOM,
        tuple((_y(value, top), text) for value, text in steps),
        tuple((_x(at, since, until, width), f"{at:%H:%M}") for at in _hours(since, until)),
        tuple(_line(one, since, until, top, width) for one in series),
        since,
        until,
    )


def _hours(since: datetime, until: datetime) -> list[datetime]:
    """Every third full hour, in UTC."""
    at = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    found: list[datetime] = []
    while at <= until:
        if at.hour % 3 == 0:
            found.append(at)
        at += timedelta(hours=1)
    return found


def _line(series: Series, since: datetime, until: datetime, top: float, width: int) -> Line:
    points = [p for p in series.points if since <= p.at <= until]
    missing = gaps(points, since, until)
    starts = {end for _, end in missing}
    path: list[str] = []
    dots: list[tuple[float, float]] = []
    for at, point in enumerate(points):
        x, y = _x(point.at, since, until, width), _y(point.seconds, top)
        begins = at == 0 or point.at in starts
        path.append(f"{'M' if begins else 'L'}{x:g} {y:g}")
        ends = at + 1 == len(points) or points[at + 1].at in starts
        if begins and ends:
            dots.append((x, y))
    values = [p.seconds for p in points]
    return Line(
        series.provider,
        series.receiver,
        "".join(path),
        tuple(dots),
        tuple((_x(begin, since, until, width), _x(end, since, until, width)) for begin, end in missing),
        missing,
        points[-1].seconds if points and until - points[-1].at < timedelta(seconds=_LEAST_GAP_S) else None,
        median(values) if values else None,
        max(points, key=lambda p: p.seconds) if points else None,
    )


def gaps(points: Sequence[Point], since: datetime, until: datetime) -> tuple[tuple[datetime, datetime], ...]:
    """The times in which no beat was made that arrived: longer than three times the usual, and than five minutes."""
    if not points:
        return ((since, until),)
    steps = [(b.at - a.at).total_seconds() for a, b in pairwise(points)]
    longest = timedelta(seconds=max(_LEAST_GAP_S, 3 * median(steps)) if steps else _LEAST_GAP_S)
    edges = [since, *(p.at for p in points), until]
    return tuple((a, b) for a, b in pairwise(edges) if b - a > longest)


def _x(at: datetime, since: datetime, until: datetime, width: int) -> float:
    share = (at - since) / (until - since)
    return round(LEFT + share * (width - LEFT - RIGHT), 1)


def _y(seconds: float, top: float) -> float:
    low = math.log(_LEAST_S)
    share = (math.log(max(seconds, _LEAST_S)) - low) / (math.log(max(top, 1.0)) - low)
    return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


@dataclass(frozen=True)
class Hour:
    """One hour of one direction, for who does not see the drawing. None where no beat arrived."""

    begins: datetime
    usual: float | None
    highest: float | None


def by_hour(series: Series, until: datetime, hours: int = 24) -> tuple[Hour, ...]:
    """The last ``hours``, newest first."""
    last = until.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    found: list[Hour] = []
    for back in range(hours):
        begins = last - timedelta(hours=back)
        values = [p.seconds for p in series.points if begins <= p.at < begins + timedelta(hours=1)]
        found.append(Hour(begins, median(values) if values else None, max(values) if values else None))
    return tuple(found)
