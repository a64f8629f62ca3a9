"""How far a long piece of work is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from accountdb.render import output

_LINE_EVERY_S = 10.0


class Meter(Protocol):
    """What work reports to."""

    def stage(self, what: str, total: int | None = None) -> None:
        """A new piece of work begins; ``total`` rows lie ahead, None where nobody knows."""

    def advance(self, rows: int) -> None:
        """So many more rows are done."""

    def clear(self) -> None:
        """The work is done: nothing of it stays on the screen, on which data is about to be printed."""


class _Lines:
    """A plain line every ten seconds."""

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()
        self._what = ""
        self._total: int | None = None
        self._rows = 0

    def stage(self, what: str, total: int | None = None) -> None:
        self._began = time.monotonic()
        self._what, self._total, self._rows = what, total, 0

    def advance(self, rows: int) -> None:
        self._rows += rows
        now = time.monotonic()
        if now - self._told < _LINE_EVERY_S:
            return
        self._told = now
        speed = self._rows / max(now - self._began, 0.001)
        of = f" of about {self._total}" if self._total else ""
        left = ""
        if self._total and speed:
            left = f", {max(self._total - self._rows, 0) / speed:.0f} s left"
        output.tell(f"{self._what}: {self._rows}{of} rows, {speed:.0f} rows/s{left}")

    def clear(self) -> None:
        """Lines stay."""


@contextmanager
def meter() -> Iterator[Meter]:
    """A meter on stderr for as long as the block runs."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from accountdb.render.bar import bar

    with bar() as shown:
        yield shown
