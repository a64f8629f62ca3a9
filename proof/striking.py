"""What every proof of deaths shares: a command in a process of its own, and a fault at one of its steps."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from accountdb.lab import Lab
from proof import stepping
from proof.stepping import Orders

# What a command may take to find out that its server is gone, and to end.
PATIENCE_S = 60.0

# What to do when the process, of this number, has come to its step and waits there.
Strike = Callable[[int], None]


@dataclass(frozen=True)
class Fault:
    """What happens at a step: ``order`` is what the process is told. ``region`` is the one that is lost.

    ``cut``: by its link. ``silent``: its link loses every packet, and nobody is told; ``dead``: the command
    dies meanwhile.
    """

    order: str
    region: str | None = None
    cut: bool = False
    silent: bool = False
    dead: bool = False

    def strike(self, lab: Lab) -> None:
        """Do what the process does not do itself."""
        if self.cut:
            lab.cut()
        elif self.region:
            lab.kill(self.region)


NONE = Fault("none")


@dataclass(frozen=True)
class Moment:
    """The step number ``at``, of all or of those that ``text`` is part of.

    ``back``: what happens there is healed before the command goes on.
    """

    at: int
    text: str = ""
    back: bool = False


@dataclass(frozen=True)
class Ended:
    """How a process ended. ``reached`` is the step of the fault, ``steps`` all of them where it lived to tell."""

    status: int | None
    reached: str | None
    steps: tuple[str, ...]
    said: str
    complained: str
    seconds: float
    """From the fault on, or all where there was none."""


@dataclass(frozen=True)
class Outcome:
    """One death: the step (None: the command had ended before it), and what was wrong (nothing: proved)."""

    reached: str | None
    faults: tuple[str, ...]
    seconds: float


def heal(lab: Lab) -> None:
    """End a fault; streams come back by themselves."""
    lab.heal()
    for region in lab.status().regions:
        if region.server != "running":
            lab.start(region.name)


class Striker:
    """Runs commands in processes of their own, which are forked from one that has loaded everything."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is for what they say."""
        self._folder = folder
        self._forks = multiprocessing.get_context("forkserver")
        self._forks.set_forkserver_preload(["proof.stepping"])

    def run(self, orders: Orders, strike: Strike, patience_s: float = PATIENCE_S) -> Ended:
        """One run of a command. A process that does not end in time is ended, and says where it hung."""
        out, err = (self._folder / name for name in ("out", "err"))
        ours, theirs = self._forks.Pipe()
        process = self._forks.Process(target=stepping.run, args=(orders, str(out), str(err), theirs), daemon=True)
        process.start()
        theirs.close()
        try:
            reached, steps, began = _attend(process, ours, orders.fault == "ask", strike, patience_s)
        finally:
            ours.close()
        seconds = time.monotonic() - began
        return Ended(process.exitcode, reached, steps, out.read_text(), err.read_text(), seconds)


def _attend(
    process: ForkServerProcess, pipe: Pipe, asked: bool, strike: Strike, patience_s: float
) -> tuple[str | None, tuple[str, ...], float]:
    """Do the fault when the process has come to its step, and wait for the process's end."""
    reached: str | None = None
    steps: tuple[str, ...] = ()
    began = time.monotonic()
    while wait([pipe], timeout=max(began + patience_s - time.monotonic(), 0)):
        try:
            told = pipe.recv()
        except (EOFError, ConnectionResetError):
            break
        if not isinstance(told, str):
            steps = tuple(told)
            continue
        reached = told
        if asked:
            assert process.pid is not None
            strike(process.pid)
            _go_on(pipe)
        began = time.monotonic()
    process.join(max(began + patience_s - time.monotonic(), 1))
    if process.is_alive() and process.pid:
        # Where it hangs goes to what it complained of.
        os.kill(process.pid, signal.SIGUSR1)
        process.join(1)
        process.kill()
        process.join()
    return reached, steps, began


def _go_on(pipe: Pipe) -> None:
    try:
        pipe.send("go on")
    except BrokenPipeError:
        # The strike killed it.
        return


def share(count: int, most: int | None) -> Iterable[Moment]:
    """Steps 1 to ``count``, or ``most`` of them, evenly spread; every second one is healed at once. Pure."""
    if most is None or most >= count:
        steps = list(range(1, count + 1))
    else:
        steps = [1 + (2 * n + 1) * count // (2 * most) for n in range(most)]
    return [Moment(step, back=number % 2 == 1) for number, step in enumerate(steps)]
