"""migratectl doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accountdb.cli import options
from accountdb.render import output

if TYPE_CHECKING:
    from accountdb.doctor.model import Checkup
    from accountdb.health.advice import Finding


def doctor(
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    node: options.Nodes = None,
    mode: Annotated[
        str | None, typer.Option("--mode", help="pgsync, pglogical or native: also before the regions join.")
    ] = None,
    ignore: Annotated[
        Path | None, typer.Option("--ignore", metavar="FILE", help="YAML: differences in structure that are meant.")
    ] = None,
    json: options.Json = False,
) -> int:
    """Check the regions, item by item, and say what mends what is wrong; exit status 1 when a check failed."""
    regions = options.regions(cn, global_, node, least=1)
    wanted = options.mode(mode) if mode else None
    from accountdb.doctor.run import examine

    found = examine(regions, wanted, ignore)
    if json:
        output.say(output.as_json(found))
    else:
        _show(found)
    return 0 if found.healthy else 1


def _show(found: Checkup) -> None:
    width = max((len(one.check) for one in found.findings), default=0)
    for region in (*found.regions, None):
        mine = [one for one in found.findings if one.region == region]
        if mine:
            output.say(f"{region}:" if region else "all regions:")
        for one, following in zip(mine, [*mine[1:], None], strict=True):
            # Several findings that one remedy mends show it once, under the last of them.
            _line(one, width, hints=following is None or following.remedy != one.remedy)
    counts = ", ".join(f"{count} {level}" for level, count in found.counts.items() if count)
    output.tell(f"{len(found.findings)} checks: {counts}", style="green" if found.healthy else "red")


def _line(one: Finding, width: int, *, hints: bool) -> None:
    why = f": {one.cause}" if one.cause else ""
    output.say(f"  {one.level.value:4}  {one.check:{width}}  {one.found}{why}")
    if hints and (one.level.value in ("warn", "fail") or one.remedy.commands):
        for line in (one.remedy.says, *one.remedy.commands):
            if line:
                output.say(f"        hint: {line}")
