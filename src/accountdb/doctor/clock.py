"""The clocks of the regions, compared over round trips."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from accountdb.doctor.model import Look
from accountdb.doctor.region import FILE
from accountdb.health.advice import Finding, Remedy
from accountdb.pg.connect import Connection
from accountdb.sql import block

WARN_S, FAIL_S = 1.0, 10.0
_TRIPS = 7


@dataclass(frozen=True)
class Clock:
    """How far a server's clock is ahead of this machine's, in seconds, give or take ``error_s``."""

    ahead_s: float
    error_s: float


def read_clock(conn: Connection) -> Clock:
    """The best of several round trips: the answer was given somewhere between question and arrival."""
    trips = []
    for _ in range(_TRIPS):
        # The clock of the wall is read once: it may be put right in between.
        began = time.monotonic()
        row = conn.execute(block(FILE, "clock")).fetchone()
        ended = time.monotonic()
        assert row is not None
        trips.append((ended - began, row[0] - _WALL - (began + ended) / 2))
    duration, ahead = min(trips)
    return Clock(ahead, duration / 2)


_WALL = time.time() - time.monotonic()


def judge_clocks(clocks: Mapping[str, Clock]) -> Iterator[Finding]:
    """Every pair of regions. Pure."""
    look = Look(None)
    for one, other in combinations(clocks, 2):
        a, b = clocks[one], clocks[other]
        skew, error = a.ahead_s - b.ahead_s, a.error_s + b.error_s
        first, second = (one, other) if skew >= 0 else (other, one)
        text = f"{first} is {_seconds(abs(skew))} ahead of {second}, give or take {_seconds(error)}"
        least = abs(skew) - error
        if least <= WARN_S:
            yield look.passed("clock", text, f"{one} {other}")
            continue
        here = ", ".join(f"{name} {clocks[name].ahead_s:+.1f} s" for name in (one, other))
        cause = (
            f"against this machine's clock: {here}; equal versions are settled by the clock, so the wrong row can win"
        )
        # By the clock of this machine: no more than a guess at which one is wrong.
        wrong = max((one, other), key=lambda name: abs(clocks[name].ahead_s))
        remedy = Remedy(
            f"set the clock of the host of {wrong} and let NTP keep it, on that host: timedatectl set-ntp true"
        )
        make = look.failed if least > FAIL_S else look.warn
        yield make("clock", text, f"{one} {other}", cause, remedy)


def _seconds(value: float) -> str:
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.1f} s"
