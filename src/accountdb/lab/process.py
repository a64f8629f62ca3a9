"""Processes of the operating system: who lives, who is who, and children that never outlive us.

Linux only: pidfds, /proc and the parent-death signal are what makes it certain that a lab leaves
nothing behind, whoever is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from accountdb.errors import AccountdbError
from accountdb.lab.account import Account
from accountdb.lab.model import ProcessId

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_IPC_RMID = 0

_KILL_TIMEOUT_S = 15.0

# The programs that work in a data folder; whoever else looks into it (a shell, a pager) is left alone.
_SERVER_PROGRAMS = ("postgres", "initdb")


def _stat(pid: int) -> tuple[str, str, list[str]] | None:
    """(program, state, fields after the state) of a process, None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The program's name stands in brackets and may itself hold brackets and spaces.
    program, rest = text[text.index("(") + 1 :].rsplit(")", 1)
    fields = rest.split()
    return program, fields[0], fields[1:]


def identify(pid: int) -> ProcessId | None:
    """Who ``pid`` is now; None when nobody, or only a zombie."""
    found = _stat(pid)
    if found is None or found[1] in "ZX":
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ProcessId(pid, int(found[2][18]), boot)


def alive(process: ProcessId) -> bool:
    """Whether that very process still runs."""
    return identify(process.pid) == process


def stopped(pid: int) -> bool:
    """Whether the process is held by SIGSTOP."""
    found = _stat(pid)
    return found is not None and found[1] in "Tt"


class Handle:
    """A hold on one process: signals and waiting that can never hit a later one with its number."""

    def __init__(self, process: ProcessId) -> None:
        """Raises ProcessLookupError when the process is gone."""
        self._fd = os.pidfd_open(process.pid)
        if not alive(process):
            os.close(self._fd)
            raise ProcessLookupError(process.pid)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when the process is gone."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, number)

    def wait(self, timeout_s: float) -> bool:
        """Wait for the process's end; False when it did not come in time."""
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        return bool(poller.poll(timeout_s * 1000))

    def close(self) -> None:
        """Let go."""
        os.close(self._fd)


def server_processes(folder: Path) -> list[int]:
    """The server processes that work in ``folder`` or below it, whoever their parent is."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and _works_in(int(entry), folder):
            found.append(int(entry))
    return found


def _works_in(pid: int, folder: Path) -> bool:
    status = _stat(pid)
    if status is None or status[0] not in _SERVER_PROGRAMS or status[1] in "ZX":
        return False
    try:
        if Path(os.readlink(f"/proc/{pid}/cwd").removesuffix(" (deleted)")).is_relative_to(folder):
            return True
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    # A server changes into its data folder only after its first steps; until then it is known by -D.
    return any(Path(os.fsdecode(argument)).is_relative_to(folder) for argument in arguments if argument)


def writes_log(pid: int) -> bool:
    """Whether the process is a server's logger, which only passes on what the others say."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ")
    except OSError:
        return False
    return title.startswith(b"postgres: ") and title.endswith(b"logger")


def signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    """Send a signal to each process that still is there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def end_servers(folder: Path, *, patience_s: float) -> None:
    """See to it that no server process works in ``folder``: wait, and after ``patience_s`` kill.

    Raises AccountdbError for one that even SIGKILL does not end.
    """
    deadline = time.monotonic() + patience_s
    while pids := server_processes(folder):
        if time.monotonic() > deadline:
            signal_all(pids, signal.SIGKILL)
        if time.monotonic() > deadline + _KILL_TIMEOUT_S:
            raise AccountdbError(f"process {pids[0]} in {folder} does not end by SIGKILL")
        time.sleep(0.02)


def remove_shared_memory(data_dir: Path) -> None:
    """Remove the System V segment that a killed server left; its lock file names it.

    A segment that is in use, or that is not the one named, stays.
    """
    try:
        named = (data_dir / "postmaster.pid").read_text(encoding="utf-8").splitlines()[6].split()
        key, segment = int(named[0]), int(named[1])
        rows = Path("/proc/sysvipc/shm").read_text(encoding="ascii").splitlines()[1:]
    except (OSError, IndexError, ValueError):
        return
    for row in rows:
        fields = row.split()
        # /proc shows the key as a signed number, the lock file as an unsigned one.
        same = int(fields[0]) & 0xFFFFFFFF == key & 0xFFFFFFFF and int(fields[1]) == segment
        if same and int(fields[6]) == 0:
            _libc.shmctl(segment, _IPC_RMID, None)


class Child:
    """A child process of the keeper. When the keeper dies, however, the child gets ``death_signal``."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        account: Account,
        death_signal: signal.Signals,
        folder: Path,
        output: Path,
        env: Mapping[str, str],
    ) -> None:
        """Start it in ``folder``, what it says appended to ``output``.

        The process gets a group of its own *within the keeper's session*: should the keeper die
        while the child is held by SIGSTOP, the group becomes an orphan and the kernel wakes it, so
        that the death signal is seen. It is called on the keeper's only thread, because the
        kernel's parent in "parent death" is a thread.
        """
        keeper = os.getpid()

        def bind() -> None:
            # Last step before exec, after the change of account: that change clears the setting.
            _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
            if os.getppid() != keeper:
                os.kill(os.getpid(), signal.SIGKILL)

        switch = account.switch
        with output.open("ab") as sink:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                cwd=folder,
                env=env,
                umask=0o077,
                process_group=0,
                user=account.uid if switch else None,
                group=account.gid if switch else None,
                extra_groups=[] if switch else None,
                preexec_fn=bind,  # noqa: PLW1509 - the keeper has one thread
            )
        self.pid = self._process.pid
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self._fd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._fd, self._reap)

    def _reap(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        code = self._process.wait()
        if not self.ended.done():
            self.ended.set_result(code)

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return not self.ended.done()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens when it has ended."""
        if self.running:
            os.kill(self.pid, number)

    async def wait(self, timeout_s: float) -> int | None:
        """Its exit status (negative: a signal), or None when it did not end in time."""
        done, _ = await asyncio.wait({self.ended}, timeout=timeout_s)
        return self.ended.result() if done else None
