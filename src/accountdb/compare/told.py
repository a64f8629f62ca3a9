"""Rows that have been told of already, in 8 bytes each."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from hashlib import blake2b

from accountdb.compare.model import Key


class Told:
    """Keys of rows: first they are added, then they are looked for."""

    def __init__(self, known: array[int] | None = None) -> None:
        """``known`` are in order."""
        self._known = known or array("Q")

    def add(self, key: Key) -> None:
        """One more."""
        self._known.append(_number(key))

    def with_more(self, others: Told) -> Told:
        """These and the others, to be looked for."""
        return Told(array("Q", sorted([*self._known, *others._known])))

    def __contains__(self, key: Key) -> bool:
        number = _number(key)
        position = bisect_left(self._known, number)
        return position < len(self._known) and self._known[position] == number


def _number(key: Key) -> int:
    text = "".join(f"{len(part)}:{part}" for part in key)
    return int.from_bytes(blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest())
