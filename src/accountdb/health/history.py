"""How the lag of each direction was over the last hours, out of the beats that came."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import psycopg

from accountdb.errors import AccountdbError
from accountdb.health.asking import ANSWER_S
from accountdb.health.reading import prepare
from accountdb.health.status import Status
from accountdb.pg.connect import connect
from accountdb.sql import block

_Rows = list[tuple[str, float, float]]


@dataclass(frozen=True)
class LagHistory:
    """One direction. ``points`` are (seconds since 1970, lag in seconds), oldest first.

    A stretch without a point is one in which no beat came: the stream stood, or nobody made beats.
    """

    receiver: str
    provider: str
    subscription: str
    points: tuple[tuple[float, float], ...]


def read_history(
    dsns: Mapping[str, str], status: Status, *, hours: float = 24.0, points: int = 720, within_s: float = ANSWER_S
) -> tuple[LagHistory, ...]:
    """The history of every direction in ``status``; without points where the receiver does not answer ``within_s``.

    The difference of the clocks, as it is now, is taken out, so that what is left can be off by as much as the
    clocks have moved since.
    """
    found: dict[str, _Rows] = {}
    span = timedelta(hours=hours)
    threads = [
        threading.Thread(target=_into, args=(found, name, dsn, span, points), daemon=True) for name, dsn in dsns.items()
    ]
    deadline = time.monotonic() + within_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    return lag_history(dict(found), status)


def _into(found: dict[str, _Rows], name: str, dsn: str, span: timedelta, points: int) -> None:
    try:
        with connect(dsn, name="", autocommit=True, timeout_s=2, application="accountdb status") as conn:
            prepare(conn, 4.0)
            rows = conn.execute(block("health/reading.sql", "history"), {"span": span, "points": points}).fetchall()
    except (AccountdbError, psycopg.Error):
        return  # without points: status says why
    found[name] = [(node, at, seconds) for node, at, seconds in rows]


def lag_history(beats: Mapping[str, _Rows], status: Status) -> tuple[LagHistory, ...]:
    """Every direction's points out of the beats that each region has got, by its name. Pure."""
    by_name = {region.name: region for region in status.regions}
    histories: list[LagHistory] = []
    for region in status.regions:
        for stream in region.streams:
            provider = by_name.get(stream.provider or "")
            if provider is None:
                continue
            ahead = (region.skew_seconds or 0.0) - (provider.skew_seconds or 0.0)
            known = region.skew_seconds is not None and provider.skew_seconds is not None
            points = tuple(
                (at, max(round(seconds - (ahead if known else 0.0), 3), 0.0))
                for node, at, seconds in beats.get(region.name, ())
                if node == provider.node
            )
            histories.append(LagHistory(region.name, provider.name, stream.subscription, points))
    return tuple(histories)
