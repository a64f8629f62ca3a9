"""Two merge jobs of pgsync, one each way, in the place of the streams. A process watches each, and may be killed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accountdb.compare.model import Unwatched
from accountdb.contract.row_contract import ACCOUNT_TABLES
from accountdb.errors import AccountdbError
from accountdb.lab import Lab
from accountdb.pg.dsn import with_params
from accountdb.sync.config import Job
from accountdb.sync.installing import install
from accountdb.sync.limit import Limit
from accountdb.sync.model import PassOptions, Receipt
from accountdb.sync.passes import run_pass

_COMMAND = Path(sys.executable).with_name("pgsync")
_EVERYTHING = Limit(100, percent=True)
_MOST_ROUNDS = 6
_LEAVES_WITHIN_S = 10.0
_KILLED = 0.15


@dataclass
class Jobs:
    """Each job runs in its destination's region, so what it reads comes over the link."""

    lab: Lab
    folder: Path
    stack: ExitStack = field(default_factory=ExitStack)
    watching: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.config = self.folder / "jobs.json"
        self.config.write_text(json.dumps({"jobs": {name: self._document(name) for name in self._sources}}))
        self.jobs = {name: Job.model_validate(self._document(name)) for name in self._sources}

    @property
    def _sources(self) -> dict[str, tuple[str, str]]:
        return {"to_global": ("cn", "global"), "to_cn": ("global", "cn")}

    def _document(self, name: str) -> dict[str, Any]:
        source, destination = (self.lab.region(one) for one in self._sources[name])
        return {
            "source": {"dsn": with_params(source.app_dsn, port=str(source.link_port))},
            "destination": {"dsn": destination.app_dsn},
            "policy": "merge",
            "tables": {table: {} for table in ACCOUNT_TABLES},
            "poll_interval": 0.2,
        }

    def watch(self) -> None:
        """Have every job run, from now on."""
        for name in self.jobs:
            if name not in self.watching:
                log = self.stack.enter_context((self.folder / f"{name}.log").open("ab"))
                words: list[str | Path] = [
                    _COMMAND,
                    "--config",
                    self.config,
                    "--watch",
                    "--job",
                    name,
                    "--max-delete",
                    "100%",
                ]
                self.watching[name] = subprocess.Popen(words, stdout=log, stderr=log)

    def perhaps_kill(self, rng: random.Random) -> None:
        """One of the processes dies, as often as not in the middle of something, and another one takes over."""
        name = rng.choice(sorted(self.watching))
        if rng.random() < _KILLED:
            self.watching[name].kill()
            self.watching.pop(name).wait()
            self.watch()

    def stop(self) -> list[str]:
        """End the processes. What is wrong with how they did."""
        found = []
        for name, process in self.watching.items():
            if process.poll() is not None:
                found.append(f"{name} ended by itself with {process.returncode}")
            process.terminate()
        for process in self.watching.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LEAVES_WITHIN_S)
            # It may wait for a link that has gone silent.
            process.kill()
            process.wait()
        self.watching.clear()
        self.stack.close()
        return found

    def settle(self, patience_s: float) -> tuple[list[str], int]:
        """Passes each way until nothing moves any more. What is wrong, and how many rows they wrote."""
        found = self.stop()
        deadline = time.monotonic() + patience_s
        wrote = 0
        for _ in range(_MOST_ROUNDS):
            receipts = [self._pass(name, deadline) for name in self.jobs]
            moved = sum(counts.written for one in receipts for counts in one.tables.values())
            wrote += moved
            if not moved:
                return found + self._echoes(deadline), wrote
        return [*found, f"passes wrote something in each of {_MOST_ROUNDS} rounds"], wrote

    def _echoes(self, deadline: float) -> list[str]:
        """What was synced must not come back, and both sides hold what the other one had."""
        found = []
        for name in self.jobs:
            receipt = self._pass(name, deadline, verify=True)
            read = sum(counts.read for counts in receipt.tables.values())
            if read:
                found.append(f"{name} looks at {read} rows though nobody has written")
            if not receipt.verified:
                found.append(f"{name} does not find both sides equal")
        return found

    def _pass(self, name: str, deadline: float, **options: bool) -> Receipt:
        """One pass, once the sessions of those that were killed are gone."""
        while True:
            with suppress(AccountdbError) if time.monotonic() < deadline else ExitStack():
                wanted = PassOptions(max_delete=_EVERYTHING, verify=options.get("verify", False))
                receipt = run_pass(name, self.jobs[name], wanted, Unwatched())
                if receipt is not None:
                    return receipt
            if time.monotonic() > deadline + _LEAVES_WITHIN_S:
                raise TimeoutError(f"job {name} is still at work elsewhere")
            time.sleep(0.1)  # the poll's step


def installed(lab: Lab, folder: Path) -> Jobs:
    """The jobs of a ready lab, with guards and capture on both sides."""
    found = Jobs(lab, folder)
    for job in found.jobs.values():
        for _ in install(job):
            pass
    return found
