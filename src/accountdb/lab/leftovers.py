"""Cleaning up after a keeper that was killed: its servers, their shared memory, its folders."""

from __future__ import annotations

import shutil
from pathlib import Path

from accountdb.errors import AccountdbError
from accountdb.lab import process, state
from accountdb.lab.model import NAMES

# An orphaned server shuts down by itself, at once; PostgreSQL allows its processes 5 s for that.
_PATIENCE_S = 8.0


def clean(lock: state.DirLock) -> bool:
    """Remove what a dead keeper left in and for the folder of ``lock``; whether there was anything.

    The lock is the proof that no keeper lives there. The record and the lock file stay.
    """
    record = state.read(lock.folder)
    if record is None:
        return remove_data(lock.folder / state.DATA)
    data_root = Path(record.data_root)
    return remove_data(data_root) if state.data_root_is_ours(lock.folder, data_root) else False


def remove_data(data_root: Path) -> bool:
    """End every server below ``data_root``, free its shared memory, remove the folder.

    Whether there was such a folder. Raises AccountdbError when it cannot be removed.
    """
    if not data_root.exists():
        return False
    process.end_servers(data_root, patience_s=_PATIENCE_S)
    for region in NAMES:
        process.remove_shared_memory(data_root / region)
    try:
        shutil.rmtree(data_root)
    except OSError as error:
        raise AccountdbError(f"{data_root} cannot be removed: {error}") from None
    return True
