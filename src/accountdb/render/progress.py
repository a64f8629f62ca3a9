"""How far a long piece of work is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

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


class _Rate(ProgressColumn):
    """Rows a second, since the stage began: rows come in large numbers at a time."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed / task.elapsed:,.0f} rows/s" if task.completed and task.elapsed else "")


class _Bar:
    """One bar, with rows a second and the time that is left."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def stage(self, what: str, total: int | None = None) -> None:
        self._progress.reset(self._task, description=what, total=total or None)

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
    shown = (TextColumn("{task.description}", markup=False), BarColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*shown, console=console, transient=True) as progress:
        yield _Bar(progress)
