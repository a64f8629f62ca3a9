"""How far pgsync is: a bar on a terminal of 80 columns that leaves nothing behind, and nothing of it in a pipe."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from contextlib import suppress
from pathlib import Path

import pytest

from accountdb.lab import Lab
from tests.conftest import BIN, Databases, run_sql
from tests.integration.syncing import Follow, follow

COLUMNS = 80
ROWS = 50_000
LONG = "a_name_of_a_table_that_is_as_long_as_a_name_of_a_table_may_be_x"
CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")
FULL_LINE = re.compile(r" (?P<rows>[\d,]+) rows +(?P<rate>[\d,]+)/s +(?P<left>\d:\d\d:\d\d)")


class Screen:
    """A terminal, as far as a bar needs one. ``lines`` is what it shows; ``frames`` each line that was ever drawn."""

    def __init__(self) -> None:
        self.lines = [""]
        self.frames: list[str] = []
        self._row = self._column = 0

    def feed(self, text: str) -> None:
        """Show what a program writes. What goes beyond the last column fails."""
        place = 0
        while place < len(text):
            control = CONTROL.match(text, place)
            if control:
                self._control(control[1], control[2])
                place = control.end()
                continue
            self._write(text[place])
            place += 1

    def _control(self, number: str, kind: str) -> None:
        if kind == "K":
            self.frames.append(self.lines[self._row])
            self.lines[self._row] = ""
        elif kind == "A":
            self._row -= int(number or 1)
        else:
            # Colours, and the cursor shown or not.
            assert kind in "mhl", (number, kind)

    def _write(self, letter: str) -> None:
        if letter == "\r":
            self._column = 0
        elif letter == "\n":
            self._row += 1
            self.lines += [""] * (self._row + 1 - len(self.lines))
        else:
            assert letter.isprintable(), repr(letter)
            assert self._column < COLUMNS, self.lines[self._row]
            line = self.lines[self._row].ljust(self._column)
            self.lines[self._row] = line[: self._column] + letter + line[self._column + 1 :]
            self._column += 1


def environment(pair: Follow) -> dict[str, str]:
    known = {name: found for name, found in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    return {**known, "SOURCE": pair.source, "TARGET": pair.target, "TERM": "xterm"}


def on_terminal(pair: Follow, *arguments: str) -> tuple[str, Screen]:
    """What a run says to a pipe on stdout, and to a terminal on stderr."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [BIN / "pgsync", *arguments], env=environment(pair), stdout=subprocess.PIPE, stderr=theirs, text=True
    )
    os.close(theirs)
    said = b""
    # A terminal whose last program has gone gives an error, not an end.
    with suppress(OSError), open(ours, "rb", buffering=0) as terminal:
        while piece := terminal.read(65536):
            said += piece
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    screen = Screen()
    screen.feed(said.decode())
    return out, screen


@pytest.fixture(scope="module")
def pair(databases: Databases, native_lab: Lab) -> Follow:
    tables = [f"CREATE TABLE public.{name} (id integer PRIMARY KEY, v text)" for name in ("item", LONG)]
    found = follow(databases, native_lab, tables).of("item", LONG)
    found.here(f"INSERT INTO item SELECT n, repeat('x', 50) FROM generate_series(1, {ROWS}) AS n")
    # By the server's estimate the bar knows how much is left.
    found.here("ANALYZE item")
    found.here(f"INSERT INTO {LONG} SELECT n, 'x' FROM generate_series(1, 10) AS n")
    return found


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "jobs.yaml"
    sides = 'source: {dsn: "${SOURCE}"}, destination: {dsn: "${TARGET}"}'
    path.write_text(f"jobs: {{j: {{{sides}, tables: {{item: {{}}, {LONG}: {{}}}}}}}}")
    return str(path)


def test_a_bar_on_a_terminal(pair: Follow, config: str) -> None:
    pair.there(f"TRUNCATE item, {LONG}")
    out, screen = on_terminal(pair, "--config", config, "--once", "--json", "--verify")
    receipt = json.loads(out)
    assert receipt["tables"]["public.item"]["inserted"] == ROWS
    for what in ("loading public.item", "verifying public.item", "loading public.a_name_of_a_tabl…"):
        assert any(frame.startswith(what) for frame in screen.frames), (what, screen.frames)
    loading = [
        match for frame in screen.frames if "loading public.item" in frame and (match := FULL_LINE.search(frame))
    ]
    done = [int(match["rows"].replace(",", "")) for match in loading]
    assert done == sorted(done)
    assert 0 < done[0] <= done[-1] <= ROWS
    assert all(int(match["rate"].replace(",", "")) > 100 for match in loading)
    assert all(match["left"] < "0:01:00" for match in loading)
    assert "".join(screen.lines).strip() == ""


def test_rows_that_differ_are_read_and_written(pair: Follow, config: str) -> None:
    run_sql(pair.target, "UPDATE item SET v = 'other' WHERE id % 10 = 0")
    out, screen = on_terminal(pair, "--config", config, "--once")
    assert f" {ROWS // 10} updated, " in out
    for what in ("comparing public.item", "reading public.item", "writing public.item"):
        assert any(frame.startswith(what) for frame in screen.frames), (what, screen.frames)
    assert "".join(screen.lines).strip() == ""


def test_nothing_of_it_in_a_pipe(pair: Follow, config: str) -> None:
    found = subprocess.run(
        [BIN / "pgsync", "--config", config, "--once"],
        env=environment(pair),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.count("\n") == 1
    assert found.stdout.isascii()
    assert "\x1b" not in found.stdout
