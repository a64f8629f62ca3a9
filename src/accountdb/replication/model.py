"""The words of two-way replication, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# The replication set (pglogical) or publication (native) that every region offers.
SET_NAME = "rep_all"

# Tables of accountdb's own that are replicated: a delete travels with its tombstone, a resolution
# closes a conflict in every region, a beat measures the lag.
OWN_TABLES = (("accountdb", "tombstone"), ("accountdb", "resolution"), ("accountdb", "heartbeat"))


class Mode(StrEnum):
    """How a region takes part. Only the last two stream in both directions."""

    PGSYNC = "pgsync"
    PGLOGICAL = "pglogical"
    NATIVE = "native"


class State(StrEnum):
    """A subscription's state. ``replicating`` is the only healthy one."""

    REPLICATING = "replicating"
    INITIALIZING = "initializing"
    PENDING = "pending"
    DISABLED = "disabled"
    DOWN = "down"


@dataclass(frozen=True)
class JoinRequest:
    """What ``region join`` was asked for. The DSNs may hold secrets: never shown whole."""

    node: str
    node_dsn: str
    subscription: str
    provider_dsn: str
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subscription:
    """A subscription as the region that receives sees it. ``slot`` is its name on the provider."""

    name: str
    state: State
    slot: str | None


@dataclass(frozen=True)
class Slot:
    """A follower as the region that provides sees it.

    ``lag_bytes`` is the WAL that the follower has not confirmed; ``lag_seconds`` is how far
    behind it was at its last word, None where the server cannot say. ``lost``: log that the follower
    needs is gone, so that it can never go on from here.
    """

    name: str
    active: bool
    lag_bytes: int | None
    lag_seconds: float | None
    lost: bool = False


@dataclass(frozen=True)
class Standing:
    """What a region has of replication: its node, what it receives, who follows it."""

    node: str | None
    mode: Mode
    subscriptions: tuple[Subscription, ...]
    followers: tuple[Slot, ...]

    @property
    def joined(self) -> bool:
        """Whether a stream comes in or goes out."""
        return bool(self.subscriptions or self.followers)


class Outcome(StrEnum):
    """What a join did."""

    CREATED = "created"
    UNCHANGED = "unchanged"
    UPDATED = "updated"
    PENDING = "pending"
