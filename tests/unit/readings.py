"""Readings of regions, made up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from accountdb.health.model import Beats, Reading, SlotReading, Workers
from accountdb.replication.model import Mode, Slot, Standing, State, Subscription

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def slot(name: str, **changed: Any) -> SlotReading:
    """An active slot that is level, without a quota."""
    level = SlotReading(
        name=name,
        plugin="pgoutput",
        database="account",
        active=True,
        retained_bytes=1000,
        lag_bytes=0,
        lag_transactions=3,
        wal_status="reserved",
        safe_bytes=None,
        position=5000,
        sent=10,
        inactive_since=None,
        lost=False,
        why_lost=None,
    )
    return replace(level, **changed)


def reading(region: str, others: tuple[str, ...], **changed: Any) -> Reading:
    """A region of a full mesh in which all is well: it follows each of the others, and each of them follows it."""
    subscriptions = tuple(
        Subscription(f"sub_from_{other}", State.REPLICATING, f"node_{region}_sub_from_{other}") for other in others
    )
    slots = tuple(slot(f"node_{other}_sub_from_{region}") for other in others)
    followers = tuple(Slot(one.name, True, one.lag_bytes, 0.0) for one in slots)
    own = {f"node_{region}": Beats(ago(10), None, ((ago(30), 9), (ago(20), 6), (ago(10), 2)))}
    well = Reading(
        region=region,
        server="17.10",
        version_num=170010,
        clock=NOW,
        skew_s=0.0,
        skew_error_s=0.001,
        started_at=ago(86400),
        in_recovery=False,
        read_only=False,
        role="postgres",
        superuser=True,
        standing=Standing(f"node_{region}", Mode.NATIVE, subscriptions, followers),
        has_pglogical=False,
        slot_quota_mb=-1,
        wal_rate=100.0,
        slots=slots,
        workers=Workers(4, 1, 16, True),
        guards=(),
        conflicts=None,
        beats=own | {f"node_{other}": Beats(ago(10), ago(9.9)) for other in others},
        runs=(),
        passes=(),
        backlog=None,
        not_offered=(),
        columns={"public.users": ("uuid", "username")},
        providers={},
        replicated=("public.users",),
        unfit={},
        log=(),
    )
    return replace(well, **changed)


def mesh(*regions: str, **changed: dict[str, Any]) -> dict[str, Any]:
    """Readings of a full mesh; ``changed`` are changes of one region's reading, by its name."""
    return {name: reading(name, tuple(o for o in regions if o != name), **changed.get(name, {})) for name in regions}


def down(one: Reading, state: State = State.DOWN) -> dict[str, Any]:
    """The change by which all streams into a region are down."""
    subscriptions = tuple(replace(s, state=state) for s in one.standing.subscriptions)
    return {"standing": replace(one.standing, subscriptions=subscriptions)}
