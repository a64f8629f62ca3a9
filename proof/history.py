"""Random histories: pure, from a seed to rounds of operations and faults, so that one can be replayed and shrunk.

Rows are named by small numbers and values are drawn from small pools, so that the regions
collide all the time. Whether an operation finds its row is for the database to say.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID, uuid5

from accountdb.lab import REGIONS

_NAMESPACE = UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
_USERS, _CHILDREN, _VALUES = 16, 14, 12


class Kind(StrEnum):
    """What an operation does to the account tables."""

    REGISTER = "register"
    EDIT = "edit"
    RENAME = "rename"
    EMAIL = "email"
    SWAP = "swap"
    DELETE = "delete"
    REINSERT = "reinsert"
    SESSION = "session"
    SIGN_OUT = "sign_out"
    IDENTITY = "identity"
    RELINK = "relink"
    SUBSCRIBE = "subscribe"
    BIG = "big"
    STATUS = "status"
    SETTING = "setting"


class Fault(StrEnum):
    """What happens to the servers and the link before a round."""

    NONE = "none"
    CUT = "cut"
    HANG = "hang"
    HEAL = "heal"
    PAUSE = "pause"
    KILL = "kill"
    RESTART = "restart"
    FREEZE = "freeze"
    SKEW = "skew"


@dataclass(frozen=True)
class Operation:
    """One write. ``row`` and ``other`` name rows, ``value`` one of a small pool; ``number`` is unique in a history."""

    number: int
    kind: Kind
    row: int
    other: int
    value: int


@dataclass(frozen=True)
class Transaction:
    """Operations of one transaction. ``undone`` more are rolled back to a savepoint; ``slow`` stays open a while."""

    operations: tuple[Operation, ...]
    undone: tuple[Operation, ...] = ()
    slow: bool = False


@dataclass(frozen=True)
class Round:
    """A fault, then the transactions of all regions, which run at the same time.

    ``apart`` is whose links a cut is of: one region's, those between two, or (none) all. Of two regions it is all.
    """

    fault: Fault
    region: str
    minutes: int
    transactions: dict[str, tuple[Transaction, ...]]
    apart: tuple[str, ...] = ()


@dataclass(frozen=True)
class History:
    """What one seed plays."""

    seed: int
    rounds: tuple[Round, ...]

    def key(self, kind: str, number: int) -> UUID:
        """The uuid of row ``number`` of a table: the same in all regions and in every replay."""
        return uuid5(_NAMESPACE, f"{self.seed}/{kind}/{number}")


_WEIGHTS = {
    Kind.REGISTER: 20,
    Kind.EDIT: 26,
    Kind.RENAME: 6,
    Kind.EMAIL: 9,
    Kind.SWAP: 4,
    Kind.DELETE: 5,
    Kind.REINSERT: 2,
    Kind.SESSION: 9,
    Kind.SIGN_OUT: 3,
    Kind.IDENTITY: 8,
    Kind.RELINK: 3,
    Kind.SUBSCRIBE: 6,
    Kind.BIG: 4,
    Kind.STATUS: 5,
    Kind.SETTING: 4,
}
_FAULTS = {
    Fault.NONE: 9,
    Fault.CUT: 6,
    Fault.HANG: 1,
    Fault.HEAL: 5,
    Fault.PAUSE: 1,
    Fault.KILL: 2,
    Fault.RESTART: 1,
    Fault.FREEZE: 1,
    Fault.SKEW: 3,
}


def make(seed: int, rounds: int = 10, regions: Sequence[str] = REGIONS) -> History:
    """The history of ``seed`` for so many rounds and these regions."""
    rng = random.Random(seed)
    numbers = iter(range(1, 1_000_000)).__next__
    return History(seed, tuple(_round(rng, numbers, regions, first=position == 0) for position in range(rounds)))


def _round(rng: random.Random, number: Callable[[], int], regions: Sequence[str], *, first: bool) -> Round:
    fault = Fault.NONE if first else rng.choices(list(_FAULTS), list(_FAULTS.values()))[0]
    transactions = {
        region: tuple(_transaction(rng, number, first=first) for _ in range(rng.randint(3, 14))) for region in regions
    }
    region, minutes = rng.choice(regions), rng.choice((-5, -2, 2, 5))
    # Of two regions there is one link, and nothing to draw.
    apart = tuple(rng.sample(regions, rng.choice((0, 1, 1, 2, 2)))) if len(regions) > len(REGIONS) else ()
    return Round(fault, region, minutes, transactions, apart)


def _transaction(rng: random.Random, number: Callable[[], int], *, first: bool) -> Transaction:
    count = rng.choice((1, 1, 1, 1, 2, 3, 6))
    operations = tuple(_operation(rng, number, register=first) for _ in range(count))
    undone = (_operation(rng, number),) if rng.random() < 0.1 else ()
    return Transaction(operations, undone, slow=rng.random() < 0.06)


def _operation(rng: random.Random, number: Callable[[], int], *, register: bool = False) -> Operation:
    kind = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    if register and rng.random() < 0.6:
        kind = Kind.REGISTER
    # A few hot rows take most of the writes.
    row = rng.randrange(3) if rng.random() < 0.4 else rng.randrange(_USERS)
    return Operation(number(), kind, row, rng.randrange(_CHILDREN), rng.randrange(_VALUES))
