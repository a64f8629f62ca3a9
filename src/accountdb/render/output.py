"""The two outputs: data on stdout, messages on stderr. NO_COLOR is honoured by both.

rich is loaded by what draws with it: what cron starts each minute draws nothing.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.console import Console


def stdout() -> Console:
    """Where data goes. Made anew, so that it follows a redirected sys.stdout."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, soft_wrap=True, markup=False)


def stderr() -> Console:
    """Where progress, warnings and errors go."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False, soft_wrap=True, markup=False)


def say(line: str) -> None:
    """One line of data, as it is."""
    print(line, flush=True)


def tell(line: str, *, style: str | None = None) -> None:
    """One line for the person, not for the pipe."""
    stderr().print(line, style=style)


def as_json(value: Any, *, indent: int | None = 2) -> str:
    """A result dataclass, or a structure of them, as one JSON document; without ``indent`` on one line."""
    return json.dumps(_plain(value), ensure_ascii=False, indent=indent)


class JsonStream:
    """One JSON document with a list that may be too long for memory: its items first, then the rest.

    Where an error ends it early, the document still ends as one, with the key ``error``.
    """

    def __init__(self, name: str) -> None:
        """``name`` is the list's key."""
        self._file = sys.stdout
        # Nothing is written before there is something to say: an error may come first.
        self._separator = f'{{"{name}": [\n  '
        self._empty = True
        self._name = name

    def add(self, item: Any) -> None:
        """One more item."""
        self._file.write(self._separator + json.dumps(item, ensure_ascii=False, default=_shallow))
        self._separator = ",\n  "
        self._empty = False

    def end(self, rest: dict[str, Any]) -> None:
        """The other keys, and the end."""
        text = json.dumps(_plain(rest), ensure_ascii=False, indent=2)
        start = f'{{"{self._name}": [],' if self._empty else "\n],"
        print(start + text[1:], file=self._file, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        if error is not None and not self._empty and not isinstance(error, BrokenPipeError):
            self.end({"error": getattr(error, "message", "interrupted")})


def _shallow(value: Any) -> Any:
    """What json cannot write itself, one level deep: much faster than ``_plain`` for many small items."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return _plain(value)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(found) for key, found in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(found) for found in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on a terminal; in a pipe one line a row, values separated by tabs, without a heading."""
    console = stdout()
    if not console.is_terminal:
        for row in rows:
            # Not by rich, which would turn the tabs into spaces.
            console.file.write("\t".join(row) + "\n")
        return
    from rich.table import Table

    drawn = Table(*columns, title=title, title_justify="left")
    for row in rows:
        drawn.add_row(*row)
    console.print(drawn)


def bytes_text(count: int | None) -> str:
    """A number of bytes for people; ``unknown`` for None."""
    if count is None:
        return "unknown"
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1024 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{count} bytes"


def seconds_text(seconds: float | None) -> str:
    """A duration for people; ``unknown`` for None."""
    return "unknown" if seconds is None else f"{seconds:.1f} s"


def span_text(seconds: float | None) -> str:
    """A span of time in its largest unit: ``12 s``, ``3 min``, ``26 h``, ``4 d``; ``unknown`` for None."""
    if seconds is None:
        return "unknown"
    for size, unit, most in ((1, "s", 120), (60, "min", 120), (3600, "h", 72)):
        if abs(seconds) < size * most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
