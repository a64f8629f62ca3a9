"""pgsync: one-way sync with ordinary rights. The engine is not part of this version."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from accountdb.cli.run import run
from accountdb.errors import AccountdbError
from accountdb.sync.config import load

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def sync(config: Annotated[Path, typer.Option("--config", metavar="FILE", help="The job file.")]) -> int:
    """One incremental pass, then exit. This version reads the job file, cannot do the rest yet, and says so."""
    jobs = load(config).jobs
    raise AccountdbError(
        f"accountdb cannot sync one way yet; {config} is valid ({', '.join(jobs)}), nothing was changed",
        hint="two-way replication works: migratectl init --mode native or --mode pglogical",
    )


def main() -> None:
    """The console script."""
    sys.exit(run(app, "pgsync"))
