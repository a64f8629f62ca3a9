"""The demo's course: register, edit the same rows, cut, go on, heal, compare."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from accountdb.demo.load import Load, Writer
from accountdb.demo.watch import Picture, take
from accountdb.errors import AccountdbError
from accountdb.lab import Lab
from accountdb.pg.connect import connect
from accountdb.replication.model import State
from accountdb.setup import join

_HOT_USERS = 40
_LOOK_EVERY_S = 0.5
_EQUAL_WITHIN_S = 90.0
_PATIENCE_S = 4.0

Watcher = Callable[[Picture], None]


@dataclass(frozen=True)
class Verdict:
    """How the demo ended: the last look, and what the guards had to settle in each region.

    ``seconds_to_equal`` counts from the last write.
    """

    picture: Picture
    transactions: int
    conflicts: dict[str, int]
    seconds_to_equal: float

    @property
    def equal(self) -> bool:
        """Whether both regions hold the same rows and both streams run."""
        return self.picture.equal and self.picture.status.healthy


def play(lab: Lab, watch: Watcher, *, accounts: int = 1500, seconds: float = 6.0, per_second: float = 120.0) -> Verdict:
    """Play the whole demo on a ready lab; ``accounts`` in each region, ``seconds`` for each phase of writing."""
    writers = [Writer(region.name, region.app_dsn) for region in lab.regions]
    _register(lab, writers, accounts, watch)
    hot = _hot_users(lab, writers)
    for writer in writers:
        writer.hot = hot
    load = Load(writers, per_second)
    load.start()
    try:
        _look_for(lab, "both regions write, also the same rows", seconds, watch)
        lab.cut()
        _look_for(lab, "the link is cut, both go on writing", seconds, watch)
        lab.heal()
        _look_for(lab, "the link is healed, both go on writing", seconds / 2, watch)
    finally:
        load.stop()
    stopped = time.monotonic()
    picture = _until_equal(lab, watch)
    conflicts = {region.name: region.conflicts or 0 for region in picture.status.regions}
    written = sum(writer.transactions for writer in writers)
    return Verdict(picture, written, conflicts, time.monotonic() - stopped)


def _register(lab: Lab, writers: Sequence[Writer], accounts: int, watch: Watcher) -> None:
    errors: list[BaseException] = []

    def register(writer: Writer) -> None:
        try:
            writer.register(accounts)
        except BaseException as error:  # noqa: BLE001 - raised below, in the caller's thread
            errors.append(error)

    threads = [threading.Thread(target=register, args=(writer,), daemon=True) for writer in writers]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        watch(take(lab, f"registering {accounts} accounts in each region at once"))
        threads[0].join(_LOOK_EVERY_S)
    if errors:
        raise errors[0]


def _hot_users(lab: Lab, writers: Sequence[Writer]) -> list[UUID]:
    """Users of both regions that have arrived on both sides: the rows that both will edit."""
    wanted = [user for writer in writers for user in writer.users[: _HOT_USERS // len(writers)]]
    deadline = time.monotonic() + _EQUAL_WITHIN_S
    for region in lab.regions:
        with connect(region.admin_dsn, autocommit=True) as conn:
            while True:
                row = conn.execute("SELECT count(*) FROM public.users WHERE uuid = ANY (%s)", (wanted,)).fetchone()
                if row and row[0] == len(wanted):
                    break
                if time.monotonic() > deadline:
                    raise AccountdbError(
                        f"registered accounts did not arrive in {region.name}", hint="migratectl status"
                    )
                time.sleep(0.05)  # the poll's step
    return list(wanted)


def _look_for(lab: Lab, phase: str, seconds: float, watch: Watcher) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        watch(take(lab, phase))
        time.sleep(_LOOK_EVERY_S)  # the live table's interval


def _until_equal(lab: Lab, watch: Watcher) -> Picture:
    """Wait until both are equal and both streams run, or until it has taken too long."""
    began = time.monotonic()
    nudged = False
    while True:
        picture = take(lab, "writing has stopped, waiting until both are equal")
        watch(picture)
        if (picture.equal and picture.status.healthy) or time.monotonic() - began > _EQUAL_WITHIN_S:
            return picture
        if not nudged and time.monotonic() - began > _PATIENCE_S:
            nudged = True
            _nudge(lab, picture)
        time.sleep(_LOOK_EVERY_S)  # the live table's interval


def _nudge(lab: Lab, picture: Picture) -> None:
    """Have failed workers try again now, as an operator would after an outage: region resume."""
    for region in picture.status.regions:
        if any(stream.state is State.DOWN for stream in region.streams):
            join.resume(lab.region(region.name).admin_dsn)
