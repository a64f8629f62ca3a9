"""migratectl check and verify: structure compared, between regions and with a schema."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accountdb.cli import options
from accountdb.render import output

if TYPE_CHECKING:
    from accountdb.drift.findings import Comparison

Ignore = Annotated[
    Path | None, typer.Option("--ignore", metavar="FILE", help="YAML: differences that are meant, each with a reason.")
]


def check(
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    node: options.Nodes = None,
    ignore: Ignore = None,
    json: options.Json = False,
    fix_sql: Annotated[Path | None, typer.Option("--fix-sql", metavar="FILE", help="Write SQL that mends it.")] = None,
    fix: Annotated[str | None, typer.Option("--fix", metavar="REGION", help="The region to mend.")] = None,
    allow: Annotated[list[str] | None, typer.Option("--allow", metavar="WORD", help="data-loss, joined.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Prove the SQL on a scratch server, then run it.")] = False,
    scratch: Annotated[str | None, typer.Option("--scratch", metavar="DSN", help="The server for the proof.")] = None,
) -> int:
    """Compare the structure of two regions or more; exit status 1 when something differs."""
    from accountdb.setup.checking import check as compare

    regions = options.regions(cn, global_, node)
    if not (fix_sql or fix or allow or apply or scratch):
        found = compare(regions, ignore)
        _show(found, json=json)
        return 0 if found.clean else 1
    from accountdb.setup.fixing import mend, wish

    wanted = wish(regions, file=fix_sql, region=fix, allow=allow or (), apply=apply, scratch=scratch)
    found = compare(regions, ignore)
    _show(found, json=json)
    return 0 if mend(found, regions, wanted, output.tell) else 1


def verify(
    dsn: options.Dsn = None,
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    node: options.Nodes = None,
    schema: Annotated[Path | None, typer.Option("--schema", metavar="FILE", help="Another schema than ours.")] = None,
    ignore: Ignore = None,
    json: options.Json = False,
) -> int:
    """Compare the structure with the canonical schema; exit status 1 when something differs."""
    from accountdb.setup.checking import verify as compare

    found = compare(options.some(dsn, cn, global_, node), schema, ignore)
    _show(found, json=json)
    return 0 if found.clean else 1


def _show(found: Comparison, *, json: bool) -> None:
    """The findings on stdout; on stderr what was looked at and what was not."""
    from accountdb.drift import describe

    if json:
        output.say(output.as_json(describe.document(found)))
        return
    for finding in found.findings:
        for line in describe.report(finding, found):
            output.say(line)
    output.tell("\n".join(describe.summary(found)))
