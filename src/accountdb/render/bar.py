"""How far a long piece of work is, as a bar on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.cells import cell_len, set_cell_size
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from accountdb.render import output

_BAR = 10
# What stands on the line besides the description: bar, "999,999,999 rows", "9,999,999/s", "0:00:00", blanks.
_OTHERS = _BAR + 16 + 11 + 7 + 4


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


class Bar:
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


@contextmanager
def bar() -> Iterator[Bar]:
    """A bar on stderr for as long as the block runs."""
    lying = BarColumn(bar_width=_BAR)
    shown = (TextColumn("{task.description}", markup=False), lying, _Rows(), _Rate(), TimeRemainingColumn())
    with Progress(*shown, console=output.stderr(), transient=True) as progress:
        yield Bar(progress)
