"""Playing one death: two regions apart, a command with a fault at one step, the checks, and the command again."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from accountdb.lab import Lab
from accountdb.setup.merging import undo_merge
from proof import aftermath, apart, playing
from proof.aftermath import Picture
from proof.checking import apply_errors
from proof.stepping import Orders
from proof.striking import NONE, PATIENCE_S, Ended, Fault, Moment, Outcome, Striker, heal, share

_STEP_S = 0.02

COMMANDS = ("merge --undo", "merge", "merge --recent", "undo", "diff")

FAULTS = {
    "kill": Fault("kill"),
    "lost": Fault("lost"),
    # The command reaches this region through the link.
    "cut": Fault("ask", "global", cut=True),
    "crash-cn": Fault("ask", "cn"),
    "crash-global": Fault("ask", "global"),
}


@dataclass
class Stage:
    """A ready lab on which one command dies. ``folder`` is for its files.

    ``before`` and ``end`` are the regions before the command and after it, when nothing happens.
    ``broken``: the command's transactions do not hold.
    """

    lab: Lab
    command: str
    folder: Path
    broken: bool = False
    steps: tuple[str, ...] = field(init=False)
    before: Picture = field(init=False)
    end: Picture = field(init=False)

    def __post_init__(self) -> None:
        self._striker = Striker(self.folder)
        self._undo = self.folder / "undo.jsonl"
        apart.prepare(self.lab)
        self._begin()
        self.before = aftermath.take(self.lab)
        ended = self._run(self.command)
        wrong = [*self._well(self.command, ended), *self._quiet()]
        self.end = aftermath.take(self.lab)
        self.steps = ended.steps
        if self.command != "diff" and self.before.rows == self.end.rows:
            wrong.append("it changed nothing")
        if self.command in ("merge", "merge --undo") and self.end.rows["cn"] != self.end.rows["global"]:
            wrong.append("the regions are not equal")
        if wrong:
            raise SystemExit(f"{self.command}, without a fault: {'; '.join(wrong)}")

    def die(self, fault: Fault, moment: Moment) -> Outcome:
        """The command, with a fault at one step, and again without."""
        began = time.monotonic()
        logs: dict[str, int] = {region.name: region.log_file.stat().st_size for region in self.lab.regions}
        self._begin()
        ended = self._run(self.command, fault, moment)
        heal(self.lab)
        found = self._told(fault, ended)
        if ended.reached is not None:
            found += [f"at once: {what}" for what in aftermath.at_once(self.lab, self.before, self.end)]
        if ended.reached is not None and not found:
            found += self._again()
        for region in self.lab.regions:
            found += [f"{region.name} log: {line}" for line in apply_errors(region.log_file, logs[region.name])]
        return Outcome(ended.reached, tuple(found), time.monotonic() - began)

    def _begin(self) -> None:
        self._undo.unlink(missing_ok=True)
        apart.write(self.lab)
        if self.command == "undo":
            wrong = self._well("merge --undo", self._run("merge --undo"))
            if wrong:
                raise SystemExit("; ".join(wrong))

    def _again(self) -> list[str]:
        again = self._run(self.command)
        found = [f"again: {what}" for what in (*self._well(self.command, again), *self._quiet())]
        found += [f"again: {what}" for what in aftermath.at_the_end(self.lab, self.end)]
        if self.command == "merge --undo" and not found:
            found += [f"taken back: {what}" for what in self._taken_back()]
        return found

    def _taken_back(self) -> list[str]:
        regions: dict[str, str] = {region.name: region.admin_dsn for region in self.lab.regions}
        done = undo_merge(regions, self._undo)
        found = [f"{one.left} rows of {name} were left" for name, one in done.items() if one.left]
        now = aftermath.take(self.lab)
        for name, rows in now.rows.items():
            different = sorted({key for key, _ in rows.items() ^ self.before.rows[name].items()})
            found += [f"{name}: {' '.join(key)} is not as before" for key in different]
            if now.tombstones[name] != self.before.tombstones[name]:
                found.append(f"{name}: the tombstones are not as before")
        return found

    def _run(self, command: str, fault: Fault = NONE, moment: Moment = Moment(0)) -> Ended:
        words = {
            "merge": ("merge",),
            "merge --undo": ("merge", "--undo", str(self._undo)),
            "merge --recent": ("merge", "--recent", "--hours", "1000000"),
            "undo": ("undo", str(self._undo)),
            "diff": ("diff", "--settle", "1"),
        }[command]
        dsns = ("--cn", self.lab.region("cn").admin_dsn, "--global", self.lab.region("global").link_dsn)
        ports: dict[int, str] = {port: r.name for r in self.lab.regions for port in (r.port, r.link_port)}
        orders = Orders("migratectl", (*words, *dsns), fault.order, moment.at, moment.text, self.broken, ports)

        def strike(_: int) -> None:
            fault.strike(self.lab)
            if moment.back:
                heal(self.lab)

        return self._striker.run(orders, strike)

    def moments(self, fault: Fault, most: int | None) -> Iterable[Moment]:
        """All steps at which to die of ``fault``, or so many of them."""
        return share(len(self.steps), most)

    def _well(self, command: str, ended: Ended) -> list[str]:
        """What is wrong with a command that nothing happened to. The regions of a diff do differ."""
        if ended.status == (1 if command == "diff" else 0) and "error: " not in ended.complained:
            return []
        return [f"{command} ended with {ended.status}: {ended.said[-500:]}{ended.complained[-3000:]}"]

    def _told(self, fault: Fault, ended: Ended) -> list[str]:
        """What is wrong with how a command ended that something happened to."""
        if ended.reached is None or (fault.order == "kill" and ended.status == -signal.SIGKILL):
            return []
        if fault.order != "kill" and not self._well(self.command, ended):
            # It was done, or did not need what it lost.
            return []
        lines = [line for line in ended.complained.splitlines() if not line.startswith("hint: ")]
        named = rf"error: (--)?{fault.region or '(cn|global)'}: ."
        if self.command == "merge --recent":
            # It waits for the streams, which a fault stops.
            named += "|error: what (cn|global) has written is not applied"
        if ended.status == 3 and len(lines) == 1 and re.match(named, lines[0]):
            return []
        return [f"ended with {ended.status} and told:\n{ended.complained[-4000:]}"]

    def _quiet(self) -> list[str]:
        """Wait until the streams have brought what there is, and the command's sessions have gone."""
        playing.restore(self.lab)
        if not playing.quiet(self.lab, playing.PATIENCE_S):
            return ["the streams do not run"]
        deadline = time.monotonic() + PATIENCE_S
        while (found := aftermath.left(self.lab)) and time.monotonic() < deadline:
            time.sleep(_STEP_S)  # the poll's step
        return [f"left behind: {what}" for what in found]
