"""Up to where a job has been applied, and what the next pass has to do about it. The decision is pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from accountdb.errors import Refused
from accountdb.pg.connect import Connection
from accountdb.sql import block
from accountdb.sync.capture import Capture
from accountdb.sync.config import Policy
from accountdb.sync.model import Name, SyncTable

FILE = "sync/state.sql"

# Transaction ids of rows have 32 bits: beyond half of that old and new cannot be told apart. With room to spare.
_WRAPS_AT = 1 << 30


@dataclass(frozen=True)
class Identity:
    """A database, and the history that it is on: a restore or a failover begins a new one."""

    database: str
    timeline: int


@dataclass(frozen=True)
class Watermark:
    """Up to which snapshot of which source a table has been applied, and what of it."""

    capture: Capture
    snapshot: str
    source: Identity
    shape: str
    taken_at: datetime


@dataclass(frozen=True)
class Reach:
    """What the source says of a watermark's snapshot, in transactions."""

    end: int
    distance: int
    """From its horizon to now."""
    now: int
    logged: bool
    """Whether the change log still has all that is not in it."""
    forgotten: bool
    """Whether the source was told of it, and does not know that any more."""


def shape_of(table: SyncTable, policy: Policy) -> str:
    """What of a table is synced, and how: another one than before needs a full pass."""
    parts: tuple[object, ...] = (table.columns, table.target.primary_key, table.delete, policy.value)
    if table.capture is Capture.LOG and table.layout:
        # Nobody logs the rows of a partition that is attached, detached or emptied as a whole.
        parts += (table.layout,)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def check_history(job: str, known: Mapping[Name, Watermark], source: Identity, reach: Mapping[Name, Reach]) -> None:
    """Raises Refused where the source is not, or is no longer, what the target was synced from.

    ``reach`` has the tables that are about to be synced; what is known of others is no matter.
    """
    for name, mark in known.items():
        title = ".".join(name)
        if name not in reach:
            continue
        if mark.source.database != source.database:
            raise Refused(
                f"job {job}: {title} was synced from another database than the source is now",
                hint="pgsync --once makes the destination what this source is",
            )
        back = reach[name].end > reach[name].now or reach[name].forgotten
        if mark.source.timeline != source.timeline or back:
            raise Refused(
                f"job {job}: the source has been restored or has failed over since the last pass; {title} may be newer"
                " at the destination than at the source",
                hint="look at both (migratectl diff); pgsync --once makes the destination what the source is now",
            )


def why_full(table: SyncTable, policy: Policy, mark: Watermark | None, reach: Reach | None) -> str | None:
    """Why a table has to be compared whole; None where what has changed since the watermark is enough."""
    if mark is None or reach is None:
        return "first pass"
    if mark.shape != shape_of(table, policy):
        return "the job has changed"
    if mark.capture is not table.capture:
        return f"capture is {table.capture} now"
    if table.capture is Capture.LOG and not reach.logged:
        return "the change log does not reach back"
    if table.capture is Capture.XMIN and reach.distance >= _WRAPS_AT:
        return "the last pass was too many transactions ago"
    return None


def read_watermarks(conn: Connection, job: str) -> dict[Name, Watermark]:
    """The job's watermarks in this target."""
    row = conn.execute(block(FILE, "there")).fetchone()
    if not (row and row[0]):
        return {}
    return {
        (schema, table): Watermark(Capture(capture), snapshot, Identity(source, timeline), shape, taken_at)
        for schema, table, capture, snapshot, source, timeline, shape, taken_at in conn.execute(
            block(FILE, "read"), {"job": job}
        )
    }


def move(conn: Connection, job: str, name: Name, mark: Watermark) -> None:
    """Set a table's watermark, in the transaction that applied what it says."""
    conn.execute(
        block(FILE, "move"),
        {
            "job": job,
            "schema": name[0],
            "table": name[1],
            "capture": mark.capture,
            "snapshot": mark.snapshot,
            "source": mark.source.database,
            "timeline": mark.source.timeline,
            "shape": mark.shape,
            "taken_at": mark.taken_at,
        },
    )
