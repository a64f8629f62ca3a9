"""migratectl: structure, replication and state of account databases in two regions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

import accountdb
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


# Command: the module it is in, and its function or, for a group of commands, its app.
COMMANDS = {
    "migrate": ("migrate", "migrate"),
    "version": ("migrate", "version"),
    "verify": ("check", "verify"),
    "check": ("check", "check"),
    "reset": ("structure", "reset"),
    "clean": ("clean", "clean"),
    "dump-schema": ("structure", "dump_schema"),
    "export": ("snapshot", "export"),
    "import": ("snapshot", "import_"),
    "init": ("region", "init"),
    "create-user": ("region", "create_user"),
    "status": ("status", "status"),
    "doctor": ("doctor", "doctor"),
    "heartbeat": ("heartbeat", "heartbeat"),
    "metrics": ("metrics", "metrics"),
    "dashboard": ("dashboard", "dashboard"),
    "diff": ("diff", "diff"),
    "merge": ("merge", "merge"),
    "undo": ("merge", "undo"),
    "purge": ("merge", "purge"),
    "demo": ("demo", "demo"),
    "region": ("region", "app"),
    "unblock": ("unblock", "unblock"),
    "conflicts": ("conflicts", "app"),
    "table": ("table", "app"),
    "lab": ("lab", "app"),
}


def load(arguments: Sequence[str]) -> None:
    """Register the command that ``arguments`` name, else all: what is not run is not imported."""
    named = next((argument for argument in arguments if not argument.startswith("-")), "")
    for command in [named] if named in COMMANDS else COMMANDS:
        module, attribute = COMMANDS[command]
        found = getattr(import_module(f"accountdb.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=command)
        else:
            app.command(command)(found)


def main() -> None:
    """The console script."""
    load(sys.argv[1:])
    sys.exit(run(app, "migratectl"))
