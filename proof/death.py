"""Death at every step: a command is killed, loses a server, the link or an answer, and is run again.

    python -m proof.death --mode native --steps 40        40 steps of each command with each fault
    python -m proof.death --command undo --fault kill     all steps of one

At each death: what must hold at once does; run again, the command ends well and the regions are as if
nothing had happened; and its undo file takes all of it back. Exit status 1 when one is not proved.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from accountdb import lab
from accountdb.setup.ready import make_ready
from proof.dying import COMMANDS, FAULTS, Stage, share

_SHOWN = 10


def main() -> int:
    """Run it all and print a line for each death that is not proved, and a sum for each command and fault."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="accountdb-death-") as folder:
        running = lab.up(Path(folder) / "lab", lab.mode_of(options.mode), owner_pid=os.getpid()).keep()
        try:
            make_ready(running)
            wrong = 0
            for command in options.command or COMMANDS:
                stage = Stage(running, command, Path(folder))
                for fault in options.fault or FAULTS:
                    wrong += _sweep(stage, fault, options)
        finally:
            running.down()
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m proof.death", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mode", default="native", choices=["native", "pglogical"])
    parser.add_argument("--steps", default="all", help="how many steps of each command and fault (default: all)")
    parser.add_argument("--command", action="append", choices=COMMANDS, help="again for more (default: all)")
    parser.add_argument("--fault", action="append", choices=list(FAULTS), help="again for more (default: all)")
    return parser.parse_args()


def _sweep(stage: Stage, name: str, options: argparse.Namespace) -> int:
    """Die of one fault at the steps that were asked for. Returns how many deaths were not proved."""
    began = time.monotonic()
    most = None if options.steps == "all" else int(options.steps)
    count: Counter[str] = Counter()
    for moment in share(len(stage.steps), most):
        outcome = stage.die(FAULTS[name], moment)
        if outcome.reached is None:
            count["not reached"] += 1
        elif not outcome.faults:
            count["proved"] += 1
        else:
            count["FAILED"] += 1
            back = ", healed at once" if moment.back else ""
            print(f"{stage.command}, {name} at step {moment.at}{back} ({outcome.reached}): FAILED", flush=True)
            for fault in outcome.faults[:_SHOWN]:
                print(f"  {fault}", flush=True)
    told = ", ".join(f"{number} {what}" for what, number in count.items())
    seconds = time.monotonic() - began
    print(f"{options.mode}, {stage.command}, {name}: of {len(stage.steps)} steps {told}, {seconds:.0f} s", flush=True)
    return count["FAILED"]


if __name__ == "__main__":
    sys.exit(main())
