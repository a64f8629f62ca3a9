"""The lab's folder: whose it is, its record ``lab.json``, the lock that its keeper holds for life."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path
from types import TracebackType

from accountdb.errors import AccountdbError, Refused, UsageError
from accountdb.lab.model import LabState, state_from_json

LOCK = "lock"
RECORD = "lab.json"
KEEPER_LOG = "keeper.log"
DATA = "data"

# First line of the lock file: by it a folder is known as a lab's.
_MARK = "accountdb lab\n"

# Data that cannot be inside the lab's folder goes to a new folder with this prefix, in one of these.
ELSEWHERE = (Path("/var/tmp"), Path("/tmp"))
ELSEWHERE_PREFIX = "accountdb-lab-"


class BusyError(AccountdbError):
    """Another keeper holds this folder."""


def default_dir() -> Path:
    """The lab's folder when none is named: $ACCOUNTDB_LAB_DIR, else one in the user's state folder."""
    if named := os.environ.get("ACCOUNTDB_LAB_DIR"):
        return Path(named)
    if base := os.environ.get("XDG_STATE_HOME"):
        return Path(base) / "accountdb" / "lab"
    try:
        return Path.home() / ".local" / "state" / "accountdb" / "lab"
    except RuntimeError:
        raise UsageError("no home folder to keep the lab in", hint="set ACCOUNTDB_LAB_DIR or name a folder") from None


def resolved(folder: Path | None) -> Path:
    """The lab's folder as an absolute path without symbolic links."""
    return (folder or default_dir()).expanduser().resolve()


def read(folder: Path) -> LabState | None:
    """The record in ``folder``; None when there is none.

    Raises Refused for a record that another account wrote (it names folders to remove), and
    AccountdbError for one that cannot be read.
    """
    path = folder / RECORD
    try:
        with path.open(encoding="utf-8") as source:
            if os.fstat(source.fileno()).st_uid != os.geteuid():
                raise Refused(f"{path} belongs to another account; only that account may use this lab")
            document = json.load(source)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise Refused(f"{path} belongs to another account; only that account may use this lab") from None
    except ValueError:
        raise AccountdbError(f"{path} is not the record of a lab") from None
    return state_from_json(document, str(path))


def write(folder: Path, state: LabState) -> None:
    """Replace the record in one step, so that a reader sees the old or the new one, never a half."""
    fresh = folder / f"{RECORD}.new"
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as sink:
        json.dump(state.to_json(), sink, indent=2)
    fresh.rename(folder / RECORD)


def data_root_is_ours(folder: Path, data_root: Path) -> bool:
    """Whether ``data_root`` is a place where a lab in ``folder`` puts its data, and so may be removed."""
    if data_root == folder / DATA:
        return True
    return data_root.parent in ELSEWHERE and data_root.name.startswith(ELSEWHERE_PREFIX)


class DirLock:
    """The exclusive hold on a lab's folder. The kernel lets go of it when the holder dies."""

    def __init__(self, folder: Path, descriptor: int, *, created: bool) -> None:
        """Made by ``take``."""
        self.folder = folder
        self.created = created
        """Whether ``take`` made the folder."""
        self._descriptor = descriptor

    @classmethod
    def take(cls, folder: Path, *, create: bool) -> DirLock:
        """Take the lock on ``folder``, making the folder first when ``create``.

        Raises BusyError when another process holds it, UsageError for a folder that is in use for
        something else (it is not touched) or cannot be made, FileNotFoundError when there is none
        and ``create`` is false.
        """
        created = False
        for _ in range(10):
            if create:
                created = _make(folder)
            require_ours(folder)
            try:
                descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            except FileNotFoundError:
                if not create:
                    raise
                continue  # the lab that was here has just removed the folder
            except OSError as error:
                raise UsageError(f"{folder / LOCK} cannot be opened: {error.strerror}") from None
            if os.fstat(descriptor).st_uid != os.geteuid():
                os.close(descriptor)
                raise Refused(f"the lab at {folder} belongs to another account; only that account may use it")
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise BusyError(f"another process holds the lab at {folder}") from None
            if _is_file_at(descriptor, folder / LOCK):
                os.pwrite(descriptor, _MARK.encode(), 0)
                return cls(folder, descriptor, created=created)
            os.close(descriptor)  # a lock file that its last holder removed
        raise BusyError(f"the folder {folder} comes and goes; another process works with it")

    def release(self, *, remove_folder: bool) -> None:
        """Remove our traces and let go. A folder that holds anything else stays."""
        for name in (RECORD, f"{RECORD}.new", KEEPER_LOG, LOCK):
            (self.folder / name).unlink(missing_ok=True)
        if remove_folder:
            # Someone may have put something there, or taken the folder away.
            with contextlib.suppress(OSError):
                self.folder.rmdir()
        os.close(self._descriptor)

    def __enter__(self) -> DirLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


def _make(folder: Path) -> bool:
    """Make the folder if it is not there; whether it was made."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder", hint="name another folder for the lab") from None
        return False
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be made: {error.strerror}") from None
    if os.geteuid() == 0:
        # The account of the servers must get through to the data folder, which is its own.
        folder.chmod(0o711)
    return True


def require_ours(folder: Path) -> None:
    """Raise UsageError when ``folder`` holds something and is not a lab's.

    A folder that is not there is fine.
    """
    try:
        names = set(os.listdir(folder))
        if names and not (LOCK in names and _marked(folder / LOCK, alone=names == {LOCK})):
            raise UsageError(
                f"{folder} is not empty and not a lab: {', '.join(sorted(names)[:3])}",
                hint="name an empty or a new folder; nothing there was touched",
            )
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise UsageError(f"{folder} is not a folder", hint="name another folder for the lab") from None
    except PermissionError:
        raise UsageError(f"{folder} cannot be read by this account", hint="name another folder") from None


def _marked(lock: Path, *, alone: bool) -> bool:
    """Whether a lab's lock file is at ``lock``. One that another process is making is still empty."""
    try:
        with lock.open("rb") as source:
            head = source.read(len(_MARK))
    except IsADirectoryError:
        return False
    return head == _MARK.encode() or (alone and head == b"")


def _is_file_at(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))
