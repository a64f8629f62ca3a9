"""How far a long piece of work is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.cells import cell_len, set_cell_size
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from accountdb.render import output

_LINE_EVERY_S = 10.0
_BAR = 10
# What stands on the line besides the description: bar, "999,999,999 rows", "9,999,999/s", "0:00:00", blanks.
_OTHERS = _BAR + 16 + 11 + 7 + 4


class Meter(Protocol):
    """What work reports to."""

    def stage(self, what: str, total: int | None = None) -> None:
        """A new piece of work begins; ``total`` rows lie ahead, None where nobody knows."""

    def advance(self, rows: int) -> None:
        """So many more rows are done."""

    def clear(self) -> None:
        """The work is done: nothing of it stays on the screen, on which data is about to be printed."""


class _Rows(ProgressColumn):
    """How many rows are done."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed:,.0f} rows" if task.completed else "", no_wrap=True)


class _Rate(ProgressColumn):
    """Rows a second, since the stage began: rows come in large numbers at a time."""

    def render(self, task: Task) -> Text:
        # What comes after the last row, an index for instance, is not the rows' time.
        seconds = task.finished_time or task.elapsed
        return Text(f"{task.completed / seconds:,.0f}/s" if task.completed and seconds else "", no_wrap=True)


class _Bar:
    """One bar, with rows, rows a second and the time that is left, on one line of the terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None)

    def stage(self, what: str, total: int | None = None) -> None:
        room = max(self._progress.console.width - _OTHERS, 1)
        shown = what if cell_len(what) <= room else set_cell_size(what, room - 1) + "…"
        self._progress.reset(self._task, description=shown, total=total or None)

    def advance(self, rows: int) -> None:
        self._progress.advance(self._task, rows)

    def clear(self) -> None:
        self._progress.stop()


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
    console = output.stderr()
    if not console.is_terminal:
        yield _Lines()
        return
    bar = BarColumn(bar_width=_BAR)
    shown = (TextColumn("{task.description}", markup=False), bar, _Rows(), _Rate(), TimeRemainingColumn())
    with Progress(*shown, console=console, transient=True) as progress:
        yield _Bar(progress)
