"""Time and memory of calls and commands, taken side by side, and the bars that they are held against."""

from __future__ import annotations

import contextlib
import os
import re
import statistics
import subprocess
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_STEP_S = 0.01
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


@dataclass(frozen=True)
class Took:
    """What one run took, and what a command wrote to its standard output."""

    seconds: float
    peak_mb: float = 0.0
    said: tuple[str, ...] = ()
    cpu_s: float = 0.0
    """What the process itself took of a processor: a busy machine changes little of it."""


def call(work: Callable[[], object]) -> Took:
    """Run ``work`` in this process; its memory is not measured."""
    began = time.monotonic()
    work()
    return Took(time.monotonic() - began)


def command(words: Sequence[str | Path], *, status: int = 0) -> Took:
    """Run a command, its start included. Raises SystemExit where it ends with another ``status``.

    The peak is the process's own, whatever ran before.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.monotonic()
        process = subprocess.Popen(list(map(str, words)), stdout=out, stderr=err)
        peak = _Peak(process.pid)
        _, ended, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        # Popen learns it from here: there is nothing left that it could wait for.
        found = process.returncode = os.waitstatus_to_exitcode(ended)
        peak.join()
        if found != status:
            err.seek(0)
            raise SystemExit(f"{Path(words[0]).name} ended with {found}, not {status}:\n{err.read()[-2000:]}")
        out.seek(0)
        return Took(seconds, peak.megabytes, tuple(out.read().splitlines()), usage.ru_utime + usage.ru_stime)


class _Peak(threading.Thread):
    """Looks at the greatest resident size that a process has had, until it ends.

    Not from getrusage: that counts what the process was before it became this program.
    """

    def __init__(self, pid: int) -> None:
        super().__init__()
        self._status = Path(f"/proc/{pid}/status")
        self.megabytes = 0.0
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while found := _PEAK.search(self._status.read_text()):
                self.megabytes = int(found[1]) / 1024
                time.sleep(_STEP_S)  # the poll's step


class Rounds:
    """Runs of several things in turn, so that whatever else the machine does hits all of them."""

    def __init__(self) -> None:
        self._took: defaultdict[str, list[Took]] = defaultdict(list)

    def add(self, name: str, took: Took) -> Took:
        """One more run of ``name``, told at once."""
        self._took[name].append(took)
        more = f", {took.cpu_s:.2f} s of a processor, {took.peak_mb:.0f} MB" if took.peak_mb else ""
        print(f"  {name}: {took.seconds:.2f} s{more}", flush=True)
        return took

    def seconds(self, name: str) -> float:
        """The median."""
        return statistics.median(took.seconds for took in self._took[name])

    def least(self, name: str) -> float:
        """The time of the run that was disturbed the least."""
        return min(took.seconds for took in self._took[name])

    def processor(self, name: str) -> float:
        """The median of what the process itself took of a processor."""
        return statistics.median(took.cpu_s for took in self._took[name])

    def ratio(self, name: str, to: str) -> float:
        """How many times as long ``name`` took: the median of the pairs."""
        return statistics.median(
            one.seconds / other.seconds for one, other in zip(self._took[name], self._took[to], strict=True)
        )

    def peak(self, name: str) -> float:
        """The greatest, in MB."""
        return max(took.peak_mb for took in self._took[name])

    def tell(self) -> None:
        """All medians."""
        for name, took in self._took.items():
            times = [one.seconds for one in took]
            print(f"{name}: {self.seconds(name):.2f} s ({min(times):.2f} to {max(times):.2f})", flush=True)


class Bars:
    """What was held against a bar."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def at_most(self, what: str, figure: float, bar: float, unit: str = "") -> None:
        """``figure`` must not be above ``bar``."""
        self._tell(what, figure, f"at most {bar:g}", unit, figure <= bar)

    def at_least(self, what: str, figure: float, bar: float, unit: str = "") -> None:
        """``figure`` must not be below ``bar``."""
        self._tell(what, figure, f"at least {bar:g}", unit, figure >= bar)

    def no_bar(self, what: str, figure: float, unit: str = "") -> None:
        """A figure that is told only."""
        print(f"{what}: {figure:.2f}{unit}", flush=True)

    def skipped(self, what: str, why: str) -> None:
        """A bar that could not be measured here; that is not a miss."""
        print(f"{what}: skipped, {why}", flush=True)

    def _tell(self, what: str, figure: float, bar: str, unit: str, held: bool) -> None:
        print(f"{what}: {figure:.2f}{unit} (bar: {bar}{unit}){'' if held else ' MISSED'}", flush=True)
        if not held:
            self.missed.append(what)
