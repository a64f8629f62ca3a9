"""The last reading as Prometheus metrics. Pure, but for the age of the reading.

Names, labels and units are a contract with alert rules and dashboards: docs/metrics.md has them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

import accountdb
from accountdb.contract.masking import printable
from accountdb.guards.install import GuardState
from accountdb.health.status import RegionStatus
from accountdb.replication.model import State
from accountdb.web.watching import Known

# The form that every version of Prometheus reads.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STREAM = ("region", "provider", "subscription")
# What makes the regions not ready: they do not answer, or a stream does not run.
_UNREADY = ("region", "stream", "extension", "read_only")

Labels: TypeAlias = tuple[str, ...]
Sample: TypeAlias = tuple[Labels, float | None]


@dataclass(frozen=True)
class Family:
    """One metric: its name with its unit, its labels, what it says. ``total``: a counter."""

    name: str
    labels: Labels
    help: str
    total: bool = False


BUILD = Family("accountdb_build_info", ("version",), "The program's version; always 1.")
AGE = Family("accountdb_reading_age_seconds", (), "How long ago the regions were read.")
READING = Family("accountdb_reading_seconds", (), "How long the last reading took.")
BEAT = Family("accountdb_beat_ok", ("region",), "1: the last beat was written in the region.")
UP = Family("accountdb_up", ("region",), "1: the region answers.")
INFO = Family("accountdb_region_info", ("region", "node", "mode", "server_version"), "What the region is; always 1.")
SKEW = Family("accountdb_clock_skew_seconds", ("region",), "How far the region's clock is ahead of this machine's.")
PROBLEMS = Family("accountdb_problems", ("region", "check", "level"), "What status finds: level fail, warn or info.")
STREAM_UP = Family("accountdb_stream_up", _STREAM, "1: the stream into region from provider replicates.")
LAG_BYTES = Family("accountdb_stream_lag_bytes", _STREAM, "Log that the region has not confirmed.")
LAG_SECONDS = Family("accountdb_stream_lag_seconds", _STREAM, "Age of the oldest change that has not arrived.")
LAG_TRANSACTIONS = Family(
    "accountdb_stream_lag_transactions", _STREAM, "At most so many transactions have not been confirmed."
)
APPLIED = Family("accountdb_stream_transactions_per_second", _STREAM, "Transactions sent, from reading to reading.")
RETAINED = Family("accountdb_slot_retained_bytes", _STREAM, "Log that the provider keeps for the stream.")
SAFE = Family(
    "accountdb_slot_safe_bytes", _STREAM, "Log that can still be written before the slot is lost; absent: no quota."
)
LOST_IN = Family(
    "accountdb_slot_lost_in_seconds", _STREAM, "When the slot is lost as its log grows now; absent: not foreseen."
)
LOST = Family("accountdb_slot_lost", _STREAM, "1: the provider has removed log that the stream needs.")
OPEN = Family("accountdb_conflicts_open", ("region",), "Conflicts that wait for a person.")
RECORDED = Family(
    "accountdb_conflicts_recorded_total", ("region",), "Conflicts in the region's record; purge makes it smaller.", True
)
HOUR = Family("accountdb_conflicts_last_hour", ("region",), "Conflicts recorded in the last hour.")
GUARD = Family("accountdb_guard_ok", ("region", "table"), "1: the table's guard is installed and current.")
MERGE_AT = Family("accountdb_last_merge_timestamp_seconds", ("region", "partners"), "When the last merge ended.")
MERGE_EQUAL = Family("accountdb_last_merge_equal", ("region", "partners"), "1: the last merge proved all equal.")
HEAL_AT = Family("accountdb_last_heal_timestamp_seconds", ("region", "partners"), "When the last healing pass ended.")
HEAL_EQUAL = Family("accountdb_last_heal_equal", ("region", "partners"), "1: the last healing pass left all equal.")
PASS_AT = Family("accountdb_pgsync_last_pass_timestamp_seconds", ("region", "job"), "When the last pass ended.")
BACKLOG = Family("accountdb_pgsync_backlog_changes", ("region",), "Changes in the capture log that wait for pgsync.")

FAMILIES = (
    BUILD, AGE, READING, BEAT, UP, INFO, SKEW, PROBLEMS, STREAM_UP, LAG_BYTES, LAG_SECONDS, LAG_TRANSACTIONS, APPLIED,
    RETAINED, SAFE, LOST_IN, LOST, OPEN, RECORDED, HOUR, GUARD, MERGE_AT, MERGE_EQUAL, HEAL_AT, HEAL_EQUAL, PASS_AT,
    BACKLOG,
)  # fmt: skip


class _Add(Protocol):
    def __call__(self, family: Family, labels: Labels, value: float | None) -> None:
        """Note one value."""


def text(known: Known | None) -> str:
    """All metrics as Prometheus text; before the first reading only those of the program."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(known))
    return generate_latest(registry).decode()


class _Collected(Collector):
    def __init__(self, known: Known | None) -> None:
        self._known = known

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        samples = _samples(self._known)
        for family in FAMILIES:
            kind = CounterMetricFamily if family.total else GaugeMetricFamily
            metric = kind(family.name, family.help, labels=family.labels)
            for labels, value in samples.get(family, ()):
                if value is not None:
                    metric.add_metric([printable(label) for label in labels], value)
            if metric.samples:
                yield metric


def _samples(known: Known | None) -> dict[Family, list[Sample]]:
    """The values of every metric. None: nobody knows, and nothing is said."""
    found: dict[Family, list[Sample]] = {BUILD: [((accountdb.__version__,), 1)]}
    if known is None:
        return found

    def add(family: Family, labels: Labels, value: float | None) -> None:
        found.setdefault(family, []).append((labels, value))

    add(AGE, (), known.age)
    add(READING, (), known.seconds)
    for region in known.status.regions:
        name = (region.name,)
        add(UP, name, region.error is None)
        add(BEAT, name, region.name not in known.unbeaten)
        for (check, level), count in _counts(region).items():
            add(PROBLEMS, (*name, check, level), count)
        if region.error is None:
            _add_region(add, region)
    return found


def _counts(region: RegionStatus) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for problem in region.problems:
        key = (problem.check, problem.level.value)
        counts[key] = counts.get(key, 0) + 1
    return counts


def _add_region(add: _Add, region: RegionStatus) -> None:
    name = (region.name,)
    add(INFO, (*name, region.node or "", region.mode or "", region.server or ""), 1)
    add(SKEW, name, region.skew_seconds)
    add(OPEN, name, region.conflicts_open)
    add(RECORDED, name, region.conflicts)
    add(HOUR, name, region.conflicts_last_hour)
    add(BACKLOG, name, region.backlog.changes if region.backlog else None)
    for guard in region.guards:
        add(GUARD, (*name, guard.table), guard.state is GuardState.INSTALLED)
    for run in region.runs:
        families = {"merge": (MERGE_AT, MERGE_EQUAL), "heal": (HEAL_AT, HEAL_EQUAL)}.get(run.kind)
        if families is not None:
            add(families[0], (*name, run.partners), run.ended_at.timestamp())
            add(families[1], (*name, run.partners), run.equal)
    for one in region.passes:
        add(PASS_AT, (*name, one.job), one.applied_at.timestamp())
    for stream in region.streams:
        labels = (region.name, stream.provider or "", stream.subscription)
        add(STREAM_UP, labels, stream.state is State.REPLICATING)
        add(LAG_BYTES, labels, stream.lag_bytes)
        add(LAG_SECONDS, labels, stream.lag_seconds)
        add(LAG_TRANSACTIONS, labels, stream.lag_transactions)
        add(APPLIED, labels, stream.transactions_per_second)
        add(RETAINED, labels, stream.retained_bytes)
        add(SAFE, labels, stream.safe_bytes)
        add(LOST_IN, labels, stream.lost_in_seconds)
        if stream.wal_status is not None:
            add(LOST, labels, stream.wal_status == "lost")


def unready(known: Known | None, interval_s: float) -> tuple[str, ...]:
    """Why the regions are not ready; empty when all answer and every stream replicates."""
    if known is None:
        return ("the regions have not been read yet",)
    reasons = [problem.sentence for problem in known.problems if problem.check in _UNREADY and problem.level == "fail"]
    if known.age > 3 * interval_s + 10:
        reasons.append(f"the regions were last read {known.age:.0f} s ago")
    return tuple(printable(reason) for reason in reasons)
