"""``migratectl dump-schema``: the structure of a database as SQL, by pg_dump."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from accountdb.errors import AccountdbError, UsageError
from accountdb.pg import dsn as dsns


def dump_schema(dsn: str, output: Path, pg_dump: str) -> None:
    """Write the structure, without owners and rights, to ``output``. ``pg_dump`` is the program.

    The connection travels in pg_dump's environment: its arguments are for everybody to see.
    """
    command = [pg_dump, "--schema-only", "--no-owner", "--no-privileges", f"--file={output}"]
    try:
        done = subprocess.run(
            command, env={**os.environ, **dsns.environment(dsn)}, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise UsageError(f"{pg_dump}: {error.strerror}", hint="--pg-dump names the program") from None
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["pg_dump failed"]
        raise AccountdbError(
            dsns.scrub(lines[0], dsn), hint="pg_dump must be as new as the server; --pg-dump names another"
        )
