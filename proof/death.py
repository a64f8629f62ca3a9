"""Death at every step: a command is killed, loses a server, the link or an answer, and is run again.

    python -m proof.death --mode native --steps 40        40 steps of each command with each fault
    python -m proof.death --command undo --fault kill     all steps of one
    python -m proof.death --mode pgsync                   passes of pgsync, at all steps

At each death: what must hold at once does; run again, the command ends well and the regions are as if
nothing had happened; and its undo file takes all of it back. For pgsync: each group of tied tables is as it
was or as the source is, its watermark with it, and the next pass goes on. Exit status 1 when one is not proved.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from accountdb import lab
from accountdb.lab import Lab
from accountdb.setup.ready import make_ready
from proof import dying, sync_dying
from proof.striking import Fault, Moment, Outcome

_SHOWN = 10
# What dies in each mode, and of what.
_KNOWN = {
    "native": (dying.COMMANDS, dying.FAULTS),
    "pglogical": (dying.COMMANDS, dying.FAULTS),
    "pgsync": (sync_dying.COMMANDS, sync_dying.FAULTS),
}


class Stage(Protocol):
    """A command that can die, with its steps."""

    command: str
    steps: tuple[str, ...]

    def moments(self, fault: Fault, most: int | None) -> Iterable[Moment]:
        """All steps at which to die of a fault, or so many of them."""

    def die(self, fault: Fault, moment: Moment) -> Outcome:
        """The command with a fault at one step, and what comes after."""


def main() -> int:
    """Run it all and print a line for each death that is not proved, and a sum for each command and fault."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="accountdb-death-") as folder:
        running = lab.up(Path(folder) / "lab", lab.mode_of(options.mode), owner_pid=os.getpid()).keep()
        try:
            if options.mode != "pgsync":
                make_ready(running)
            wrong = 0
            for command in options.command:
                stage = _stage(running, command, Path(folder))
                for fault in options.fault:
                    wrong += _sweep(stage, fault, options)
        finally:
            running.down()
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m proof.death", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mode", default="native", choices=list(_KNOWN))
    parser.add_argument("--steps", default="all", help="how many steps of each command and fault (default: all)")
    parser.add_argument("--command", action="append", help="again for more (default: all of the mode)")
    parser.add_argument("--fault", action="append", help="again for more (default: all of the mode)")
    options = parser.parse_args()
    for name, known in zip(("command", "fault"), _KNOWN[options.mode], strict=True):
        asked = getattr(options, name) or list(known)
        if unknown := [one for one in asked if one not in known]:
            parser.error(f"--{name} {', '.join(unknown)}: mode {options.mode} has {', '.join(known)}")
        setattr(options, name, asked)
    return options


def _stage(running: Lab, command: str, folder: Path) -> Stage:
    if running.mode == "pgsync":
        return sync_dying.Stage(running, command, folder)
    return dying.Stage(running, command, folder)


def _sweep(stage: Stage, name: str, options: argparse.Namespace) -> int:
    """Die of one fault at the steps that were asked for. Returns how many deaths were not proved."""
    began = time.monotonic()
    most = None if options.steps == "all" else int(options.steps)
    count: Counter[str] = Counter()
    fault = _KNOWN[options.mode][1][name]
    for moment in stage.moments(fault, most):
        outcome = stage.die(fault, moment)
        if outcome.reached is None:
            count["not reached"] += 1
        elif not outcome.faults:
            count["proved"] += 1
        else:
            count["FAILED"] += 1
            back = ", healed at once" if moment.back else ""
            where = f"{moment.at} {moment.text}".strip()
            print(f"{stage.command}, {name} at step {where}{back} ({outcome.reached}): FAILED", flush=True)
            for what in outcome.faults[:_SHOWN]:
                print(f"  {what}", flush=True)
    if not count:
        return 0
    told = ", ".join(f"{number} {what}" for what, number in count.items())
    seconds = time.monotonic() - began
    print(f"{options.mode}, {stage.command}, {name}: of {len(stage.steps)} steps {told}, {seconds:.0f} s", flush=True)
    return count["FAILED"]


if __name__ == "__main__":
    sys.exit(main())
