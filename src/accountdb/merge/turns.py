"""Several regions brought together by pairs: one of them, the hub, with each of the others in turn. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

# So many turns for each of the others: enough for what a pair has to bring in several steps, and an end
# where users write all the time.
_MOST = 6


class Turns:
    """Whose turn it is.

    Invariant: each of the others that does not wait has been found equal to the hub, or as equal as it gets, since
    the hub was last changed by another pair's turn. So when nobody waits, all regions are equal to each other.
    """

    def __init__(self, others: Sequence[str]) -> None:
        """All of ``others`` wait."""
        self._others = tuple(others)
        self._waiting = deque(others)
        self._left = _MOST * len(others)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Those that wait: after the last turn only where there had to be an end to it."""
        return tuple(self._waiting)

    def next(self) -> str | None:
        """The one to be merged with the hub now; None where nothing is left to do, or too much was done."""
        return self._waiting[0] if self._waiting and self._left else None

    def done(self, *, hub_changed: bool) -> None:
        """The turn is over; ``hub_changed``: it wrote something in the hub, which the others have to get."""
        self._left -= 1
        other = self._waiting.popleft()
        if hub_changed:
            position = self._others.index(other)
            after = self._others[position + 1 :] + self._others[:position]
            self._waiting = deque(after)
