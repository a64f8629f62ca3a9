"""migratectl migrate and version: the structure of a region, or of all together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accountdb.cli import options
from accountdb.errors import UsageError
from accountdb.render import output

if TYPE_CHECKING:
    from accountdb.migrations.rehearsal import Rehearsed
    from accountdb.setup.migrating.run import RegionPlan, Wish


def migrate(
    dsn: options.Dsn = None,
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    node: options.Nodes = None,
    to: Annotated[int | None, typer.Option("--to", metavar="N", help="Stop at this version.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Your own files too: NNNN_name.up.sql and NNNN_name.down.sql."),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be applied, apply nothing.")] = False,
    rehearse: Annotated[
        bool,
        typer.Option("--rehearse", help="With --plan: run it, tell the locks that it takes, and roll it back."),
    ] = False,
    adopt: Annotated[
        bool,
        typer.Option("--adopt", help="Take the files of DIR as applied up to the version that the database equals."),
    ] = False,
    lock_timeout: Annotated[
        float, typer.Option("--lock-timeout", metavar="SECONDS", help="Give way to others after waiting for so long.")
    ] = 2.0,
    lock_wait: Annotated[
        float, typer.Option("--lock-wait", metavar="SECONDS", help="Give up after trying for so long.")
    ] = 30.0,
    allow_down: Annotated[
        bool, typer.Option("--allow-down", help="Allow --to to go down, which drops tables.")
    ] = False,
    allow_out_of_order: Annotated[
        bool, typer.Option("--allow-out-of-order", help="Run files that came in below the applied version.")
    ] = False,
    allow_alone: Annotated[
        bool, typer.Option("--allow-alone", help="Run files of DIR in one region that is joined to others.")
    ] = False,
    allow_data: Annotated[
        bool, typer.Option("--allow-data", help="Run files that write rows of replicated tables, in every region.")
    ] = False,
    json_: options.Json = False,
) -> int:
    """Apply pending migrations to one region, or to all that are given: all or none."""
    from accountdb.migrations.steps import Patience
    from accountdb.setup.migrating.run import Wish
    from accountdb.setup.migrating.run import migrate as run

    if not 0 < lock_timeout <= 600 or not 0 <= lock_wait <= 86_400:
        raise UsageError(
            f"--lock-timeout {lock_timeout:g} and --lock-wait {lock_wait:g} are seconds",
            hint="--lock-timeout above 0 and up to 600, --lock-wait from 0 to 86400",
        )
    if (adopt and folder is None) or (rehearse and not plan):
        raise UsageError(
            "--adopt is for the files of --dir" if adopt and folder is None else "--rehearse is for --plan",
            hint="migratectl migrate --help",
        )
    wish = Wish(
        to,
        folder,
        allow_down=allow_down,
        allow_out_of_order=allow_out_of_order,
        allow_alone=allow_alone,
        allow_data=allow_data,
        adopt=adopt,
        patience=Patience(int(lock_timeout * 1000), lock_wait),
    )
    regions = options.some(dsn, cn, global_, node)
    if plan:
        return _show(regions, wish, rehearse=rehearse, json_=json_)
    moved = run(regions, wish, output.tell)
    if json_:
        output.say(output.as_json({"regions": moved}))
    for one in moved:
        what = f"{one.applied} applied" if one.applied else "nothing pending"
        output.tell((f"{one.region}: " if one.region else "") + f"version {one.to_version}, {what}")
    return 0


def _show(regions: dict[str, str], wish: Wish, *, rehearse: bool, json_: bool) -> int:
    from accountdb.setup.migrating.run import show_plan

    plans = show_plan(regions, wish, rehearsal=rehearse)
    pending = any(one.steps for one in plans)
    if json_:
        output.say(output.as_json({"regions": [_plain(one) for one in plans]}))
    else:
        for one in plans:
            _say_plan(one)
    output.tell("pending, nothing was applied" if pending else "nothing is pending")
    return 1 if pending else 0


def _say_plan(plan: RegionPlan) -> None:
    from accountdb.migrations.hazards import hazards

    prefix = f"{plan.region}: " if plan.region else ""
    for step in plan.steps:
        output.say(f"{prefix}{step.title}")
        for done in plan.rehearsed:
            if done.title == step.title:
                _say_rehearsed(done)
        for statement in step.script.statements if not plan.rehearsed else ():
            for hazard in hazards(statement):
                # What is told and not asked for goes beside the data.
                output.tell(f"{prefix}{step.title}, line {statement.line}: {hazard.kind}: {hazard.why}")


def _say_rehearsed(done: Rehearsed) -> None:
    took = "not rehearsed: it runs in no transaction" if done.seconds is None else f"{done.seconds:.3f} s"
    output.say(f"  line {done.line}: {done.text} ({took})")
    for lock in done.locks:
        output.say(f"    locks {lock.table} in {lock.mode}")
    for table in done.rewritten:
        output.say(f"    rewrites {table}")
    for hazard in done.hazards:
        output.say(f"    hazard: {hazard.kind}: {hazard.why}")


def _plain(plan: RegionPlan) -> dict[str, object]:
    from accountdb.migrations.hazards import hazards

    return {
        "region": plan.region,
        "steps": [
            {
                "file": step.title,
                "series": step.migration.series,
                "checksum": step.migration.checksum,
                "hazards": [
                    {"line": s.line, "kind": h.kind, "why": h.why} for s in step.script.statements for h in hazards(s)
                ],
            }
            for step in plan.steps
        ],
        "rehearsed": plan.rehearsed,
    }


def version(
    dsn: options.Dsn = None, cn: options.CnDsn = None, global_: options.GlobalDsn = None, node: options.Nodes = None
) -> int:
    """Print the applied version; 0 for a database that was never migrated."""
    from accountdb.setup.migrating.run import versions

    for name, found in versions(options.some(dsn, cn, global_, node)).items():
        output.say(f"{name}: {found}" if name else str(found))
    return 0
