"""migratectl dump-schema and reset: the structure of a region."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accountdb.cli import options, report


def dump_schema(
    dsn: options.Dsn = None,
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="Where to.")] = Path("schema.dump.sql"),
    pg_dump: Annotated[str, typer.Option("--pg-dump", envvar="PG_DUMP", metavar="PROGRAM")] = "pg_dump",
) -> int:
    """Write the structure of a database as SQL, with pg_dump."""
    from accountdb.setup.dump import dump_schema as dump

    dump(options.one(dsn), output, pg_dump)
    typer.echo(str(output))
    return 0


def reset(dsn: options.Dsn = None, yes: options.Yes = False) -> int:
    """Drop the account tables with every row and migrate again. The schema pglogical stays."""
    from accountdb.setup.reset import reset as empty

    report.show(empty(options.one(dsn), confirmed=yes))
    return 0
