"""What two looks at a row say, and which copy stands in the end. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from accountdb.compare.look import Sight
from accountdb.contract.decide import Copy, decide

_LONGEST = 60


class Verdict(StrEnum):
    """What becomes of a row that differed."""

    EQUAL = "equal"
    """Both regions hold the same, or have each taken in what the other one had."""
    DIFFERS = "differs"
    """Nothing that was under way has changed it."""
    CHANGING = "changing"
    """It was written meanwhile: look again."""


Sights = tuple[Sight | None, Sight | None]


def judge(before: Sights, now: Sights) -> Verdict:
    """One row, seen twice. Between the two, all that had been committed before has arrived on the other side.

    A row that users write all the time may never be seen equal. It has not diverged as long as each
    region holds by now what the other one held before, or something newer.
    """
    hash_a, hash_b = (_hash(sight) for sight in now)
    if hash_a == hash_b:
        return Verdict.EQUAL
    if (hash_a, hash_b) == (_hash(before[0]), _hash(before[1])):
        return Verdict.DIFFERS
    if _follows(now[1], before[0]) and _follows(now[0], before[1]):
        return Verdict.EQUAL
    return Verdict.CHANGING


def _hash(sight: Sight | None) -> int | None:
    return sight.hash if sight else None


def _follows(now: Sight | None, before: Sight | None) -> bool:
    """Whether ``now`` is at least as new as what the other region had ``before``."""
    if before is None:
        # Not there before: a row that has come since is newer than nothing.
        return now is not None and now.rank is not None
    return now is not None and now.rank is not None and before.rank is not None and now.rank >= before.rank


def winner(
    names: tuple[str, str], a: Copy | None, b: Copy | None, dead: Mapping[datetime, UUID | None]
) -> tuple[str | None, str]:
    """Which region's copy stands in the end (None: neither), and why, by the policy."""
    decision = decide(a, b, dead)
    result = decision.a.result
    if result is None:
        return None, "deleted: a tombstone says so"
    if a is None or b is None:
        name = names[0] if a is not None else names[1]
        return name, f"only in {name}"
    if a.created_at in dead or b.created_at in dead:
        return (names[0] if result == a else names[1]), "the other copy is of a row that was deleted"
    name, other = names if result == a else names[::-1]
    best, rest = (a.stamp, b.stamp) if result == a else (b.stamp, a.stamp)
    if best.version != rest.version:
        return name, f"version {best.version} over {rest.version}"
    if best.updated_at != rest.updated_at:
        return name, f"updated {best.updated_at.isoformat(' ')} over {rest.updated_at.isoformat(' ')}"
    if best.origin_node != rest.origin_node:
        return name, f"origin_node {best.origin_node} over {rest.origin_node}"
    return name, f"all equal but the content: its hash is greater than in {other}"


def shortened(text: str) -> str:
    """A value for a line on a screen."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
