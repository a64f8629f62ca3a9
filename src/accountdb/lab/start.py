"""Bringing a lab up: start its keeper and hold it until the caller says "keep"."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from accountdb.errors import AccountdbError, UsageError
from accountdb.lab import control, lab, process, state
from accountdb.lab.lab import Lab
from accountdb.lab.model import REGIONS, Mode, mode_of, names_of
from accountdb.lab.settings import checked

UP_TIMEOUT_S = 240.0
_GONE_TIMEOUT_S = 40.0

Progress = Callable[[str], None]


class PendingLab:
    """A lab that works but is gone again unless ``keep`` is called.

    As a context manager it is gone at the end of the block; it is gone too when this process dies,
    however. A lab that was running before (``started`` is false) is never affected.
    """

    def __init__(self, running: Lab, keeper: _Pipe | None) -> None:
        """Made by ``up``."""
        self.lab = running
        self._keeper = keeper
        self.started = keeper is not None
        """Whether this call started the lab; false: it was running."""

    def keep(self) -> Lab:
        """Let the lab live on by itself. Raises AccountdbError when it is gone already. Idempotent."""
        if self._keeper is not None:
            self._keeper.keep()
            self._keeper = None
            self.lab = lab.find(self.lab.dir)
        return self.lab

    def abandon(self) -> None:
        """End the lab, unless it was kept or was running before; returns when everything is removed."""
        if self._keeper is not None:
            self._keeper.hang_up()
            self._keeper = None

    def __enter__(self) -> PendingLab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon()


def up(
    folder: Path | None,
    mode: Mode,
    *,
    owner_pid: int | None = None,
    bin_dir: Path | None = None,
    settings: Mapping[str, str] | None = None,
    regions: int | None = None,
    on_progress: Progress | None = None,
) -> PendingLab:
    """Start a lab in ``folder`` (the default folder when None), or find the one that runs there.

    The lab ends by itself when the process ``owner_pid`` does. ``bin_dir`` names another PostgreSQL
    than the mode's usual one; ``settings`` are added to the servers' configuration. ``regions`` is how
    many there are, 2 to 5 (None: two). A running lab of the same mode and, where it is given, the same
    number of regions is returned as it is. ``on_progress`` gets one line per step.

    Raises UsageError for a folder in use for something else, for a running lab of another mode or
    number of regions and for bad values, AccountdbError with the server's own reason when it does not start. Whatever
    is raised, nothing of the lab is left.
    """
    if sys.platform != "linux":
        raise AccountdbError(f"the lab runs on Linux only, and this is {sys.platform}", hint="use a container")
    where = state.resolved(folder)
    request = {
        "folder": str(where),
        "mode": mode_of(mode),
        "caller_pid": os.getpid(),
        "owner_pid": owner_pid,
        "bin_dir": str(bin_dir.resolve()) if bin_dir else None,
        "settings": checked(settings or {}),
        "regions": len(names_of(regions)) if regions is not None else len(REGIONS),
    }
    deadline = time.monotonic() + UP_TIMEOUT_S
    while True:
        running = _running(where, mode, regions)
        if running is not None:
            return PendingLab(running, None)
        keeper = _Pipe(request)
        try:
            keeper.wait_for("ready", deadline, on_progress or _silent)
            return PendingLab(_ready(where), keeper)
        except state.BusyError:
            # Another "up" or "down" is at work there: see what comes of it.
            keeper.hang_up()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        except BaseException:
            keeper.hang_up()
            raise


def _ready(where: Path) -> Lab:
    record = state.read(where)
    if record is None:
        raise AccountdbError(f"the lab at {where} was taken away while it started")
    return Lab(where, record)


def _silent(_: str) -> None:
    pass


def _running(where: Path, mode: Mode, regions: int | None) -> Lab | None:
    """The lab that runs in ``where``, None when none does or it is not settled yet."""
    state.require_ours(where)
    record = state.read(where)
    if record is None or record.phase == "stopping" or not process.alive(record.keeper):
        return None
    if record.mode != mode:
        raise UsageError(
            f"a lab of mode {record.mode} runs at {where}, not of mode {mode}",
            hint="migratectl lab down, or name another folder",
        )
    if record.phase != "kept":
        return None
    if regions not in (None, len(record.regions)):
        raise UsageError(
            f"a lab of {len(record.regions)} regions runs at {where}, not of {regions}",
            hint="migratectl lab down, or name another folder",
        )
    return Lab(where, record)


class _Pipe:
    """The caller's end of the pipes to a keeper."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        # What Python itself complains about, should the keeper not even start.
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this object
        # -P: a folder "accountdb" in the current folder is not taken for this package.
        starter = subprocess.Popen(
            [sys.executable, "-P", "-m", "accountdb.lab.keeper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            start_new_session=True,
            bufsize=0,
        )
        assert starter.stdin is not None
        assert starter.stdout is not None
        self._to: IO[bytes] = starter.stdin
        self._from: IO[bytes] = starter.stdout
        self._heard = b""
        # A broken pipe: the keeper is dead, and reading tells why.
        with contextlib.suppress(BrokenPipeError):
            self._to.write(json.dumps(request).encode() + b"\n")
        # The child hands over to the keeper and ends at once; a keeper is nobody's child.
        starter.wait()

    def wait_for(self, event: str, deadline: float, on_progress: Progress) -> None:
        """Read until the keeper says ``event``. Raises what it reports, BusyError among that."""
        while True:
            said = self._line(deadline)
            if said["event"] == event:
                return
            if said["event"] == "progress":
                on_progress(said["text"])
            elif said["event"] == "failed":
                if said["error"]["kind"] == "BusyError":
                    raise state.BusyError(said["error"]["message"])
                raise control.error_from(said["error"])

    def _line(self, deadline: float) -> dict[str, Any]:
        while b"\n" not in self._heard:
            ready, _, _ = select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise AccountdbError("the lab did not come up in time")
            piece = self._from.read(65536)
            if not piece:
                self._complaints.seek(0)
                said = self._complaints.read().decode(errors="replace").strip().splitlines()
                raise AccountdbError(f"the lab's keeper ended: {said[-1] if said else 'it was killed'}")
            self._heard += piece
        line, self._heard = self._heard.split(b"\n", 1)
        document: dict[str, Any] = json.loads(line)
        return document

    def keep(self) -> None:
        """Tell the keeper that it may live on without us."""
        with contextlib.suppress(BrokenPipeError):
            self._to.write(b"keep\n")
        self.wait_for("kept", time.monotonic() + _GONE_TIMEOUT_S, _silent)
        self._close()

    def hang_up(self) -> None:
        """Let the keeper give up and wait until it has removed everything."""
        self._to.close()
        deadline = time.monotonic() + _GONE_TIMEOUT_S
        # The keeper holds its end of this pipe as long as it lives.
        while select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))[0]:
            if not self._from.read(65536):
                break
        self._close()

    def _close(self) -> None:
        for pipe in (self._to, self._from, self._complaints):
            pipe.close()
