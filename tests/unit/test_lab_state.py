"""The lab's folder, its lock, and telling processes apart."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from accountdb.errors import AccountdbError, Refused, UsageError
from accountdb.lab import default_dir, down, find, process, state
from accountdb.lab.model import LabState, ProcessId


def record(folder: Path) -> LabState:
    return LabState("kept", "native", ProcessId(1, 2, "b"), True, str(folder / "data"), "/bin", "17")


def test_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ACCOUNTDB_LAB_DIR", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_dir() == tmp_path / ".local/state/accountdb/lab"
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    assert default_dir() == Path("/s/accountdb/lab")
    monkeypatch.setenv("ACCOUNTDB_LAB_DIR", "/l")
    assert default_dir() == Path("/l")


def test_record_is_private_and_replaced_whole(tmp_path: Path) -> None:
    state.write(tmp_path, record(tmp_path))
    state.write(tmp_path, record(tmp_path))
    path = tmp_path / "lab.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert state.read(tmp_path) == record(tmp_path)
    assert os.listdir(tmp_path) == ["lab.json"]


def test_no_record(tmp_path: Path) -> None:
    assert state.read(tmp_path) is None
    assert state.read(tmp_path / "nowhere") is None


def test_broken_record(tmp_path: Path) -> None:
    (tmp_path / "lab.json").write_text("{", encoding="utf-8")
    with pytest.raises(AccountdbError, match="not the record of a lab"):
        state.read(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another account")
def test_record_of_another_account_is_refused(tmp_path: Path) -> None:
    # It names a folder to remove: root must not believe just anyone.
    state.write(tmp_path, record(tmp_path))
    os.chown(tmp_path / "lab.json", 65534, 65534)
    with pytest.raises(Refused, match="another account"):
        state.read(tmp_path)


@pytest.mark.parametrize(
    ("data_root", "ours"),
    [
        ("/lab/data", True),
        ("/var/tmp/accountdb-lab-12ab", True),
        ("/tmp/accountdb-lab-12ab", True),
        ("/etc", False),
        ("/lab", False),
        ("/tmp/other", False),
        ("/tmp/accountdb-lab-x/../../etc", False),
    ],
)
def test_only_data_of_a_lab_may_be_removed(data_root: str, *, ours: bool) -> None:
    assert state.data_root_is_ours(Path("/lab"), Path(data_root)) is ours


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "lab"
    first = state.DirLock.take(folder, create=True)
    assert first.created
    with pytest.raises(state.BusyError):
        state.DirLock.take(folder, create=True)
    first.release(remove_folder=True)
    assert not folder.exists()
    with state.DirLock.take(folder, create=True) as again:
        assert again.created


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    lock = state.DirLock.take(tmp_path, create=True)
    assert not lock.created
    lock.release(remove_folder=False)
    assert os.listdir(tmp_path) == []


def test_what_someone_put_into_the_folder_stays(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    lock = state.DirLock.take(folder, create=True)
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    lock.release(remove_folder=True)
    assert os.listdir(folder) == ["notes.txt"]


@pytest.mark.parametrize("names", [["notes.txt"], ["lock"], ["lab.json"], ["data", "lock"]])
def test_a_foreign_folder_is_not_touched(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("mine", encoding="utf-8")
    for attempt in (lambda: state.DirLock.take(tmp_path, create=True), lambda: down(tmp_path)):
        with pytest.raises(UsageError, match="not a lab"):
            attempt()
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    assert all((tmp_path / name).read_text(encoding="utf-8") == "mine" for name in names)


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine", encoding="utf-8")
    for attempt in (lambda: state.DirLock.take(path, create=True), lambda: down(path)):
        with pytest.raises(UsageError, match="not a folder"):
            attempt()


def test_no_lab_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AccountdbError, match=f"no lab at {tmp_path}") as raised:
        find(tmp_path)
    assert raised.value.hint == "migratectl lab up"
    assert not down(tmp_path).was_running
    assert not down(tmp_path / "nowhere").cleaned


def test_a_process_is_known_by_more_than_its_number() -> None:
    me = process.identify(os.getpid())
    assert me is not None
    assert process.alive(me)
    assert not process.alive(ProcessId(me.pid, me.start - 1, me.boot))
    assert not process.alive(ProcessId(me.pid, me.start, "another start of the machine"))
    with pytest.raises(ProcessLookupError):
        process.Handle(ProcessId(me.pid, me.start - 1, me.boot))


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    known = process.identify(child.pid)
    assert known is not None
    handle = process.Handle(known)
    assert child.stdin is not None
    child.stdin.close()
    assert handle.wait(20)
    handle.close()
    assert not process.alive(known)
    child.wait()


def test_only_servers_count_as_processes_of_a_folder(tmp_path: Path) -> None:
    # A shell that looks into a data folder must survive the lab's end.
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as bystander:
        assert process.server_processes(tmp_path) == []
        bystander.kill()


def test_shared_memory_that_is_not_named_exactly_stays(tmp_path: Path) -> None:
    process.remove_shared_memory(tmp_path)
    (tmp_path / "postmaster.pid").write_text("1\n2\n3\n4\n5\n6\n  12 0\nready\n", encoding="utf-8")
    process.remove_shared_memory(tmp_path)
