"""migratectl verify, dump-schema, reset: the structure of a region."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accountdb.cli import options, report
from accountdb.render import output


def verify(
    dsn: options.Dsn = None,
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    schema: Annotated[Path | None, typer.Option("--schema", metavar="FILE", help="Another schema than ours.")] = None,
) -> int:
    """Compare the structure with the canonical schema; exit status 1 when it differs."""
    from accountdb.drift.describe import describe
    from accountdb.drift.verify import verify as compare

    drifted, left_out = False, ""
    for name, found in options.some(dsn, cn, global_).items():
        result = compare(found, schema)
        prefix = f"{name}: " if name else ""
        for drift in result.drifts:
            output.say(f"{prefix}{describe(drift)}")
        compared = ", ".join(f"{count} {kind}" for kind, count in result.compared.items() if count)
        output.tell(f"{prefix}compared: {compared}")
        verdict = f"{len(result.drifts)} differences" if result.drifts else "equal to the schema"
        output.tell(f"{prefix}{verdict}")
        left_out = "; ".join(one.what for one in result.not_compared)
        drifted = drifted or not result.clean
    output.tell(f"not compared: {left_out}")
    return 1 if drifted else 0


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
