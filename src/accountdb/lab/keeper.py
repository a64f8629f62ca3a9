"""The keeper: the process that a lab lives in.

It is the parent of both servers, runs the link between them and answers commands, all on one
thread. A lab lives exactly as long as its keeper, and a keeper gives up

- when the process that started it ends, closes the pipe or fails before it says "keep";
- when the process that the lab is bound to (``owner_pid``) ends;
- on ``down``, SIGTERM or SIGINT, or when its folder was taken away.

Giving up means: servers stopped, shared memory freed, folders removed. A keeper that is killed
itself cannot do that; the kernel then stops its servers, and the next ``up`` or ``down`` cleans.

Started by ``lab.up`` with a request as one JSON line on stdin; answers with JSON lines on stdout.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accountdb.errors import AccountdbError, UsageError
from accountdb.lab import account, binaries, control, leftovers, process, state
from accountdb.lab.link import Link
from accountdb.lab.model import LabState, Mode, Region, RegionState, mode_of, names_of, region_of, touches
from accountdb.lab.server import Server, ServerSpec
from accountdb.lab.settings import checked

_FOLDER_CHECK_S = 2.0
_WORDS = {2: "two", 3: "three", 4: "four", 5: "five"}
_MAX_REQUEST = 1 << 20


@dataclass(frozen=True)
class Request:
    """What ``lab.up`` asks for."""

    folder: Path
    mode: Mode
    caller_pid: int
    owner_pid: int | None
    bin_dir: Path | None
    settings: Mapping[str, str]
    regions: tuple[Region, ...]

    @classmethod
    def from_json(cls, line: str) -> Request:
        """The request in ``line``. Raises UsageError."""
        try:
            given = json.loads(line)
            return cls(
                folder=Path(given["folder"]),
                mode=mode_of(given["mode"]),
                caller_pid=int(given["caller_pid"]),
                owner_pid=given["owner_pid"],
                bin_dir=Path(given["bin_dir"]) if given["bin_dir"] else None,
                settings=checked(given["settings"]),
                regions=names_of(given["regions"]),
            )
        except (ValueError, KeyError, TypeError):
            raise UsageError("the keeper is started by 'migratectl lab up', not by hand") from None


class Keeper:
    """One lab, from nothing to nothing."""

    def __init__(self, request: Request) -> None:
        """Nothing happens before ``run``."""
        self._request = request
        self._given_up = asyncio.Event()
        self._reason = ""
        self._keep = asyncio.Event()
        self._said = b""
        self._lock: state.DirLock | None = None
        self._record: LabState | None = None
        self._servers: dict[Region, Server] = {}
        # By the region that is reached, and the one that it is reached from.
        self._links: dict[tuple[Region, Region], Link] = {}
        self._busy = {region: asyncio.Lock() for region in request.regions}
        self._control: asyncio.Server | None = None

    async def run(self) -> int:
        """Live until there is a reason to end; then remove everything. The exit status."""
        self._watch()
        life = asyncio.create_task(self._live())
        end = asyncio.create_task(self._given_up.wait())
        await asyncio.wait({life, end}, return_when=asyncio.FIRST_COMPLETED)
        life.cancel()
        outcome = (await asyncio.gather(life, return_exceptions=True))[0]
        # Told only after everything is removed: the caller then finds nothing of this lab.
        await self._tear_down()
        if isinstance(outcome, AccountdbError):
            tell("failed", error=control.error_document(outcome))
            return outcome.exit_status
        if isinstance(outcome, asyncio.CancelledError):
            tell("failed", error=control.error_document(AccountdbError(f"the lab was ended: {self._reason}")))
        elif isinstance(outcome, BaseException):
            traceback.print_exception(outcome)
            tell("failed", error=control.error_document(AccountdbError(f"the lab's keeper broke: {outcome!r}")))
            return 3
        return 0

    def _watch(self) -> None:
        """Notice every reason to give up."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._give_up, f"the keeper got {number.name}")
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        loop.add_reader(sys.stdin.fileno(), self._hear)
        self._watch_process(self._request.caller_pid, until_kept=True)
        if self._request.owner_pid is not None:
            self._watch_process(self._request.owner_pid, until_kept=False)

    def _give_up(self, reason: str) -> None:
        self._reason = self._reason or reason
        self._given_up.set()

    def _watch_process(self, pid: int, *, until_kept: bool) -> None:
        reason = f"process {pid}, which it depends on, is gone"
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            self._give_up(reason)
            return

        def ended() -> None:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)
            if not (until_kept and self._keep.is_set()):
                self._give_up(reason)

        asyncio.get_running_loop().add_reader(descriptor, ended)

    def _hear(self) -> None:
        """The caller says "keep" when its own work is done; end of file means that it is gone."""
        heard = os.read(sys.stdin.fileno(), 4096)
        self._said += heard
        if b"keep\n" in self._said:
            self._keep.set()
        elif not heard:
            self._give_up("whoever started it hung up")
        else:
            return
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())

    async def _live(self) -> None:
        await self._bring_up()
        tell("ready")
        await self._keep.wait()
        self._write(replace(self._get_record(), phase="kept"))
        self._let_go_of_caller()
        asyncio.get_running_loop().call_later(_FOLDER_CHECK_S, self._check_folder)
        await asyncio.Event().wait()

    def _let_go_of_caller(self) -> None:
        """Say that the lab is kept and close the pipes. Python's own complaints go to a file of the lab."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        log = os.open(self._request.folder / state.KEEPER_LOG, flags, 0o600)
        nothing = os.open(os.devnull, os.O_RDWR)
        # The last word only when nothing is written to the folder any more: the caller may remove it.
        tell("kept")
        for source, target in ((nothing, 0), (nothing, 1), (log, 2)):
            os.dup2(source, target)
        os.close(nothing)
        os.close(log)

    def _check_folder(self) -> None:
        """A lab whose record was taken away can no longer be found, so nobody could end it."""
        if (self._request.folder / state.RECORD).exists():
            asyncio.get_running_loop().call_later(_FOLDER_CHECK_S, self._check_folder)
        else:
            self._give_up("its folder was taken away")

    async def _bring_up(self) -> None:
        request = self._request
        who = account.choose()
        found = binaries.find(request.mode, request.bin_dir)
        lock = state.DirLock.take(request.folder, create=True)
        os.umask(0o077)
        # A dead keeper's record says whether that one had made the folder.
        before = state.read(request.folder)
        leftovers.clean(lock)
        created = lock.created or (before is not None and before.created_dir)
        self._lock = lock
        root = _place_for_data(request.folder, who)
        me = process.identify(os.getpid())
        assert me is not None
        # Recorded before it is made, so that whoever cleans up after us knows of it.
        self._write(LabState("starting", request.mode, me, created, str(root), str(found.bin_dir), found.version))
        root.mkdir(mode=0o700)
        account.give(root, who)
        if not binaries.runnable(found, who):
            tell("progress", text=f"copying PostgreSQL {found.version} to where {who.name} can run it")
            found = binaries.copied(found, root / "pginstall")
            if not binaries.runnable(found, who):
                raise AccountdbError(f"the account {who.name!r} cannot run PostgreSQL {found.version} in {root}")
        count = _WORDS[len(request.regions)]
        tell("progress", text=f"{count} servers, PostgreSQL {found.version}, in {root}")
        await self._start_servers(found, who, root)
        await self._open(found)

    async def _start_servers(self, found: binaries.Installation, who: account.Account, root: Path) -> None:
        request = self._request
        for region in request.regions:
            passwords = secrets.token_urlsafe(18), secrets.token_urlsafe(18)
            count = len(request.regions)
            spec = ServerSpec(region, request.mode, found, who, root, *passwords, request.settings, count)
            self._servers[region] = Server(spec)
        try:
            async with asyncio.TaskGroup() as group:
                for server in self._servers.values():
                    group.create_task(self._start_server(server))
        except BaseExceptionGroup as several:
            known = several.subgroup(AccountdbError)
            if known is None:
                raise
            raise _first(known) from None

    async def _start_server(self, server: Server) -> None:
        await server.create()
        tell("progress", text=f"{server.spec.region}: cluster made")
        await server.first_start()
        tell("progress", text=f"{server.spec.region}: server runs on port {server.port}")

    async def _open(self, found: binaries.Installation) -> None:
        """The links, the control endpoint, and the record that lets others find them."""
        regions = {}
        for region, server in self._servers.items():
            ports = {peer: self._link(region, peer) for peer in self._servers if peer != region}
            spec, first = server.spec, next(iter(ports.values()))
            regions[region] = RegionState(server.port, first, spec.admin_password, spec.app_password, ports)
        token = secrets.token_urlsafe(24)
        self._control = await control.serve(self._handle, token)
        self._write(
            replace(
                self._get_record(),
                phase="ready",
                bin_dir=str(found.bin_dir),
                control_port=self._control.sockets[0].getsockname()[1],
                token=token,
                regions=regions,
            )
        )

    def _link(self, region: Region, peer: Region) -> int:
        """Have ``peer`` reach ``region``; the port by which it does."""
        link = self._links[region, peer] = Link(self._servers[region].port)
        link.heal()
        return link.port

    def _get_record(self) -> LabState:
        if self._record is None:
            raise AccountdbError("the lab has no record yet")
        return self._record

    def _write(self, record: LabState) -> None:
        state.write(self._request.folder, record)
        self._record = record

    async def _handle(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """One command from the control endpoint."""
        if command == "down":
            self._give_up("it was told to")
        elif command in ("stop", "start", "kill", "pause", "resume"):
            region = region_of(str(arguments.get("region")), self._request.regions)
            async with self._busy[region]:
                if self._given_up.is_set():
                    raise AccountdbError("the lab is going down")
                if command == "start":
                    self._servers[region].environment = dict(arguments.get("environment") or {})
                done = getattr(self._servers[region], command)()
                if asyncio.iscoroutine(done):
                    await done
        elif command in ("cut", "hang", "heal"):
            meant = [region_of(str(one), self._request.regions) for one in arguments.get("regions", ())]
            for ends, link in self._links.items():
                if touches(ends, meant):
                    getattr(link, command)()
        elif command == "latency":
            for link in self._links.values():
                link.latency_s = float(arguments["ms"]) / 1000
        elif command != "status":
            raise UsageError(f"the lab's keeper does not know the command {command!r}")
        return self._status()

    def _status(self) -> dict[str, Any]:
        found = {link.state for link in self._links.values()}
        latency = max(link.latency_s for link in self._links.values())
        regions = [
            {
                "name": name,
                "server": server.state,
                "pid": server.pid,
                "port": server.port,
                "link_port": self._get_record().regions[name].link_port,
                "link_connections": sum(link.connections for (to, _), link in self._links.items() if to == name),
            }
            for name, server in self._servers.items()
        ]
        links = [{"to": to, "of": of, "port": link.port, "state": link.state} for (to, of), link in self._links.items()]
        state = found.pop() if len(found) == 1 else "partly"
        return {"link": state, "latency_ms": latency * 1000, "regions": regions, "links": links}

    async def _tear_down(self) -> None:
        if self._lock is None:
            return
        if self._record is not None and (self._request.folder / state.RECORD).exists():
            self._write(replace(self._record, phase="stopping"))
        if self._control is not None:
            self._control.close()
        # First: a server that shuts down waits for its replication clients, and the link may hang.
        for link in self._links.values():
            link.close()
        ends = await asyncio.gather(*(s.destroy() for s in self._servers.values()), return_exceptions=True)
        for error in ends:
            if error is not None:
                traceback.print_exception(error)
        if self._record is not None:
            leftovers.remove_data(Path(self._record.data_root))
        self._lock.release(remove_folder=self._record.created_dir if self._record else self._lock.created)


def _place_for_data(folder: Path, who: account.Account) -> Path:
    """Where the data folders go: inside the lab's folder when the servers' account can get there."""
    if account.can_enter(who, folder):
        return folder / state.DATA
    for base in state.ELSEWHERE:
        if base.is_dir() and account.can_enter(who, base):
            return base / f"{state.ELSEWHERE_PREFIX}{secrets.token_hex(8)}"
    raise AccountdbError(
        f"the account {who.name!r}, the servers' own, can enter neither {folder} nor /var/tmp nor /tmp",
        hint="name a folder that every account can enter",
    )


def _first(several: BaseExceptionGroup[AccountdbError]) -> AccountdbError:
    error: BaseException = several
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, AccountdbError)
    return error


def tell(event: str, **facts: Any) -> None:
    """Say one line to the caller; nothing happens when it is gone."""
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), json.dumps({"event": event, **facts}).encode() + b"\n")


def main() -> int:
    """The keeper's process. Its parent's child ends at once, so that nobody has a child to wait for."""
    if os.fork() > 0:
        os._exit(0)
    try:
        # Unbuffered: what follows the first line is for the loop to read.
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as source:
            request = Request.from_json(source.readline(_MAX_REQUEST).decode())
        os.chdir("/")
        return asyncio.run(_run(request))
    except AccountdbError as error:
        tell("failed", error=control.error_document(error))
        return error.exit_status


async def _run(request: Request) -> int:
    return await Keeper(request).run()


if __name__ == "__main__":
    sys.exit(main())
