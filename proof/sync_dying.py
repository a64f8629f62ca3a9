"""Playing one death of pgsync: a pass with a fault at one step, the checks, and the passes that come next.

The source is the region Global, the destination CN, as in the example of a job file.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from accountdb.lab import Lab
from accountdb.pg.dsn import with_params
from accountdb.sync.capture import Capture
from proof import sync_aftermath, sync_scenes
from proof.hole import Hole
from proof.stepping import Orders
from proof.striking import NONE, PATIENCE_S, Ended, Fault, Moment, Outcome, Strike, Striker, heal, share
from proof.sync_aftermath import Picture
from proof.sync_scenes import SCENES, Pair

COMMANDS = tuple(f"{scene}/{capture.value}" for scene in SCENES for capture in Capture)
REGIONS = {"source": "global", "destination": "cn"}
FAULTS = {
    "kill": Fault("kill"),
    "lost": Fault("lost"),
    **{f"crash-{side}": Fault("ask", region) for side, region in REGIONS.items()},
    # The command reaches that side through the link.
    **{f"cut-{side}": Fault("ask", region, cut=True) for side, region in REGIONS.items()},
    **{f"silent-{side}": Fault("ask", region, silent=True) for side, region in REGIONS.items()},
    **{f"gone-{side}": Fault("ask", region, silent=True, dead=True) for side, region in REGIONS.items()},
}

# How soon the other end of a link that has gone silent is known to be gone: 30 s of silence and three probes,
# 10 s apart, and then at most 5 s until a long statement is looked at.
SILENCE_S = 65.0
# The same for commands in a hurry; see ``Orders.hasty``.
HASTY_S = 10.0
_HASTY = {"keepalives_idle": "1", "keepalives_interval": "1", "keepalives_count": "3", "tcp_user_timeout": "3000"}
# What restarting, forking and a busy machine may add.
_SLACK_S = 15.0
# Each waits a minute, and in every scene for the same connections: while rows are on their way, and while one side
# waits for the other.
_SILENT_IN = "changes/log"
_SILENT = {
    "source": (Moment(1, "source: read"), Moment(1, "source: COPY (SELECT")),
    "destination": (Moment(2, "destination: copy_to"), Moment(1, "destination: INSERT INTO accountdb.sync_watermark")),
}
_STEP_S = 0.02
_NEXT = ("--max-delete", "100%")
_BUSY = "another pass is at work"
_WRITTEN = re.compile(r"(\d+) inserted, (\d+) updated, (\d+) deleted")


@dataclass
class Stage:
    """A lab on which one command dies: ``SCENE/CAPTURE``. ``folder`` is for its files.

    ``broken``: the command's transactions do not hold. ``hasty``: see ``Orders``.
    """

    lab: Lab
    command: str
    folder: Path
    broken: bool = False
    hasty: bool = False
    steps: tuple[str, ...] = field(init=False)
    pair: Pair = field(init=False)

    def __post_init__(self) -> None:
        scene, capture = self.command.split("/")
        self._scene, self._capture = SCENES[scene], Capture(capture)
        self._words = (*_NEXT, *self._scene.words)
        self._striker = Striker(self.folder)
        self.pair = self._through({})
        sync_scenes.prepare(self.pair, self._capture)
        sync_scenes.write(self.pair, self._scene)
        before = self.take()
        ended = self._run(self._words)
        self.steps = ended.steps
        wrong = [*self._well(ended), *sync_aftermath.at_the_end(self.pair, before, self.take())]
        if before.source.rows == before.destination.rows:
            wrong.append("there was nothing to do")
        # What is broken shows only when it dies.
        if wrong and not self.broken:
            raise SystemExit(f"pgsync, {self.command}, without a fault: {'; '.join(wrong)}")

    def moments(self, fault: Fault, most: int | None) -> Iterable[Moment]:
        """All steps at which to die of ``fault``, or so many of them; two of one scene where each takes a minute."""
        if fault.silent:
            return _SILENT[_side(fault)] if self.command == _SILENT_IN else ()
        return share(len(self.steps), most)

    def die(self, fault: Fault, moment: Moment) -> Outcome:
        """A pass, with a fault at one step, and the next ones without."""
        began = time.monotonic()
        sync_scenes.write(self.pair, self._scene)
        before = self.take()
        with ExitStack() as stack:
            ended = self._struck(fault, moment, stack)
            heal(self.lab)
            found = self._told(fault, ended)
            if ended.reached is not None:
                found += self._kept_out(fault)
                now = self.take(self._patience_s(fault))
                found += [f"at once: {what}" for what in sync_aftermath.at_once(self.pair, before, now)]
            if ended.reached is not None and not found:
                found += self._next(fault, before)
        return Outcome(ended.reached, tuple(found), time.monotonic() - began)

    def _struck(self, fault: Fault, moment: Moment, stack: ExitStack) -> Ended:
        """The command, with the fault. What has to outlast it is left to ``stack``."""
        hole: Hole | None = None
        ports: dict[str, int] = {}
        if fault.region:
            region = self.lab.region(fault.region)
            if fault.silent:
                hole = stack.enter_context(closing(Hole(region.port)))
                ports = {_side(fault): hole.port}
            elif fault.cut:
                ports = {_side(fault): region.link_port}

        def strike(process: int) -> None:
            if hole:
                hole.swallow()
            else:
                fault.strike(self.lab)
            if fault.dead:
                os.kill(process, signal.SIGKILL)
            if moment.back:
                heal(self.lab)

        patience_s = self._patience_s(fault) if fault.silent else PATIENCE_S
        return self._run(self._words, fault, moment, ports, strike, patience_s)

    def _run(
        self,
        words: tuple[str, ...],
        fault: Fault = NONE,
        moment: Moment = Moment(0),
        ports: Mapping[str, int] | None = None,
        strike: Strike = lambda process: None,
        patience_s: float = PATIENCE_S,
    ) -> Ended:
        """One run of pgsync, which reaches a side by another of its ``ports`` than usual."""
        config = self.folder / "jobs.yaml"
        config.write_text(self._through(ports or {}).config)
        sides = {port: side for side, port in (ports or {}).items()}
        sides |= {self.lab.region(region).port: side for side, region in REGIONS.items()}
        orders = Orders(
            "pgsync", ("--config", str(config), *words), fault.order, moment.at, moment.text,
            self.broken, sides, self.hasty and fault.silent,
        )  # fmt: skip
        return self._striker.run(orders, strike, patience_s)

    def _through(self, ports: Mapping[str, int]) -> Pair:
        hasty = _HASTY if self.hasty else {}
        dsns = {
            side: with_params(
                self.lab.region(region).app_dsn, **({"port": str(ports[side]), **hasty} if side in ports else {})
            )
            for side, region in REGIONS.items()
        }
        return Pair(**dsns)

    def take(self, patience_s: float = _SLACK_S) -> Picture:
        """Look at both sides."""
        return sync_aftermath.take(self.pair, self._capture, patience_s)

    def _patience_s(self, fault: Fault) -> float:
        """How long what a dead pass holds may keep others away."""
        silence_s = HASTY_S if self.hasty else SILENCE_S
        return _SLACK_S + (silence_s if fault.silent else 0.0)

    def _well(self, ended: Ended) -> list[str]:
        """What is wrong with a pass that nothing happened to."""
        if ended.status == 0 and "error: " not in ended.complained:
            return []
        return [f"ended with {ended.status}: {ended.said[-500:]}{ended.complained[-3000:]}"]

    def _told(self, fault: Fault, ended: Ended) -> list[str]:
        """What is wrong with how a pass ended that something happened to."""
        if any(region.app_password in ended.said + ended.complained for region in self.lab.state.regions.values()):
            return ["it showed a password"]
        if ended.reached is None:
            return self._well(ended)
        if (fault.order == "kill" or fault.dead) and ended.status == -signal.SIGKILL:
            return []
        if fault.order != "kill" and not fault.dead and not self._well(ended):
            # It was done, or did not need what it lost.
            return []
        side = _side(fault) if fault.region else "(source|destination)"
        if ended.status == 3 and re.fullmatch(rf"error: {side}: \S.*\nhint: \S.*\n", ended.complained):
            return []
        return [f"ended with {ended.status} and told:\n{ended.complained[-4000:]}"]

    def _kept_out(self, fault: Fault) -> list[str]:
        """Where the destination cannot know yet that a pass is dead, the next one says that it is at work."""
        # In a hurry the destination may have found out before anybody comes.
        if self.hasty or not fault.dead or _side(fault) != "destination":
            return []
        ended = self._run(_NEXT)
        return [] if ended.status == 0 and _BUSY in ended.complained else [f"{ended.said}{ended.complained}"]

    def _next(self, fault: Fault, before: Picture) -> list[str]:
        """The next pass goes on where this one was, and after it there is nothing to do."""
        deadline = time.monotonic() + self._patience_s(fault)
        while _BUSY in (ended := self._run(_NEXT)).complained and ended.status == 0:
            if time.monotonic() > deadline:
                return [f"next pass: nobody lets it in: {'; '.join(sync_aftermath.left(self.pair))}"]
        found = self._well(ended) + sync_aftermath.at_the_end(self.pair, before, self.take())
        further = self._run(_NEXT)
        written = _WRITTEN.search(further.said)
        if self._well(further) or written is None or any(map(int, written.groups())):
            found.append(f"the pass after it: {further.status}: {further.said}{further.complained}")
        while (left := sync_aftermath.left(self.pair)) and time.monotonic() < deadline:
            time.sleep(_STEP_S)  # the poll's step
        return [f"next pass: {what}" for what in found] + [f"left behind: {what}" for what in left]


def _side(fault: Fault) -> str:
    """Which side a fault takes."""
    return next(side for side, region in REGIONS.items() if region == fault.region)
