"""``migratectl status``: how the regions stand, read from all of them at the same time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from accountdb.guards.install import GuardState, TableGuard
from accountdb.health import commands, forecast
from accountdb.health.advice import Finding, Level, Remedy
from accountdb.health.asking import ANSWER_S, ask
from accountdb.health.forecast import Rates
from accountdb.health.model import Backlog, Reading, Run, Silence, SyncPass
from accountdb.health.streams import StreamStatus, stream, views
from accountdb.pg.dsn import options
from accountdb.replication.model import Mode, Slot, State

__all__ = ["RegionStatus", "Status", "StreamStatus", "judge", "read_status"]

_LAG_WARN_S = 60.0
_LOST_WARN_S = 24 * 3600.0


@dataclass(frozen=True)
class RegionStatus:
    """One region. ``error`` is set, and the rest empty, where it did not answer.

    ``findings`` are the sentences of those ``problems`` that make it unhealthy; ``problems`` has warnings too.
    """

    name: str
    error: str | None = None
    server: str | None = None
    node: str | None = None
    mode: str | None = None
    streams: tuple[StreamStatus, ...] = ()
    followers: tuple[Slot, ...] = ()
    guards: tuple[TableGuard, ...] = ()
    conflicts_open: int | None = None
    conflicts: int | None = None
    findings: tuple[str, ...] = ()
    conflicts_last_minute: int | None = None
    conflicts_last_hour: int | None = None
    clock: datetime | None = None
    skew_seconds: float | None = None
    runs: tuple[Run, ...] = ()
    passes: tuple[SyncPass, ...] = ()
    backlog: Backlog | None = None
    problems: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Status:
    """All regions, in the order in which they were named."""

    regions: tuple[RegionStatus, ...]
    healthy: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "healthy", not any(region.findings for region in self.regions))


def read_status(dsns: Mapping[str, str], within_s: float = ANSWER_S) -> Status:
    """The status of the regions, by name. A region that does not answer is a finding, and costs ``within_s``.

    A DSN that cannot be read raises UsageError.
    """
    return judge(ask(dsns, within_s))


def judge(readings: Mapping[str, Reading | Silence], before: Mapping[str, Reading | Silence] | None = None) -> Status:
    """The status out of what all regions answered, and what they had answered ``before``, which gives rates. Pure."""
    return Status(tuple(_region(name, readings, before or {}) for name in readings))


def _region(
    name: str, readings: Mapping[str, Reading | Silence], before: Mapping[str, Reading | Silence]
) -> RegionStatus:
    reading = readings[name]
    if isinstance(reading, Silence):
        hint = reading.error.hint or ""
        problem = Finding("region", Level.FAIL, name, name, reading.message, "an answer", remedy=Remedy(hint))
        return RegionStatus(name, error=reading.message, findings=(problem.sentence,), problems=(problem,))
    streams = tuple(
        stream(view, _rates(view.subscription.slot, view.provider_name, readings, before))
        for view in views(readings, reading)
    )
    problems = (
        *_stream_problems(reading, streams),
        *_missing_directions(reading, streams, tuple(readings)),
        *_region_problems(reading, readings),
    )
    conflicts = reading.conflicts
    return RegionStatus(
        name,
        server=reading.server,
        node=reading.standing.node,
        mode=reading.standing.mode,
        streams=streams,
        followers=reading.standing.followers,
        guards=reading.guards,
        conflicts_open=conflicts.open if conflicts else None,
        conflicts=conflicts.recorded if conflicts else None,
        findings=tuple(problem.sentence for problem in problems if problem.level is Level.FAIL),
        conflicts_last_minute=conflicts.last_minute if conflicts else None,
        conflicts_last_hour=conflicts.last_hour if conflicts else None,
        clock=reading.clock,
        skew_seconds=reading.skew_s,
        runs=reading.runs,
        passes=reading.passes,
        backlog=reading.backlog,
        problems=problems,
    )


def _rates(
    slot: str | None,
    provider: str | None,
    readings: Mapping[str, Reading | Silence],
    before: Mapping[str, Reading | Silence],
) -> Rates:
    now, then = readings.get(provider or ""), before.get(provider or "")
    if not (isinstance(now, Reading) and isinstance(then, Reading)):
        return forecast.NONE
    old = next((one for one in then.slots if one.name == slot), None)
    new = next((one for one in now.slots if one.name == slot), None)
    return forecast.rates(old, then.clock, new, now.clock)


def _stream_problems(reading: Reading, streams: tuple[StreamStatus, ...]) -> tuple[Finding, ...]:
    found: list[Finding] = []
    for one in streams:
        if one.state is not State.REPLICATING:
            found.append(
                Finding(
                    "stream",
                    Level.FAIL,
                    reading.region,
                    one.subscription,
                    f"{one.subscription} is {one.state}",
                    "replicating",
                    one.reason or "",
                    one.remedy,
                )
            )
        elif one.lag_seconds is not None and one.lag_seconds > _LAG_WARN_S:
            found.append(
                Finding(
                    "lag",
                    Level.WARN,
                    reading.region,
                    one.subscription,
                    f"{one.subscription} is {one.lag_seconds:.0f} s behind",
                    f"under {_LAG_WARN_S:.0f} s",
                    "it streams, and what was written then has not arrived",
                    Remedy("look for a long transaction on either side, and at the network between them"),
                )
            )
        if one.lost_in_seconds is not None and 0 < one.lost_in_seconds < _LOST_WARN_S:
            found.append(
                Finding(
                    "slot",
                    Level.WARN,
                    reading.region,
                    one.slot or "",
                    f"replication slot {one.slot} on {one.provider} is lost in {one.lost_in_seconds / 60:.0f} min",
                    "more than a day",
                    "max_slot_wal_keep_size is nearly reached",
                    one.remedy,
                )
            )
    return tuple(found)


def _missing_directions(
    reading: Reading, streams: tuple[StreamStatus, ...], names: tuple[str, ...]
) -> Iterator[Finding]:
    """Regions that nothing comes from, where it is known from where everything else comes.

    Changes are not passed on, so a region gets those of another one from that one alone.
    """
    known = {one.provider for one in streams if one.provider is not None}
    if not streams or len(known) < len(streams):
        return
    region = reading.region
    for other in names:
        if other != region and other not in known:
            command = commands.join(region, reading.node or f"node_{region}", other)
            yield Finding(
                "stream",
                Level.FAIL,
                region,
                other,
                f"no subscription to {other}",
                "one for each other region",
                remedy=Remedy(commands.ADDRESSES, (command,)),
            )


def _region_problems(reading: Reading, readings: Mapping[str, Reading | Silence]) -> tuple[Finding, ...]:
    names = tuple(readings)
    region, mode = reading.region, reading.standing.mode
    found: list[Finding] = []

    def problem(check: str, level: Level, what: str, wanted: str, remedy: Remedy, subject: str = region) -> None:
        found.append(Finding(check, level, region, subject, what, wanted, remedy=remedy))

    others = [name for name in names if name != region]
    for other in others:
        theirs = readings[other]
        if isinstance(theirs, Reading) and reading.node and theirs.node == reading.node:
            says = "look at the two DSNs: do they lead to one database?"
            problem("node", Level.FAIL, f"is node {reading.node}, and so is {other}", "another name", Remedy(says))
    found += _unjoined(reading, readings, others)
    if reading.read_only:
        problem(
            "read_only",
            Level.FAIL,
            "the server is read-only (default_transaction_read_only = on)",
            "off",
            Remedy(
                commands=(
                    commands.psql(region, "ALTER SYSTEM RESET default_transaction_read_only"),
                    commands.psql(region, "SELECT pg_reload_conf()"),
                )
            ),
        )
    for guard in reading.guards:
        if guard.state is not GuardState.INSTALLED:
            remedy = Remedy(commands=(commands.init(region, mode),))
            problem("guard", Level.FAIL, f"guard on {guard.table} is {guard.state}", "installed", remedy, guard.table)
    for table, lacks in reading.unfit.items():
        # What mends it depends on what is wrong: doctor says it.
        remedy = Remedy(commands=(commands.doctor(names),))
        problem("row_contract", Level.FAIL, f"{table}: {'; '.join(lacks)}", "the row contract", remedy, table)
    if reading.not_offered:
        what = f"{', '.join(reading.not_offered)} is not offered to the other regions"
        problem("offer", Level.WARN, what, "offered", Remedy(commands=(commands.refresh(names),)))
    if reading.conflicts and reading.conflicts.open:
        what = f"{reading.conflicts.open} open conflict{'s' if reading.conflicts.open > 1 else ''}"
        listing = f"migratectl conflicts list {options(names)}"
        problem("conflicts", Level.WARN, what, "none", Remedy(commands=(listing,)))
    return tuple(found)


def _unjoined(reading: Reading, readings: Mapping[str, Reading | Silence], others: Sequence[str]) -> Iterator[Finding]:
    """That a region which should stream has no streams at all."""
    region, mode = reading.region, reading.standing.mode
    joins = tuple(commands.join(region, reading.node or f"node_{region}", other) for other in others)
    if mode is Mode.PGLOGICAL and not reading.has_pglogical:
        remedy = Remedy(commands.ADDRESSES, (commands.init(region, mode), *_made_anew(readings, others, region, joins)))
        what = "extension pglogical is missing, and with it all streams"
        yield Finding("extension", Level.FAIL, region, region, what, "installed", remedy=remedy)
    elif mode is not Mode.PGSYNC and not reading.standing.subscriptions:
        remedy = Remedy(commands.ADDRESSES, joins)
        wanted = "one for each other region"
        yield Finding("stream", Level.FAIL, region, region, "no subscription", wanted, remedy=remedy)


def _made_anew(
    readings: Mapping[str, Reading | Silence], others: Sequence[str], region: str, joins: Sequence[str]
) -> Iterator[str]:
    """How the streams of a region are made anew that does not know them any more, nor has what it offered.

    Its own old slots would stand in the way; what was written meanwhile nobody who follows it can read any more.
    """
    known = {s.slot for one in readings.values() if isinstance(one, Reading) for s in one.standing.subscriptions}
    for other in others:
        there = readings[other]
        for slot in there.slots if isinstance(there, Reading) else ():
            if slot.name not in known:
                yield from commands.end_slot(other, slot.name)
    yield from joins
    for other in others:
        yield commands.resync([name for name in readings if name in (region, other)], other)
