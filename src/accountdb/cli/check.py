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
) -> int:
    """Compare the structure of two regions or more; exit status 1 when something differs."""
    from accountdb.setup.checking import check as compare

    found = compare(options.regions(cn, global_, node), ignore)
    _show(found, json=json)
    # What mends the differences (--fix-sql, --fix, --apply) begins here, with ``found.structures``.
    return 0 if found.clean else 1


def verify(
    dsn: options.Dsn = None,
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    schema: Annotated[Path | None, typer.Option("--schema", metavar="FILE", help="Another schema than ours.")] = None,
    ignore: Ignore = None,
    json: options.Json = False,
) -> int:
    """Compare the structure with the canonical schema; exit status 1 when something differs."""
    from accountdb.setup.checking import verify as compare

    found = compare(options.some(dsn, cn, global_), schema, ignore)
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
