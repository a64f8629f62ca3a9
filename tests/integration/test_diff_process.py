"""diff as a process: on a terminal, in a pipe that ends early, with more differences than fit into memory."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import BIN, Databases, eventually, rows
from tests.integration.comparing import A, B, Two


@pytest.fixture(scope="module")
def two(databases: Databases) -> Two:
    """100,000 short rows that all differ but one, as many equal ones, large rows, and a name that is markup."""
    made = Two(databases.empty(), databases.empty())
    made.both("CREATE TABLE many (id int PRIMARY KEY, v int); CREATE TABLE same (LIKE many INCLUDING ALL)")
    made.both('CREATE TABLE "[/x]" (id int PRIMARY KEY)')
    made.here("INSERT INTO many SELECT i, i FROM generate_series(0, 100000) AS i")
    made.there("INSERT INTO many SELECT i, i - 1 FROM generate_series(1, 100000) AS i; INSERT INTO many VALUES (0, 0)")
    made.both("INSERT INTO same SELECT i, i FROM generate_series(0, 100000) AS i")
    made.both("CREATE TABLE wide (id int PRIMARY KEY, v text)")
    made.here("INSERT INTO wide SELECT i, repeat('x', 100000) FROM generate_series(1, 1000) AS i")
    made.there("INSERT INTO wide SELECT i, repeat('x', 99999) || 'y' FROM generate_series(1, 1000) AS i")
    made.there('INSERT INTO "[/x]" SELECT i FROM generate_series(1, 3) AS i')
    made.both("ANALYZE")
    return made


def arguments(two: Two, *more: str) -> list[str]:
    """A command line."""
    return ["diff", f"--node={A}={two.a}", f"--node={B}={two.b}", *more]


def on_terminal(two: Two, *more: str, piped: bool) -> tuple[str, str]:
    """What goes to the pipe behind stdout, and what the terminal shows."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [str(BIN / "migratectl"), *arguments(two, *more)],
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if piped else theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        out = process.stdout.read().decode() if process.stdout else ""
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:
            pass  # a terminal ends like this when its last writer has gone
    os.close(ours)
    return out, shown.decode()


def test_on_a_terminal_data_goes_where_stdout_goes(two: Two) -> None:
    out, shown = on_terminal(two, "--table=[/x]", "--json", piped=True)
    assert len(json.loads(out)["rows"]) == 3
    assert "public.[/x]" in shown
    assert '"rows"' not in shown


def screen(shown: str) -> list[str]:
    """The lines that stand in the end: the codes that rich uses are carriage return, line up and erase line."""
    lines, at = [""], 0
    for part in re.split(r"(\n|\r|\x1b\[[0-9;?]*[A-Za-z])", shown):
        if part == "\n":
            at += 1
            lines += [""] * (at == len(lines))
        elif part == "\x1b[1A":
            at -= 1
        elif part == "\x1b[2K":
            lines[at] = ""
        elif part != "\r" and not part.startswith("\x1b"):
            lines[at] += part
    return lines


def test_on_a_terminal_nothing_of_the_bar_stays_among_the_rows(two: Two) -> None:
    _, shown = on_terminal(two, "--table=[/x]", piped=False)
    lines = screen(shown)
    assert lines[:3] == [f"public.[/x] id={n} only in {B}" for n in (1, 2, 3)]
    assert any(re.search(r"│ public\.\[/x\] │ 0 +│ 3 +│ 3 +│ 0 +│", line) for line in lines)


def test_a_reader_that_has_enough_is_no_error(two: Two) -> None:
    with subprocess.Popen(
        [str(BIN / "migratectl"), *arguments(two, "--table=many", "--where=id < 5000")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline().startswith(b"public.many id=")
        process.stdout.close()
        assert process.stderr.read() == b""


def test_an_interrupted_comparison_ends_at_once(two: Two) -> None:
    endless = ("--table=same", "--where=t.id > 0 OR pg_catalog.pg_sleep(60) IS NOT NULL")
    with subprocess.Popen(
        [str(BIN / "migratectl"), *arguments(two, *endless)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        asleep = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
        eventually(lambda: all(rows(dsn, asleep) for dsn in (two.a, two.b)), what="a query in both regions")
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert time.monotonic() - began < 10
    assert process.returncode == 130
    assert b"Traceback" not in errors
    eventually(lambda: not any(rows(dsn, asleep) for dsn in (two.a, two.b)), what="no query left")


# A little program of one child: its exit status and the peak of its memory, in kB.
_PEAK = """
import resource, subprocess, sys
with open(sys.argv[1], "w") as out:
    status = subprocess.run(sys.argv[2:], stdout=out).returncode
print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak(out: Path, *command: str) -> tuple[int, int]:
    """Exit status and peak memory in MB of migratectl."""
    measured = [sys.executable, "-c", _PEAK, str(out), str(BIN / "migratectl"), *command]
    done = subprocess.run(measured, capture_output=True, text=True, check=True)
    status, kilobytes = map(int, done.stdout.split())
    return status, kilobytes // 1024


def test_memory_does_not_grow_with_the_number_of_differences_nor_much_with_their_size(two: Two, tmp_path: Path) -> None:
    equal, base = peak(tmp_path / "equal", *arguments(two, "--table=same", "--json"))
    differ, most = peak(tmp_path / "differ", *arguments(two, "--table=many", "--json", "--settle=0.1"))
    large, wide = peak(tmp_path / "wide", *arguments(two, "--table=wide"))
    assert (equal, differ, large) == (0, 1, 1)
    assert most - base < 60, f"{most} MB against {base} MB"
    assert wide - base < 150, f"{wide} MB against {base} MB"
    document = json.loads((tmp_path / "differ").read_text())
    assert sorted(int(row["key"]["id"]) for row in document["rows"]) == list(range(1, 100_001))
    assert document["tables"] == [
        {"table": "public.many", "rows": {A: 100_001, B: 100_001}, "differing": 100_000, "changing": 0}
    ]
