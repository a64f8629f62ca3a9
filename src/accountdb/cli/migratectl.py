"""migratectl: structure, replication and state of account databases in two regions."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import accountdb
from accountdb.cli import conflicts, demo, lab, merge, region, status, structure, table
from accountdb.cli.run import run
from accountdb.render import output

app = typer.Typer(
    help="Keep one account database alive in two PostgreSQL regions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def main_options(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Print the program's version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options of every command. ``--debug`` is read in accountdb.cli.run."""
    if show_version:
        output.say(accountdb.__version__)
        raise typer.Exit(0)


app.command()(structure.migrate)
app.command()(structure.version)
app.command()(structure.verify)
app.command()(structure.reset)
app.command("dump-schema")(structure.dump_schema)
app.command()(region.init)
app.command("create-user")(region.create_user)
app.command()(status.status)
app.command()(merge.merge)
app.command()(merge.purge)
app.command()(demo.demo)
app.add_typer(region.app, name="region")
app.add_typer(conflicts.app, name="conflicts")
app.add_typer(table.app, name="table")
app.add_typer(lab.app, name="lab")


def main() -> None:
    """The console script."""
    sys.exit(run(app, "migratectl"))
