"""The files of docs/examples are what a host can install: units that systemd takes, commands that exist."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import run_command

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
UNITS = sorted((EXAMPLES / "systemd").iterdir())
_COMMAND = re.compile(r"(?:/opt/accountdb/\.venv/bin|\$BIN)/(migratectl|pgsync) ([^'|;\n]*)")


def commands(path: Path) -> list[tuple[str, str]]:
    """Program and arguments of each command in a file."""
    return _COMMAND.findall(path.read_text())


@pytest.mark.parametrize("path", [*UNITS, EXAMPLES / "accountdb.cron"], ids=lambda path: path.name)
def test_every_command_and_option_exists(path: Path) -> None:
    found = commands(path)
    assert bool(found) == (path.suffix != ".timer")
    for program, arguments in found:
        words = shlex.split(arguments.replace(" 2>&1", ""))
        # Unknown options are told before the help is shown.
        asked = run_command(program, *words, "--help")
        assert asked.returncode == 0, asked.stderr


def test_each_timer_has_its_service() -> None:
    names = {path.stem for path in UNITS if path.suffix == ".service"}
    assert {path.stem for path in UNITS if path.suffix == ".timer"} == names - {"accountdb-metrics"}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not on this machine")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for path in UNITS:
        text = path.read_text().replace("/opt/accountdb/.venv/bin", str(Path(sys.executable).parent))
        (tmp_path / path.name).write_text(re.sub(r"^(User|Group)=.*$", r"\1=root", text, flags=re.MULTILINE))
    words = ["systemd-analyze", "verify", *(str(tmp_path / path.name) for path in UNITS)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_environment_files_are_read_alike_by_a_shell_and_hold_no_password() -> None:
    for path in EXAMPLES.glob("*.env"):
        words = ["sh", "-c", f"set -a; . {shlex.quote(str(path))}; env"]
        found = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert "CN_DSN=postgresql://" in found
        assert "sslmode=verify-full" in found
        assert not re.search(r"://[^@/]*:[^@/]*@", found)
        # systemd takes no expansion and no export in such a file.
        assert all(re.fullmatch(r"#.*|[A-Z_]+=[^$`]*|", line) for line in path.read_text().splitlines())
