"""migratectl table: which tables are replicated."""

from __future__ import annotations

from typing import Annotated

import typer

from accountdb.cli import options, report
from accountdb.render import output
from accountdb.setup import table as tables

app = typer.Typer(help="Which tables of public are replicated.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="TABLE", help="A table of public.")]


@app.command()
def add(name: Name, cn: options.CnDsn = None, global_: options.GlobalDsn = None, node: options.Nodes = None) -> int:
    """Bring a table under the row contract, guard it and replicate it. Rows that stand are not copied."""
    report.show(tables.add_table(options.regions(cn, global_, node), name))
    return 0


@app.command()
def remove(name: Name, cn: options.CnDsn = None, global_: options.GlobalDsn = None, node: options.Nodes = None) -> int:
    """Stop replicating a table; its rows and columns stay."""
    report.show(tables.remove_table(options.regions(cn, global_, node), name))
    return 0


@app.command("list")
def list_(
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    node: options.Nodes = None,
    json: options.Json = False,
) -> int:
    """Tables, whether they are replicated, their guards, and what they lack of the row contract."""
    found = tables.list_tables(options.regions(cn, global_, node, least=1))
    if json:
        output.say(output.as_json(found))
        return 0
    rows = [
        (t.region, t.table, "replicated" if t.replicated else "not replicated", t.guard, "; ".join(t.lacks))
        for t in found
    ]
    output.table("tables", ("region", "table", "stream", "guard", "lacks of the row contract"), rows)
    return 0
