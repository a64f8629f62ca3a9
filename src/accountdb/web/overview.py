"""The first page: how the regions stand, out of what was read last. It asks no database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from accountdb.health.advice import Finding, Level
from accountdb.health.history import LagHistory
from accountdb.health.status import RegionStatus, StreamStatus
from accountdb.replication.model import State
from accountdb.web import figures, plot
from accountdb.web.rendering import page
from accountdb.web.site import site_of, visit_of

_ORDER = (Level.FAIL, Level.WARN, Level.INFO, Level.PASS)
_SHAPES = {Level.FAIL: "fail", Level.WARN: "warn", Level.INFO: "idle", Level.PASS: "ok"}


@dataclass(frozen=True)
class Direction:
    """One stream, from its provider to the region that receives it."""

    provider: str
    receiver: str
    stream: StreamStatus

    @property
    def shape(self) -> str:
        """How its state is drawn."""
        if self.stream.state is State.REPLICATING:
            return "ok"
        return "fail" if self.stream.state is State.DOWN else "idle"


def directions(regions: Sequence[RegionStatus]) -> tuple[Direction, ...]:
    """Every direction, in the order of the regions."""
    return tuple(
        Direction(stream.provider or stream.subscription, region.name, stream)
        for region in regions
        for stream in region.streams
    )


def series(lags: Sequence[LagHistory]) -> tuple[plot.Series, ...]:
    """What is drawn."""
    return tuple(
        plot.Series(
            one.provider,
            one.receiver,
            tuple(plot.Point(datetime.fromtimestamp(at, UTC), seconds) for at, seconds in one.points),
        )
        for one in lags
    )


def ordered(problems: Sequence[Finding]) -> tuple[Finding, ...]:
    """The worst first."""
    return tuple(sorted(problems, key=lambda one: _ORDER.index(one.level)))


async def overview(request: Request) -> Response:
    """The page. While nothing was read yet it says so."""
    known = site_of(request).watch.latest
    if known is None:
        return page(request, "reading.html")
    until = datetime.now(UTC)
    lines = series(known.lags)
    return page(
        request,
        "overview.html",
        known=known,
        stale=known.age > 3 * site_of(request).watch.interval_s + 10,
        directions=directions(known.status.regions),
        problems=ordered(known.problems),
        shapes_of=_SHAPES,
        drawings=[plot.drawing(lines, until, width=width) for width in (plot.WIDE, plot.NARROW)] if lines else [],
        hours=[(one, plot.by_hour(one, until)) for one in lines],
    )


async def lag(request: Request) -> Response:
    """The points of the plot: ``series`` with [seconds since 1970, lag in seconds, lag as text] each."""
    known = site_of(request).watch.latest
    until = datetime.now(UTC)
    return JSONResponse(
        {
            "left": plot.LEFT,
            "right": plot.RIGHT,
            "since": (until - timedelta(hours=24)).timestamp(),
            "until": until.timestamp(),
            "gap": visit_of(request).words("lag.gap"),
            "series": [
                {
                    "provider": one.provider,
                    "receiver": one.receiver,
                    "points": [[at, seconds, figures.seconds_text(seconds)] for at, seconds in one.points],
                }
                for one in (known.lags if known else ())
            ],
        }
    )
