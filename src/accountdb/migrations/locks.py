"""Waiting for locks: trying again with jitter, and saying who holds them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import psycopg

from accountdb.errors import AccountdbError, ConnectError
from accountdb.migrations.steps import LockedError, Patience
from accountdb.pg import session
from accountdb.pg.connect import Connection, connect
from accountdb.sql import block

# Arbitrary and fixed: every accountdb that migrates this database takes the same lock.
LOCK_KEY = 0x6163_6374_0001
BUSY = "another migration runs on this database"

_LOOK_EVERY_S = 0.2
T = TypeVar("T")


def patiently(act: Callable[[], T], patience: Patience, watched: Mapping[str, tuple[str, int]]) -> T:
    """``act()``, tried again while it meets a lock, with a random pause so that others get through.

    ``watched``: by how messages call a region, its DSN and the process of the session that acts there.
    Raises the last LockedError with those who hold the lock, once ``patience`` is over.
    """
    deadline = time.monotonic() + patience.wait_s
    with _watching(watched) as seen:
        while True:
            try:
                return act()
            except LockedError as error:
                if time.monotonic() > deadline:
                    raise _blamed(error, seen, patience) from error
                time.sleep(random.uniform(0.1, 0.5))


def _blamed(error: LockedError, seen: Mapping[str, str], patience: Patience) -> AccountdbError:
    holders = "; ".join(seen.values())
    return LockedError(
        f"{error.message}, tried for {patience.wait_s:g} s" + (f"; it is held by {holders}" if holders else ""),
        hint="let that session end, or end it: SELECT pg_terminate_backend(PID); then the same command again."
        " Nothing was changed"
        if holders
        else "try again when less is going on, or with a longer --lock-wait; nothing was changed",
    )


@contextmanager
def _watching(watched: Mapping[str, tuple[str, int]]) -> Iterator[dict[str, str]]:
    """Note, from sessions of its own, who keeps the watched ones waiting: by region, the last that was seen."""
    seen: dict[str, str] = {}
    over = threading.Event()
    watchers = [
        threading.Thread(target=_watch, args=(name, dsn, pid, seen, over), daemon=True)
        for name, (dsn, pid) in watched.items()
    ]
    for watcher in watchers:
        watcher.start()
    try:
        yield seen
    finally:
        over.set()
        for watcher in watchers:
            watcher.join(_LOOK_EVERY_S * 5)


def _watch(name: str, dsn: str, pid: int, seen: dict[str, str], over: threading.Event) -> None:
    # Most files wait for nobody: the session is opened only for one that does.
    if over.wait(1.0):
        return
    try:
        with connect(dsn, name=name, autocommit=True) as conn:
            while not over.wait(_LOOK_EVERY_S):
                found = [_holder(*row) for row in conn.execute(block("migrations.sql", "blockers"), {"pid": pid})]
                if found:
                    seen[name] = (f"{name}: " if name else "") + ", ".join(found)
    except (psycopg.Error, ConnectError):
        return  # it only helps the message


def _holder(pid: int, user: str | None, program: str | None, state: str | None, seconds: float | None) -> str:
    since = f" for {seconds:.0f} s" if seconds is not None else ""
    return f"process {pid} ({user or 'unknown'}, {program or 'no name'}, {state or 'unknown'}{since})"


@contextmanager
def all_locked(conns: Mapping[str, Connection], *, wait_s: float = 30.0) -> Iterator[None]:
    """Hold the migration lock in every region: all or none, so that two runs never wait for each other in a ring.

    Raises AccountdbError, which names the region, when one stays taken.
    """
    deadline = time.monotonic() + wait_s
    while True:
        taken: list[Connection] = []
        busy = next((name for name, conn in conns.items() if not _taken(conn, taken)), None)
        if busy is None:
            break
        for conn in taken:
            session.unlock(conn, LOCK_KEY)
        if time.monotonic() > deadline:
            raise AccountdbError(
                f"{busy}: {BUSY}" if busy else BUSY, hint="wait for the other run to end, then try again"
            )
        time.sleep(random.uniform(0.05, 0.3))
    try:
        yield
    finally:
        for conn in conns.values():
            session.unlock(conn, LOCK_KEY)


def _taken(conn: Connection, taken: list[Connection]) -> bool:
    if not session.try_lock(conn, LOCK_KEY):
        return False
    taken.append(conn)
    return True
