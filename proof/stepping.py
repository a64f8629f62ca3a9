"""A command that dies, or loses a server, at one step, in a process of its own; see ``proof.striking``.

A step is a talk with a server: a connection made, a statement, a transaction begun or ended, a piece of
a COPY; or half a line written to the undo file.
"""

from __future__ import annotations

import faulthandler
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from typing import Any

import psycopg

import accountdb.cli.diff
import accountdb.cli.merge  # noqa: F401 - imported before the process is forked
from accountdb.cli.migratectl import main as migratectl
from accountdb.cli.pgsync import main as pgsync
from accountdb.compare import parts
from accountdb.merge import load, undo
from accountdb.merge import run as merging
from accountdb.pg import session as sessions
from accountdb.sync import mirroring, target, watermark
from accountdb.sync import run as running
from accountdb.sync.model import SyncTable
from accountdb.transfer import copying

_WAIT_R = 1
# Of the rows of a COPY that is read, only every so many are steps: between them nothing is different.
_READS = 40

Talk = Generator[Any, Any, Any]


@dataclass(frozen=True)
class Orders:
    """What a process is to do: run a command, and ``fault`` at step ``at`` (0: at none) of those with ``text`` in them.

    ``program``: migratectl or pgsync. ``fault``: kill (die), lost (the answer is lost, with its connection) or
    ask (tell the parent, and wait). ``broken``: the command's own transactions do not hold, so that a fault must
    show. ``ports``: whose they are. ``hasty``: servers find out in seconds that nobody is there any more.
    """

    program: str
    words: tuple[str, ...]
    fault: str
    at: int
    text: str
    broken: bool
    ports: Mapping[int, str]
    hasty: bool = False


@dataclass
class Steps:
    """Counts the steps, and at one of them does what was ordered."""

    orders: Orders
    parent: Pipe
    labels: list[str] = field(default_factory=list)
    _seen: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _reads: dict[int, int] = field(default_factory=dict)

    def step(self, label: str) -> bool:
        """One step. Whether its answer is to be lost. May not return."""
        with self._lock:
            self.labels.append(label)
            self._seen += self.orders.text in label
            if self._seen != self.orders.at or self.orders.text not in label:
                return False
            self.parent.send(label)
            if self.orders.fault == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.orders.fault == "ask":
                # Others that come to their next step wait too.
                self.parent.recv()
            return self.orders.fault == "lost"

    def talk(self, conn: psycopg.Connection[Any], generator: Talk) -> Talk:
        """A talk with a server, with the fault in it where it is its turn."""
        name = getattr(generator, "__name__", "")
        if name == "_read_gen":
            self._reads[id(conn)] = count = self._reads.get(id(conn), -1) + 1
            if count % _READS:
                return generator
        where = self.orders.ports.get(conn.info.port, "?") if not conn.closed else "closed"
        if self.step(f"{where}: {_label(name, generator)}"):
            return _lost(generator, conn.fileno())
        return generator


def _label(name: str, generator: Talk) -> str:
    """What a talk is about, for people."""
    frame = getattr(generator, "gi_frame", None)
    known = frame.f_locals if frame else {}
    query = known.get("query") or known.get("command") or known.get("statement")
    if name == "_exit_gen":
        query = "ROLLBACK" if known.get("exc_val") else "COMMIT"
    text = query.as_string() if isinstance(query, psycopg.sql.Composable) else query
    lines = (text.decode() if isinstance(text, bytes) else str(text or name.strip("_"))).splitlines()
    return " ".join(" ".join(line for line in lines if not line.startswith("--")).split())[:70]


def _lost(generator: Talk, descriptor: int) -> Talk:
    """All is said, the server has done it and answered, and the answer is lost with the connection."""
    try:
        wanted = next(generator)
        while True:
            if wanted == _WAIT_R:
                select.select([descriptor], [], [], 30)
                with socket.socket(fileno=os.dup(descriptor)) as connection:
                    connection.recv(1 << 20, socket.MSG_DONTWAIT)
                    connection.shutdown(socket.SHUT_RDWR)
            wanted = generator.send((yield wanted))
    except StopIteration as end:
        return end.value


def _watch(steps: Steps) -> None:
    """Count from here on."""
    wait, connect = psycopg.Connection.wait, psycopg.connect

    def counted_wait(conn: psycopg.Connection[Any], generator: Talk, *rest: Any, **more: Any) -> Any:
        return wait(conn, steps.talk(conn, generator), *rest, **more)

    def counted_connect(*words: Any, **more: Any) -> Any:
        steps.step(f"{steps.orders.ports.get(int(more['port']), '?')}: connect")
        return connect(*words, **more)

    def half_by_half(descriptor: int, text: str) -> None:
        data = text.encode() + b"\n"
        for half in (data[: len(data) // 2], data[len(data) // 2 :]):
            steps.step("undo file: half a line")
            os.write(descriptor, half)
        os.fsync(descriptor)

    psycopg.Connection.wait = counted_wait  # type: ignore[method-assign, assignment]
    psycopg.connect = counted_connect
    undo._write_line = half_by_half


def _break_merge() -> None:
    """Have a merge that loads a whole table commit before its indexes are made."""
    send = load.Source.send

    def commit(source: load.Source, conn: psycopg.Connection[Any], into: psycopg.sql.Identifier, *rest: Any) -> None:
        send(source, conn, into, *rest)
        if into == source.table.identifier:
            _commit(conn)

    load.Source.send = commit  # type: ignore[method-assign, assignment]


def _break_pass() -> None:
    """Have a pass commit when it has loaded some of the tied tables, and after each watermark."""
    fill = target.Target.fill

    def filled(one: target.Target, table: SyncTable, *rest: Any, **more: Any) -> int:
        rows = fill(one, table, *rest, **more)
        if table.name[1] == "identities":
            _commit(one.conn)
        return rows

    def moved(conn: psycopg.Connection[Any], *rest: Any) -> None:
        watermark.move(conn, *rest)
        _commit(conn)

    target.Target.fill = filled  # type: ignore[method-assign, assignment]
    vars(running)["move"] = moved


def _commit(conn: psycopg.Connection[Any]) -> None:
    conn.execute("COMMIT")
    conn.execute("BEGIN")


def _make_small() -> None:
    """Have a few hundred rows go the ways of a few million."""
    merging.FILL_FROM = 10
    parts._SMALL_BLOCKS = 0
    parts._ROWS_A_PART = 20


def _make_small_passes() -> None:
    """The same for a pass: indexes afterwards, and a COPY of several pieces."""
    vars(mirroring)["FILL_FROM"] = 10
    copying._CHUNK_BYTES = 4096


def _hasten() -> None:
    """Have servers find out in seconds what takes them a minute otherwise: that this process is gone without a word."""
    keep_alive = sessions.keep_alive

    def hasty(conn: psycopg.Connection[Any]) -> None:
        keep_alive(conn)
        conn.execute(
            "SELECT set_config(name, v::text, false) FROM pg_settings JOIN (VALUES ('tcp_keepalives_idle', 1),"
            " ('tcp_keepalives_interval', 1), ('tcp_user_timeout', 3000)) AS s (n, v) ON name = n"
        )

    sessions.keep_alive = hasty


def run(orders: Orders, out: str, err: str, parent: Pipe) -> None:
    """The process: run the command and end as it does. The steps go to the parent at the end."""
    for name, stream in ((out, 1), (err, 2)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), stream)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(stream), "w", encoding="utf-8") for stream in (1, 2))
    # Where a process hangs, this says in which lines.
    faulthandler.register(signal.SIGUSR1, file=2)
    steps = Steps(orders, parent)
    _watch(steps)
    _make_small()
    if orders.program == "pgsync":
        _make_small_passes()
    if orders.hasty:
        _hasten()
    if orders.broken:
        _break_merge()
        _break_pass()
    sys.argv = [orders.program, *orders.words]
    try:
        (pgsync if orders.program == "pgsync" else migratectl)()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        parent.send(steps.labels)
