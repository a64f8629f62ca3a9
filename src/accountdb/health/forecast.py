"""Rates out of two looks, and when a slot is lost at such a rate. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from accountdb.health.model import SlotReading


@dataclass(frozen=True)
class Rates:
    """How fast a stream goes, per second: what its follower confirms, and what its slot retains more."""

    bytes_per_second: float | None = None
    transactions_per_second: float | None = None
    growth_per_second: float | None = None


NONE = Rates()


def rates(before: SlotReading | None, since: datetime, now: SlotReading | None, at: datetime) -> Rates:
    """The rates between two looks at one slot, at the provider's times; empty where they say nothing."""
    seconds = (at - since).total_seconds()
    if before is None or now is None or seconds <= 0:
        return NONE
    return Rates(
        _per(before.position, now.position, seconds),
        _per(before.sent, now.sent, seconds),
        _growth(before.retained_bytes, now.retained_bytes, seconds),
    )


def _per(before: int | None, now: int | None, seconds: float) -> float | None:
    """A counter that went back was set to zero in between."""
    if before is None or now is None or now < before:
        return None
    return (now - before) / seconds


def _growth(before: int | None, now: int | None, seconds: float) -> float | None:
    return None if before is None or now is None else (now - before) / seconds


def lost_in(slot: SlotReading, growth: float | None, wal_rate: float | None) -> float | None:
    """In how many seconds a slot is lost, at the rate at which it grows. None: not by what is known.

    ``growth`` is what it retained more in each second between two looks. Without it an inactive slot grows as the log
    does on average (``wal_rate``). A slot without a quota is never lost: it fills the disk, which no query sees.
    """
    if slot.lost:
        return 0.0
    if slot.safe_bytes is None:
        return None
    rate = growth if growth is not None else (None if slot.active else wal_rate)
    if rate is None or rate <= 0:
        return None
    return max(slot.safe_bytes, 0) / rate
