"""Whether a stream passed something over without a word. Pure.

Every beat of a region is a row in its stream. One that was sent and never arrived, while later ones did, was passed
over, and so was what was written around it: a region that was put back to an earlier state, say, of which the engines
see nothing. One that arrived and that its own region does not have shows that this region was put back.

A merge that found both regions equal settles what was passed over before it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

# Two beats of one region may be committed in the other order than they were made.
_SETTLED = timedelta(seconds=30)


@dataclass(frozen=True)
class Gap:
    """Beats that only one side has: how many, and when the first and the last of them were made."""

    beats: int
    first: datetime
    last: datetime


def passed_over(sent: Collection[datetime], arrived: Collection[datetime], proved: datetime | None) -> Gap | None:
    """What of ``sent`` never arrived though later beats did. ``proved``: when both regions were last found equal.

    What was sent before the first arrival is older than the stream.
    """
    if not arrived:
        return None
    first, last = min(arrived), max(arrived) - _SETTLED
    there = set(arrived)
    return _gap([one for one in sent if first < one < last and one not in there], proved)


def forgotten(sent: Collection[datetime], arrived: Collection[datetime], proved: datetime | None) -> Gap | None:
    """What arrived and is not among ``sent``, which the region that sent it has itself."""
    own = set(sent)
    return _gap([one for one in arrived if one not in own], proved)


def _gap(beats: Collection[datetime], proved: datetime | None) -> Gap | None:
    open_ = [one for one in beats if proved is None or one > proved]
    return Gap(len(open_), min(open_), max(open_)) if open_ else None
