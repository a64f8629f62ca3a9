"""reladiff (PyPI), the comparison tool that ``migratectl diff`` is measured against.

It is installed into a throw-away environment, never into the project's. It gets the same two
databases and compares the same columns, all of them::

    reladiff DSN users DSN users -k uuid -c % --json [settings]

Its settings decide: few segments are fast as long as nothing differs and slow when rows do. Tried
were 1, 2 and 4 threads, bisection factors from 2 to 1024, bisection thresholds from 4,000 to
100,000, --assume-unique-key and --skip-sort-results. It is measured as it comes, and for each case
with the settings that were fastest for just that case.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Took, command

FASTEST_EQUAL = ("-j", "4", "--bisection-factor", "2", "--assume-unique-key", "--skip-sort-results")
FASTEST_SCATTERED = ("-j", "2", "--bisection-factor", "64")


@dataclass(frozen=True)
class Reladiff:
    """The program, installed, with its version."""

    program: Path
    version: str

    def differing(self, dsns: tuple[str, str], settings: tuple[str, ...]) -> tuple[int, Took]:
        """Compare ``users``: how many rows differ, and what it took."""
        tables = [word for dsn in dsns for word in (dsn, "users")]
        took = command([self.program, *tables, "-k", "uuid", "-c", "%", "--json", *settings])
        # A row that differs is told twice, with a minus and with a plus.
        return sum(line.startswith('["-"') for line in took.said), took


def install(folder: Path) -> Reladiff | None:
    """Into a new environment in ``folder``; None where it cannot be had, and why is told."""
    binaries = folder / "reladiff" / "bin"
    steps = (
        [sys.executable, "-m", "venv", str(folder / "reladiff")],
        [str(binaries / "pip"), "install", "--quiet", "--disable-pip-version-check", "reladiff[postgresql]"],
        [str(binaries / "reladiff"), "--version"],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            print(f"reladiff cannot be installed: {said[-1] if said else 'no reason given'}", flush=True)
            return None
    return Reladiff(binaries / "reladiff", done.stdout.strip().removeprefix("v"))
