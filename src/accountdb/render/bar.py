"""How far a long piece of work is, as a bar on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from accountdb.render import output


class _Rate(ProgressColumn):
    """Rows a second, since the stage began: rows come in large numbers at a time."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed / task.elapsed:,.0f} rows/s" if task.completed and task.elapsed else "")


class Bar:
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


@contextmanager
def bar() -> Iterator[Bar]:
    """A bar on stderr for as long as the block runs."""
    shown = (TextColumn("{task.description}", markup=False), BarColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*shown, console=output.stderr(), transient=True) as progress:
        yield Bar(progress)
