"""Regions looked at again and again, each by a thread of its own, so that one that hangs holds up nobody."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg

from accountdb.errors import AccountdbError, ConnectError
from accountdb.health.model import Reading, Silence
from accountdb.health.reading import beat, prepare, read
from accountdb.health.status import Status, judge
from accountdb.pg import dsn as dsn_of
from accountdb.pg.connect import Connection, connect, told

# Rates are over so many seconds: of two looks close together they would jump.
_RATE_S = 10.0
# A link that hangs is found out soon, and the connection made anew.
_FOUND_DEAD = {
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "2",
    "tcp_user_timeout": "6000",
}


@dataclass(frozen=True)
class Look:
    """All regions at one moment. ``ages`` are the seconds since each answered last, None: never.

    ``beat_errors`` say why a region got no beat.
    """

    status: Status
    ages: Mapping[str, float | None]
    beat_errors: Mapping[str, str] = field(default_factory=dict)


class _Eye(threading.Thread):
    """One region, over a connection that stays open and is made anew when it is lost."""

    def __init__(self, name: str, dsn: str, interval_s: float, *, beats: bool) -> None:
        super().__init__(name=f"watch {name}", daemon=True)
        self.region = name
        self._dsn, self._interval_s, self._beats = dsn, interval_s, beats
        self.stopped = threading.Event()
        self.looked = threading.Event()
        self.began = time.monotonic()
        self.answered: float | None = None
        self.answer: Reading | Silence | None = None
        self.readings: deque[Reading] = deque(maxlen=64)
        self.beat_error = ""

    def run(self) -> None:
        conn: Connection | None = None
        while not self.stopped.is_set():
            try:
                conn = conn or self._connect()
                self._look(conn)
            except (AccountdbError, psycopg.Error) as error:
                answer = error if isinstance(error, AccountdbError) else told(error, self._dsn)
                self.answer = Silence(self.region, answer)
                if conn is not None and (conn.closed or not isinstance(error, AccountdbError)):
                    conn.close()
                    conn = None
            self.looked.set()
            self.stopped.wait(self._interval_s)
        if conn is not None:
            conn.close()

    def _connect(self) -> Connection:
        params = dsn_of.parse(self._dsn, name=self.region)
        dsn = dsn_of.with_params(self._dsn, **{key: value for key, value in _FOUND_DEAD.items() if key not in params})
        conn = connect(dsn, name="", autocommit=True, timeout_s=2, application="accountdb watch")
        prepare(conn, 5.0)
        return conn

    def _look(self, conn: Connection) -> None:
        reading = read(self.region, conn)
        self.readings.append(reading)
        self.answer, self.answered = reading, time.monotonic()
        self.looked.set()
        # After the look: a beat that was made just before one is always still on its way.
        if self._beats:
            try:
                beat(conn, self._interval_s * 0.9)
                self.beat_error = ""
            except psycopg.Error as error:
                if conn.closed:
                    raise
                self.beat_error = told(error, self._dsn).message


class Watcher:
    """Looks at regions every ``interval_s`` seconds, and makes a beat in each, until it is stopped.

    ``look`` never waits for a region. Raises UsageError for a DSN that cannot be read.
    """

    def __init__(self, dsns: Mapping[str, str], interval_s: float = 2.0, *, beats: bool = True) -> None:
        for name, dsn in dsns.items():
            dsn_of.parse(dsn, name=name)
        self._interval_s = interval_s
        self._eyes = [_Eye(name, dsn, interval_s, beats=beats) for name, dsn in dsns.items()]

    def start(self, within_s: float = 1.3) -> None:
        """Begin; returns when every region has answered once, after ``within_s`` at the latest."""
        for eye in self._eyes:
            eye.start()
        deadline = time.monotonic() + within_s
        for eye in self._eyes:
            eye.looked.wait(max(deadline - time.monotonic(), 0))

    def stop(self) -> None:
        """End it; a region that hangs is left behind."""
        for eye in self._eyes:
            eye.stopped.set()

    def look(self) -> Look:
        """All regions as they were last seen; one that has not answered for a while is silent."""
        now = time.monotonic()
        readings = {eye.region: self._answer(eye, now) for eye in self._eyes}
        before = {eye.region: _earlier(eye) for eye in self._eyes}
        return Look(
            judge(readings, {name: one for name, one in before.items() if one is not None}),
            {eye.region: None if eye.answered is None else now - eye.answered for eye in self._eyes},
            {eye.region: eye.beat_error for eye in self._eyes if eye.beat_error},
        )

    def _answer(self, eye: _Eye, now: float) -> Reading | Silence:
        silent_s = now - (eye.answered if eye.answered is not None else eye.began)
        if isinstance(eye.answer, Silence):
            return eye.answer
        if eye.answer is None or silent_s > self._interval_s + 3.0:
            return Silence(eye.region, ConnectError(f"no answer for {silent_s:.0f} s (timeout)"))
        return eye.answer


def _earlier(eye: _Eye) -> Reading | None:
    """A look of some seconds ago, to which the last one is compared."""
    readings = list(eye.readings)
    if len(readings) < 2:
        return None
    newest = readings[-1]
    old = [one for one in readings[:-1] if (newest.clock - one.clock).total_seconds() >= _RATE_S]
    return old[-1] if old else readings[0]
