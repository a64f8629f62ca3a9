"""Making a failing history small: whole rounds first, then transactions, while it still fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from proof.history import History, Round


def shrink(history: History, fails: Callable[[History], bool], *, seconds: float = 300.0) -> History:
    """The smallest history found within ``seconds`` for which ``fails`` is true.

    Timing is part of a failure, so a candidate that passes once may still be a failing one: the
    result fails, but a smaller one may exist.
    """
    deadline = time.monotonic() + seconds
    progress = True
    while progress:
        progress = False
        for candidate in _smaller(history):
            if time.monotonic() > deadline:
                return history
            if fails(candidate):
                history, progress = candidate, True
                break
    return history


def _smaller(history: History) -> Iterator[History]:
    """Candidates with a piece less, big pieces first."""
    rounds = history.rounds
    size = (len(rounds) + 1) // 2
    while size >= 1:
        for start in range(0, len(rounds), size):
            yield replace(history, rounds=rounds[:start] + rounds[start + size :])
        size //= 2
    for position, round_ in enumerate(rounds):
        for region, transactions in round_.transactions.items():
            size = (len(transactions) + 1) // 2
            while size >= 1:
                for start in range(0, len(transactions), size):
                    fewer = transactions[:start] + transactions[start + size :]
                    yield _with(history, position, replace(round_, transactions={**round_.transactions, region: fewer}))
                size //= 2


def _with(history: History, position: int, round_: Round) -> History:
    return replace(history, rounds=(*history.rounds[:position], round_, *history.rounds[position + 1 :]))
