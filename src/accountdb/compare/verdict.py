"""What two looks at a row say, and which copy stands in the end. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from accountdb.compare.look import Sight
from accountdb.contract.decide import Copy, standing

_LONGEST = 60
_BEFORE = 20


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

    A row that users write all the time may never be seen equal. It has not diverged as long as both
    regions hold by now the newest that either of them held before, or something newer.
    """
    hashes = [_hash(sight) for sight in now]
    if hashes[0] == hashes[1]:
        return Verdict.EQUAL
    if hashes == [_hash(sight) for sight in before]:
        return Verdict.DIFFERS
    if all(_follows(sight, known) for sight in now for known in before if known):
        return Verdict.EQUAL
    return Verdict.CHANGING


def _hash(sight: Sight | None) -> int | None:
    return sight.hash if sight else None


def _follows(now: Sight | None, before: Sight) -> bool:
    """Whether ``now`` is the copy ``before`` or, by the row order, a newer one."""
    if now is None or now.rank is None:
        return False
    return now.hash == before.hash or (before.rank is not None and now.rank > before.rank)


def winner(
    names: Sequence[str], copies: Sequence[Copy | None], dead: Mapping[datetime, UUID | None]
) -> tuple[str | None, str]:
    """Which region's copy stands in the end (None: none does), and why, by the policy.

    Of several regions that have it the first is named; the reason is told against the greatest of the other copies.
    """
    result = standing(copies, dead)
    if result is None:
        return None, "deleted: a tombstone says so"
    holders = [name for name, copy in zip(names, copies, strict=True) if copy == result]
    name = holders[0]
    others = {copy: region for region, copy in zip(names, copies, strict=True) if copy not in (None, result)}
    if not others:
        return name, f"only in {', '.join(holders)}"
    if any(copy is not None and copy.created_at in dead for copy in copies):
        return name, "the other copy is of a row that was deleted"
    second = max((copy for copy in others if copy is not None), key=lambda copy: copy.stamp.rank)
    best, rest, other = result.stamp, second.stamp, others[second]
    if best.version != rest.version:
        return name, f"version {best.version} over {rest.version}"
    if best.updated_at != rest.updated_at:
        return name, f"updated {best.updated_at.isoformat(' ')} over {rest.updated_at.isoformat(' ')}"
    if best.origin_node != rest.origin_node:
        return name, f"origin_node {best.origin_node} over {rest.origin_node}"
    return name, f"all equal but the content: its hash is greater than in {other}"


def excerpts(texts: Sequence[str | None]) -> list[str | None]:
    """Values that differ, for a line on a screen: of long ones what lies around the first difference."""
    start = 0
    if any(text is not None and len(text) > _LONGEST for text in texts):
        start = max(_alike([text or "" for text in texts]) - _BEFORE, 0)
    return [None if text is None else _excerpt(text, start) for text in texts]


def _alike(texts: Sequence[str]) -> int:
    """With how many characters all begin. By halves: a loop over a large value would take its time."""
    longest = min(map(len, texts))
    return bisect_left(range(longest), True, key=lambda last: len({text[: last + 1] for text in texts}) > 1)


def _excerpt(text: str, start: int) -> str:
    end = start + _LONGEST
    return ("…" if start else "") + text[start:end] + ("…" if len(text) > end else "")
