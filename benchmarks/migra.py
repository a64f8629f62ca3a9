"""migra (PyPI), the comparison tool that ``migratectl check`` is measured against.

It is installed into a throw-away environment, never into the project's. It gets the same two
databases and compares the same things, privileges included::

    migra --unsafe --with-privileges URL URL

It ends with 0 where nothing differs and with 2 where something does. Its last version wants
SQLAlchemy before 2 and a setuptools that still has pkg_resources.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

from benchmarks.measure import Took, command

_NEEDS = ("migra[pg]", "psycopg2-binary", "sqlalchemy<2", "setuptools<81")


@dataclass(frozen=True)
class Migra:
    """The program, installed, with its version."""

    program: Path
    version: str

    def compare(self, dsns: tuple[str, str], *, equal: bool) -> Took:
        """One run of it; ``equal`` is what it has to find."""
        urls = [_url(dsn) for dsn in dsns]
        return command([self.program, "--unsafe", "--with-privileges", *urls], status=0 if equal else 2)


def _url(dsn: str) -> str:
    part = {name: quote(str(value), safe="") for name, value in conninfo_to_dict(dsn).items()}
    return f"postgresql://{part['user']}:{part['password']}@{part['host']}:{part['port']}/{part['dbname']}"


def install(folder: Path) -> Migra | None:
    """Into a new environment in ``folder``; None where it cannot be had, and why is told."""
    binaries = folder / "migra" / "bin"
    steps = (
        [sys.executable, "-m", "venv", str(folder / "migra")],
        [str(binaries / "pip"), "install", "--quiet", "--disable-pip-version-check", *_NEEDS],
        [str(binaries / "pip"), "show", "migra"],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            print(f"migra cannot be installed: {said[-1] if said else 'no reason given'}", flush=True)
            return None
    version = next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("Version:"))
    return Migra(binaries / "migra", version)
