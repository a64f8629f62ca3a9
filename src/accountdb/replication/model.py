"""The words of two-way replication, as values."""

from __future__ import annotations

from collections.abc import Sequence
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
class Waiting:
    """A subscription that waits until its provider has joined.

    ``provider`` is the provider's database and ``provider_node`` its node name, None where nobody noted them.
    """

    name: str
    provider: str | None
    provider_node: str | None


def meant_for(
    waiting: Sequence[Waiting], provider: str, provider_node: str, *, alone: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which of a region's waiting subscriptions wait for one provider, and of which nobody can tell. Pure.

    One of which it was not noted, by psql and the region file say, is meant for whoever joins where the
    region has no other subscription at all (``alone``): then there are two regions.
    """
    mine = [w.name for w in waiting if w.provider == provider and w.provider_node in (None, provider_node)]
    unknown = [w.name for w in waiting if w.provider is None]
    if alone and not mine and len(unknown) == 1:
        return tuple(unknown), ()
    return tuple(mine), tuple(unknown)


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
