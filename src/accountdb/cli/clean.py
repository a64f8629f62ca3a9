"""migratectl clean: what failed runs and regions that left have left behind."""

from __future__ import annotations

from typing import Annotated

import typer

from accountdb.cli import options
from accountdb.errors import AccountdbError
from accountdb.render import output
from accountdb.setup.cleaning import run
from accountdb.setup.cleaning.model import Action, Leftover


def clean(
    dsn: options.Dsn = None,
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    node: options.Nodes = None,
    slot: Annotated[
        list[str] | None,
        typer.Option("--slot", metavar="NAME", help="An inactive replication slot that goes, whoever made it."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed for it.")] = False,
    json: options.Json = False,
) -> int:
    """List invalid indexes and other left-overs; with --yes, remove them. Exit status 1 when some are left.

    Removes no table, column, view or sequence, and no row of yours.
    """
    found = run.clean(
        options.some(dsn, cn, global_, node),
        confirmed=yes,
        slots=tuple(slot or ()),
        on_found=lambda plan: None if json else _show(plan),
        on_outcome=_tell,
    )
    if json:
        output.say(output.as_json(found))
    if found.failed:
        raise AccountdbError(f"{found.failed} could not be removed", hint="migratectl clean lists what is left and why")
    if found.left:
        listed = any(one.action in (Action.REMOVE, Action.ENABLE) and one.result == "listed" for one in found.leftovers)
        way = "--yes does what is listed" if listed else "by hand"
        output.tell(f"{found.left} left-over{'s' if found.left > 1 else ''}, {way}")
    elif all(one.result == "listed" for one in found.leftovers):
        output.tell("nothing to clean")
    return 1 if found.left else 0


def _show(plan: run.Plan) -> None:
    for one in plan.leftovers:
        note = f" ({one.note})" if one.note else ""
        statement = f": {one.statement}" if one.statement else ""
        output.say(_line(f"{_named(one)}: {one.action}: {one.why}{note}{statement}"))
    for what in plan.not_looked_at:
        output.tell(f"not looked at, this role may not: {what}", style="yellow")


def _tell(outcome: run.Outcome) -> None:
    if outcome.error:
        output.tell(_line(f"failed: {_named(outcome.leftover)}: {outcome.error}"), style="red")
    else:
        output.tell(_line(f"{outcome.leftover.action}d: {_named(outcome.leftover)}"))


def _named(one: Leftover) -> str:
    return f"{one.region}: {one.kind} {one.name}" if one.region else f"{one.kind} {one.name}"


def _line(text: str) -> str:
    """``text`` on one line, whatever stands in a name."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
