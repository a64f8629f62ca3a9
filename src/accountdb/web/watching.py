"""What is known of the regions now: read in the background, so that nobody who asks waits for a dead one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import psycopg

from accountdb.conflicts import listing, reading
from accountdb.conflicts.listing import Task
from accountdb.conflicts.regions import opened
from accountdb.errors import AccountdbError
from accountdb.health.advice import Finding
from accountdb.health.asking import ask
from accountdb.health.history import LagHistory, read_history
from accountdb.health.model import Reading, Silence
from accountdb.health.reading import beat, prepare
from accountdb.health.status import Status, judge
from accountdb.pg.connect import connect, told
from accountdb.pg.dsn import patient
from accountdb.render import output

RECENT = 8
# How long a region may take: nobody waits for it, but the reading is as old as its slowest answer.
_WITHIN_S = 4.0
_HISTORY_EVERY_S = 15.0
# Of one reading to the next, rates are taken over at least so long.
_RATE_OVER_S = 4.0
_REACH_S = 2
_FIRST_S = 0.1
_STATEMENT_S = 5


@dataclass(frozen=True)
class Known:
    """The last reading. ``taken`` is of the monotonic clock; ``seconds`` is how long the reading took.

    ``waiting`` is how many conflicts wait for a person, None where this role may not know; ``recent`` are the last
    ones, None where it may not see them. ``unbeaten`` are the regions in which no beat could be written, and why.
    """

    status: Status
    taken_at: datetime
    taken: float
    seconds: float
    lags: tuple[LagHistory, ...] = ()
    recent: tuple[Task, ...] | None = None
    waiting: int | None = None
    unbeaten: Mapping[str, str] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return self.status.healthy

    @property
    def silent(self) -> dict[str, str]:
        """The regions that did not answer, and why."""
        return {region.name: region.error for region in self.status.regions if region.error}

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What was found, of all regions."""
        return tuple(problem for region in self.status.regions for problem in region.problems)

    @property
    def age(self) -> float:
        """How many seconds ago the reading ended."""
        return time.monotonic() - self.taken


class Watch:
    """Reads the regions every ``interval_s``, in threads that end with the program. ``latest`` never waits."""

    def __init__(self, dsns: Mapping[str, str], interval_s: float, *, beats: bool, conflicts: bool) -> None:
        """``beats``: write one in each region every interval; ``conflicts``: read the last ones, and the lags."""
        self._dsns, self.interval_s, self._beats, self._conflicts = dict(dsns), interval_s, beats, conflicts
        self._lock = threading.Lock()
        self._woken = threading.Condition()
        self._asked = 0
        self._known: Known | None = None
        self._before: tuple[float, Mapping[str, Reading | Silence]] | None = None
        self._lags: tuple[LagHistory, ...] = ()
        self._recent: tuple[Task, ...] | None = None
        self._waiting: int | None = None
        self._unbeaten: dict[str, str] = {}
        self._history_at = -_HISTORY_EVERY_S

    @property
    def latest(self) -> Known | None:
        """The last reading, None before the first."""
        with self._lock:
            if self._known is None:
                return None
            return replace(
                self._known,
                lags=self._lags,
                recent=self._recent,
                waiting=self._waiting if self._waiting is not None else _counted(self._known.status),
                unbeaten=dict(self._unbeaten),
            )

    def start(self) -> None:
        """Begin to read."""
        loops: list[Callable[[], None]] = [self.read]
        if self._beats:
            loops += [lambda name=name: self._beat(name) for name in self._dsns]  # type: ignore[misc]
        if self._conflicts:
            loops.append(self._read_more)
        for loop in loops:
            threading.Thread(target=self._again_and_again, args=(loop,), daemon=True).start()

    def hasten(self) -> None:
        """Read again now."""
        with self._woken:
            self._asked += 1
            self._woken.notify_all()

    def once(self) -> None:
        """One beat in each region, then one reading."""
        beating = [threading.Thread(target=self._beat, args=(name,), daemon=True) for name in self._dsns]
        for thread in beating if self._beats else ():
            thread.start()
        deadline = time.monotonic() + _WITHIN_S
        for thread in beating if self._beats else ():
            thread.join(max(deadline - time.monotonic(), 0))
        self.read()

    def _again_and_again(self, work: Callable[[], None]) -> None:
        while True:
            began, asked = time.monotonic(), self._asked
            try:
                work()
            except Exception as error:  # noqa: BLE001 - a loop that ends would leave an old reading, for ever
                output.tell(f"error: reading the regions: {type(error).__name__}", style="red")
            with self._woken:
                left = max(began + self.interval_s - time.monotonic(), 0.1)
                self._woken.wait_for(lambda asked=asked: self._asked != asked, left)  # type: ignore[misc]

    def read(self) -> None:
        """One reading of all regions."""
        began = time.monotonic()
        answers = ask(self._dsns, _WITHIN_S)
        ended = time.monotonic()
        before = self._before[1] if self._before else None
        status = judge(answers, before)
        if self._before is None or ended - self._before[0] >= _RATE_OVER_S:
            self._before = (ended, answers)
        with self._lock:
            self._known = Known(status, datetime.now(UTC), ended, ended - began)

    def _beat(self, name: str) -> None:
        dsn = self._dsns[name]
        reason: str | None = None
        try:
            with connect(dsn, name="", autocommit=True, timeout_s=_REACH_S, application="accountdb heartbeat") as conn:
                prepare(conn, _STATEMENT_S)
                beat(conn, min(5.0, self.interval_s * 0.8))
        except AccountdbError as error:
            reason = error.message
        except psycopg.Error as error:
            reason = told(error, dsn).message
        with self._lock:
            self._unbeaten.pop(name, None)
            if reason is not None:
                self._unbeaten[name] = reason

    def _read_more(self) -> None:
        known = self.latest
        while known is None:
            time.sleep(_FIRST_S)  # until the first reading, which comes by itself
            known = self.latest
        answering = {name: dsn for name, dsn in self._dsns.items() if name not in known.silent}
        if time.monotonic() - self._history_at >= _HISTORY_EVERY_S:
            self._history_at = time.monotonic()
            lags = read_history(answering, known.status, within_s=_WITHIN_S)
            with self._lock:
                self._lags = lags
        recent, waiting = _conflicts(answering) if answering else (None, None)
        with self._lock:
            self._recent, self._waiting = recent, waiting


def _conflicts(dsns: Mapping[str, str]) -> tuple[tuple[Task, ...] | None, int | None]:
    """The last conflicts, and how many wait; nothing where this role may not see them."""
    limited = {name: patient(dsn, connect_s=_REACH_S, statement_s=_STATEMENT_S) for name, dsn in dsns.items()}
    try:
        with opened(limited) as regions:
            found = reading.newest(regions, RECENT)
            names = listing.names_for(regions, found)
            tasks = tuple(listing.task(regions, conflict, names) for conflict in found)
            return tasks, len(reading.open_heads(regions))
    except (AccountdbError, psycopg.Error):
        return None, None


def _counted(status: Status) -> int | None:
    """At least so many wait: the regions count for themselves, and most conflicts stand in both."""
    return max((r.conflicts_open for r in status.regions if r.conflicts_open is not None), default=None)
