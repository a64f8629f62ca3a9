"""migratectl migrate, version, reset: the structure of a region."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from accountdb.cli import options, report
from accountdb.migrations import runner
from accountdb.migrations.planning import Step
from accountdb.pg.connect import connect, session
from accountdb.render import output


def migrate(
    dsn: options.Dsn = None,
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    to: Annotated[int | None, typer.Option("--to", metavar="N", help="Stop at this version.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be applied, apply nothing.")] = False,
    allow_down: Annotated[
        bool, typer.Option("--allow-down", help="Allow --to to go down, which drops tables.")
    ] = False,
) -> int:
    """Apply pending migrations to one region, or to both or neither."""
    chosen = options.some(dsn, cn, global_)
    names = [f"{name}: " if name else "" for name in chosen]
    with ExitStack() as stack:
        conns = [stack.enter_context(connect(d, name=f"--{n or 'dsn'}")) for n, d in chosen.items()]
        if plan:
            plans = [runner.plan_for(conn, to, allow_down=True) for conn in conns]
            for name, region_plan in zip(names, plans, strict=True):
                for step in region_plan.steps:
                    output.say(f"{name}{step.title}")
            pending = any(region_plan.steps for region_plan in plans)
            output.tell("pending, nothing was applied" if pending else "nothing is pending")
            return 1 if pending else 0

        def applied(region: int, step: Step) -> None:
            output.tell(f"{names[region]}{step.title}")

        for name, done in zip(names, runner.migrate(conns, to, allow_down=allow_down, on_step=applied), strict=True):
            what = f"{len(done.steps)} applied" if done.steps else "nothing pending"
            output.tell(f"{name}version {done.to_version}, {what}")
    return 0


def version(dsn: options.Dsn = None, cn: options.CnDsn = None, global_: options.GlobalDsn = None) -> int:
    """Print the applied version; 0 for a database that was never migrated."""
    for name, found in options.some(dsn, cn, global_).items():
        with session(found, name=f"--{name or 'dsn'}") as conn:
            output.say(f"{name}: {runner.version(conn)}" if name else str(runner.version(conn)))
    return 0


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
