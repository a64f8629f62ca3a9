"""What one region says of itself, as values. Read by ``reading``, judged by ``status``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from accountdb.errors import AccountdbError
from accountdb.guards.install import TableGuard
from accountdb.replication.model import Standing


@dataclass(frozen=True)
class SlotReading:
    """A replication slot as its server sees it. Bytes are of the write-ahead log.

    ``retained_bytes`` is what the server keeps for it; ``safe_bytes`` how much more may be written before it is lost,
    None where no quota is set; ``lag_transactions`` at most how many transactions its follower has not confirmed;
    ``sent`` how many were decoded for it in all. ``position`` is what its follower has confirmed, in bytes from the
    start of the log. ``why_lost`` is the server's own word for it.
    """

    name: str
    plugin: str
    database: str
    active: bool
    retained_bytes: int | None
    lag_bytes: int | None
    lag_transactions: int | None
    wal_status: str | None
    safe_bytes: int | None
    position: int | None
    inactive_since: datetime | None
    lost: bool
    why_lost: str | None
    sent: int | None = None


@dataclass(frozen=True)
class Beats:
    """Beats of one node as one region has them.

    ``newest`` is the last one; where they are this region's own, ``samples`` are some of them with the number of
    transactions since, close ones all, old ones thinned out to 5 % of their age. Of another region's,
    ``arrived_at`` says when the newest one came.
    """

    newest: datetime
    arrived_at: datetime | None = None
    samples: tuple[tuple[datetime, int], ...] = ()


@dataclass(frozen=True)
class Conflicts:
    """How many conflicts a region has recorded, and how many of them wait for a person."""

    open: int
    recorded: int
    last_minute: int
    last_hour: int
    newest: datetime | None


@dataclass(frozen=True)
class Run:
    """The last merge or healing pass (``kind`` merge, heal) with some partners."""

    kind: str
    partners: str
    ended_at: datetime
    seconds: float
    equal: bool | None
    written: int
    age_seconds: float


@dataclass(frozen=True)
class SyncPass:
    """The last pass of a pgsync job whose target this region is. ``source`` is the database it came from."""

    job: str
    tables: int
    applied_at: datetime
    taken_at: datetime
    age_seconds: float


@dataclass(frozen=True)
class Backlog:
    """pgsync's capture log of a region that is a source: how many changes wait (``more``: at least), since when."""

    changes: int
    more: bool
    oldest_reader_seconds: float | None


@dataclass(frozen=True)
class Workers:
    """Processes that apply changes: how many this server allows, and how many of them run."""

    apply_max: int
    apply_used: int
    all_max: int
    launcher: bool


@dataclass(frozen=True)
class LogLine:
    """One line of the server's log that is about streams. ``of_worker``: an error while a change was applied.

    ``sending`` is the slot for which changes were read when it happened, where that is what failed. ``at`` is None
    where the log's lines do not begin with their time.
    """

    severity: str
    message: str
    of_worker: bool = False
    pid: str = ""
    at: datetime | None = None
    sending: str = ""


@dataclass(frozen=True)
class Reading:
    """What one region answered.

    ``clock`` is the server's time at ``skew_error_s`` around the middle of the question; ``skew_s`` is how far it is
    ahead of this machine's. ``log`` is None where this role may not read it or the server keeps none (``log_denied``
    says which). ``not_offered`` are tables of accountdb's own that the region has and does not offer; ``columns`` those
    of all tables of public, of which ``replicated`` are offered; ``unfit`` says what those of them that are outside the
    row contract lack. ``wal_rate`` is the average since the server's statistics began, in bytes a second.
    """

    region: str
    server: str
    version_num: int
    clock: datetime
    skew_s: float
    skew_error_s: float
    started_at: datetime
    in_recovery: bool
    read_only: bool
    role: str
    superuser: bool
    standing: Standing
    has_pglogical: bool
    slot_quota_mb: int
    wal_rate: float | None
    slots: tuple[SlotReading, ...]
    workers: Workers
    guards: tuple[TableGuard, ...]
    conflicts: Conflicts | None
    beats: Mapping[str, Beats]
    runs: tuple[Run, ...]
    passes: tuple[SyncPass, ...]
    backlog: Backlog | None
    not_offered: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    providers: Mapping[str, str]
    """Subscription: the node that it comes from, where the engine says so."""
    replicated: tuple[str, ...]
    unfit: Mapping[str, tuple[str, ...]]
    log: tuple[LogLine, ...] | None = field(repr=False)
    log_denied: str = ""
    log_end: int | None = None
    """How far the server's log had come at ``log_end_at``, a time of this machine; bytes from its start."""
    log_end_at: float = 0.0
    applied: Mapping[str, int] = field(default_factory=dict)
    """Slot: up to where of its provider's log this region had applied before ``applied_at``; for superusers."""
    applied_at: float = 0.0

    @property
    def node(self) -> str | None:
        """The region's node name."""
        return self.standing.node


@dataclass(frozen=True)
class Silence:
    """A region that gave no reading, and why."""

    region: str
    error: AccountdbError

    @property
    def message(self) -> str:
        """Why, on one line, without a secret."""
        return self.error.message
