"""One region's PostgreSQL server: made, started, stopped, killed, held. Runs inside the keeper's loop."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from accountdb.errors import AccountdbError
from accountdb.lab import ports, process
from accountdb.lab.account import Account, give
from accountdb.lab.binaries import Installation
from accountdb.lab.model import ADMIN_ROLE, APP_ROLE, DATABASE, HOST, REGIONS, Mode, Region, ServerState
from accountdb.lab.settings import (
    HBA,
    LOG_FOLDER,
    LOG_NAME,
    as_conf,
    failure_reason,
    initdb_command,
    is_port_collision,
    settings,
)

INITDB_TIMEOUT_S = 120
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 5
PORT_TRIES = 3
_POLL_S = 0.02


@dataclass(frozen=True)
class ServerSpec:
    """What a server is made of."""

    region: Region
    mode: Mode
    found: Installation
    account: Account
    root: Path
    """The folder that holds the data folders of the lab."""
    admin_password: str = field(repr=False)
    app_password: str = field(repr=False)
    extra: Mapping[str, str] = field(default_factory=dict)
    regions: int = len(REGIONS)
    """How many regions the lab has."""

    @property
    def data_dir(self) -> Path:
        """The cluster's data folder."""
        return self.root / self.region


class Server:
    """One cluster and the postmaster that serves it."""

    def __init__(self, spec: ServerSpec, reserve: Callable[[], socket.socket] = ports.reserve) -> None:
        """``reserve`` finds ports; the first one is taken when the server is first started."""
        self.spec = spec
        self.state: ServerState = "stopped"
        self.environment: Mapping[str, str] = {}
        """What the server itself gets beside its usual environment, from its next start on."""
        self._reserve = reserve
        self._held: socket.socket | None = None
        self._child: process.Child | None = None
        self._refusal = ""
        # What the programs say before the server's own log is open.
        self._output = spec.root / f"{spec.region}.out"
        self._log = spec.data_dir / LOG_FOLDER / LOG_NAME

    @property
    def port(self) -> int:
        """The port it listens on; 0 before the first start."""
        return int(self._held.getsockname()[1]) if self._held else 0

    @property
    def pid(self) -> int | None:
        """The postmaster's process, None when there is none."""
        return self._child.pid if self._child and self._child.running else None

    def _spawn(self, argv: list[str], death_signal: signal.Signals) -> process.Child:
        known = ("PATH", "TZ", "LD_LIBRARY_PATH")
        env = {name: os.environ[name] for name in known if name in os.environ}
        return process.Child(
            argv,
            account=self.spec.account,
            death_signal=death_signal,
            folder=self.spec.root,
            output=self._output,
            env={**env, "LC_ALL": "C", "HOME": str(self.spec.root), **self.environment},
        )

    def _said(self, since: int = 0) -> str:
        """What the programs and the server's log (from byte ``since``) say."""
        texts = [self._output.read_bytes()]
        if self._log.exists():
            texts.append(self._log.read_bytes()[since:])
        return b"\n".join(texts).decode(errors="replace")

    async def create(self) -> None:
        """Make the cluster: initdb, settings, who may connect."""
        spec = self.spec
        password_file = spec.root / f"{spec.region}.pw"
        password_file.write_text(spec.admin_password + "\n", encoding="ascii")
        give(password_file, spec.account)
        command = initdb_command(spec.found.bin_dir, spec.found.major, spec.data_dir, password_file)
        # SIGKILL, so that it does not go on; the server that it has started ends at end of input.
        self._child = self._spawn(command, signal.SIGKILL)
        code = await self._child.wait(INITDB_TIMEOUT_S)
        if code != 0:
            reason = f"not done in {INITDB_TIMEOUT_S} s" if code is None else failure_reason(self._said())
            raise AccountdbError(f"lab region {spec.region}: initdb failed: {reason}")
        password_file.unlink()
        self._write("pg_hba.conf", HBA, os.O_TRUNC)

    def _write(self, name: str, text: str, how: int) -> None:
        """Write a file that initdb has made. Never through a symbolic link: the writer may be root."""
        descriptor = os.open(self.spec.data_dir / name, os.O_WRONLY | os.O_NOFOLLOW | how)
        with os.fdopen(descriptor, "w", encoding="utf-8") as sink:
            sink.write(text)

    async def first_start(self) -> None:
        """Find a port, start, and make the ordinary role and its database.

        Raises AccountdbError with the server's own reason. A port that another process was quicker
        to take is given up for a new one.
        """
        for attempt in range(1, PORT_TRIES + 1):
            self._held = self._reserve()
            wanted = settings(self.spec.mode, self.port, self.spec.extra, self.spec.regions)
            self._write("postgresql.conf", as_conf(wanted), os.O_APPEND)
            try:
                await self.start()
                break
            except PortTakenError:
                self._held.close()
                if attempt == PORT_TRIES:
                    raise
        await self._provision()

    async def start(self) -> None:
        """Start the server on its port and wait until it lets clients in. Nothing to do when it runs."""
        if self.state in ("running", "paused"):
            return
        # After a crash processes of the old server may still be there; the new one would refuse to start.
        await self.kill()
        self._output.write_bytes(b"")
        since = self._log.stat().st_size if self._log.exists() else 0
        command = [str(self.spec.found.bin_dir / "postgres"), "-D", str(self.spec.data_dir)]
        # SIGQUIT is PostgreSQL's immediate shutdown: it stops at once and still frees shared memory.
        child = self._child = self._spawn(command, signal.SIGQUIT)
        try:
            await self._answer(child, since)
        except AccountdbError:
            await self.kill()
            raise
        self.state = "running"
        child.ended.add_done_callback(self._note_end)

    def _note_end(self, ended: asyncio.Future[int]) -> None:
        if self.state in ("running", "paused"):
            self.state = "stopped" if ended.result() == 0 else "crashed"

    async def _answer(self, child: process.Child, since: int) -> None:
        """Return when the server lets clients in. Raises AccountdbError when it ends or takes too long."""
        polling = asyncio.get_running_loop().create_task(self._poll())
        try:
            # Both at once: what answers on the port, or does not, may be another process.
            waited_for: set[asyncio.Future[Any]] = {polling, child.ended}
            await asyncio.wait(waited_for, timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            polling.cancel()
        where = f"lab region {self.spec.region}"
        if not child.running:
            await self._log_written()
            said = self._said(since)
            kind = PortTakenError if is_port_collision(said) else AccountdbError
            raise kind(f"{where}: the server did not start: {failure_reason(said)}")
        if not polling.done():
            reason = " ".join(self._refusal.split())
            raise AccountdbError(f"{where}: the server does not answer after {START_TIMEOUT_S} s: {reason}")
        polling.result()

    async def _log_written(self) -> None:
        """Wait for the process that writes the log: it outlives the postmaster by a moment."""
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while process.server_processes(self.spec.data_dir) and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_S)

    async def _poll(self) -> None:
        """Try to connect until this very server lets us in."""
        while True:
            try:
                async with await self._connect("postgres") as conn:
                    cursor = await conn.execute("SELECT current_setting('data_directory')")
                    if await cursor.fetchone() == (str(self.spec.data_dir),):
                        return
                self._refusal = "another server answers on its port"
            except psycopg.OperationalError as error:
                self._refusal = str(error)
            await asyncio.sleep(_POLL_S)

    async def _connect(self, database: str) -> psycopg.AsyncConnection[tuple[object, ...]]:
        return await psycopg.AsyncConnection.connect(
            host=HOST,
            port=self.port,
            user=ADMIN_ROLE,
            password=self.spec.admin_password,
            dbname=database,
            connect_timeout=5,
            autocommit=True,
            application_name="accountdb lab",
        )

    async def _provision(self) -> None:
        """The ordinary role and the empty database that it owns."""
        async with await self._connect("postgres") as conn:
            # Encrypted here: the statement may be logged, the password is not in it.
            secret = conn.pgconn.encrypt_password(
                self.spec.app_password.encode(), APP_ROLE.encode(), b"scram-sha-256"
            ).decode()
            role, database = sql.Identifier(APP_ROLE), sql.Identifier(DATABASE)
            await conn.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(secret)))
            await conn.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))

    async def stop(self) -> None:
        """Stop the server in good order; its clients are sent away. One that hangs is killed."""
        child = self._child
        if child is None or not child.running:
            self.state = "stopped"
            return
        self.resume()
        self.state = "stopped"
        for number in (signal.SIGINT, signal.SIGQUIT):
            child.send(number)
            if await child.wait(STOP_TIMEOUT_S) is not None:
                return
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL the postmaster and all its processes, as a crash of the machine would; clean up after it.

        The data stays as it is: the next start recovers from the write-ahead log.
        """
        child = self._child
        if child is None:
            return
        if child.running:
            self.state = "crashed"
        # Held first, so that no new process escapes between looking and killing.
        child.send(signal.SIGSTOP)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while child.running or process.server_processes(self.spec.data_dir):
            process.signal_all(process.server_processes(self.spec.data_dir), signal.SIGKILL)
            child.send(signal.SIGKILL)
            if time.monotonic() > deadline:
                raise AccountdbError(f"lab region {self.spec.region}: SIGKILL does not end process {child.pid}")
            await asyncio.sleep(_POLL_S)
        process.remove_shared_memory(self.spec.data_dir)
        # Nothing runs here any more; a later process with the old number must not stop a start.
        (self.spec.data_dir / "postmaster.pid").unlink(missing_ok=True)

    async def pause(self) -> None:
        """Hold the postmaster and all its processes with SIGSTOP: connections stay open, nothing answers."""
        child = self._child
        if child is None or self.state not in ("running", "paused"):
            raise AccountdbError(f"lab region {self.spec.region}: the server is {self.state}, it cannot be paused")
        self.state = "paused"
        deadline = time.monotonic() + STOP_TIMEOUT_S
        # The postmaster first: then no new process can come.
        child.send(signal.SIGSTOP)
        while not all(map(process.stopped, pids := self._pausable())):
            process.signal_all(pids, signal.SIGSTOP)
            if time.monotonic() > deadline:
                raise AccountdbError(f"lab region {self.spec.region}: SIGSTOP does not hold the server")
            await asyncio.sleep(_POLL_S)

    def _pausable(self) -> list[int]:
        """All processes but the logger: should the keeper be killed, the kernel wakes the postmaster,
        which ends all others, but leaves the logger to end by itself, and that it could not."""
        return [pid for pid in process.server_processes(self.spec.data_dir) if not process.writes_log(pid)]

    def resume(self) -> None:
        """Let a paused server go on. Nothing to do when it is not paused."""
        if self.state == "paused" and self._child is not None:
            process.signal_all(process.server_processes(self.spec.data_dir), signal.SIGCONT)
            self._child.send(signal.SIGCONT)
            self.state = "running"

    async def destroy(self) -> None:
        """End whatever runs, at whatever stage it is. The data folder is the caller's to remove."""
        if self.state in ("running", "paused"):
            await self.stop()
        elif self._child is not None and self._child.running:
            # initdb, or a server that is still starting.
            self._child.send(signal.SIGKILL)
            await self._child.wait(STOP_TIMEOUT_S)
        process.end_servers(self.spec.data_dir, patience_s=1)
        process.remove_shared_memory(self.spec.data_dir)
        if self._held is not None:
            self._held.close()
        shutil.rmtree(self.spec.data_dir, ignore_errors=True)


class PortTakenError(AccountdbError):
    """Another process listens on the port that was chosen."""
