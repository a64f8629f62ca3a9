"""migratectl unblock: why a stream stands still, and the ways past it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accountdb.cli import options
from accountdb.contract.masking import printable
from accountdb.errors import UsageError
from accountdb.render import output
from accountdb.setup.unblocking.looking import Look, ShownTransaction
from accountdb.setup.unblocking.run import Done, Request, Way
from accountdb.setup.unblocking.run import unblock as run

_LONGEST = 60


def unblock(
    dsn: options.Dsn = None,
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    node: options.Nodes = None,
    subscription: options.Subscription = None,
    provider_dsn: Annotated[
        str | None,
        typer.Option(
            "--provider-dsn",
            envvar="PROVIDER_DSN",
            metavar="DSN",
            help="How the provider is reached; the subscription's own when left out, for an administrator.",
        ),
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="The cause is mended: try again at once.")] = False,
    park: Annotated[
        bool, typer.Option("--park", help="Apply what goes in, keep the rows that do not as open conflicts.")
    ] = False,
    skip: Annotated[
        bool, typer.Option("--skip", help="Apply none of the transaction, keep its rows as open conflicts.")
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="FILE", help="Where --park and --skip keep the transaction first; has secrets."),
    ] = None,
    yes: options.Yes = False,
    json: options.Json = False,
) -> int:
    """Show why a stream stands still and at which rows; with a way named, get past it. Without one nothing is written.

    Exit status 0: nothing is blocked, or not any more; 1: something is.
    """
    ways = [way for way, wanted in ((Way.RETRY, retry), (Way.PARK, park), (Way.SKIP, skip)) if wanted]
    if len(ways) > 1:
        raise UsageError(f"--{ways[0]} and --{ways[1]} exclude each other", hint="one way at a time")
    regions = options.some(dsn, cn, global_, node)
    found = run(regions, Request(subscription, ways[0] if ways else None, save, yes), provider_dsn)
    if json:
        output.say(output.as_json(found))
    else:
        for done in found.subscriptions:
            _tell(done)
    return 1 if found.blocked else 0


def _tell(done: Done) -> None:
    if done.way is None or not done.before.blocked:
        _tell_look(done.before)
        return
    name = f"{done.before.region}: {done.before.subscription}"
    if done.saved:
        output.tell(f"{name}: the transaction is kept in {done.saved}; the file holds secrets")
        left = f", {done.unrecorded} in the file only" if done.unrecorded else ""
        output.say(f"{name}: {done.applied} changes applied, {done.recorded} kept as open conflicts{left}")
        if done.recorded:
            output.tell("hint: migratectl conflicts list")
    if done.after is not None:
        _tell_look(done.after)


def _tell_look(look: Look) -> None:
    name = f"{look.region}: {look.subscription}"
    if not look.blocked:
        output.say(f"{name}: {look.state}, not blocked")
        for note in look.notes:
            output.tell(note)
        return
    output.say(f"{name}: {look.state}, stands still")
    if look.cause:
        output.say(f"  cause: {look.cause}")
    if look.transaction:
        _tell_transaction(look.transaction)
    for note in look.notes:
        output.say(f"  note: {note}")
    for way, does in look.ways.items():
        output.say(f"  {way}: {does}")
    for command in look.commands:
        output.tell(f"hint: {command}")


def _tell_transaction(found: ShownTransaction) -> None:
    changes = "1 change" if found.count == 1 else f"{found.count} changes"
    output.say(
        f"  at transaction {found.xid} of the provider, finished at {found.finished}, committed {found.committed_at},"
        f" {changes}"
    )
    for change in found.changes:
        uuid = f" ({change.uuid})" if change.uuid else ""
        output.say(f"  {change.number}. {change.operation} {change.table} {change.label}{uuid}")
        if change.fails:
            row = ", ".join(f"{name} {_short(value)}" for name, value in change.row.items() if value is not None)
            output.say(f"     fails here: {change.fails}")
            output.say(f"     {row}")
    if found.count > len(found.changes):
        output.say(f"  and {found.count - len(found.changes)} more")


def _short(value: object) -> str:
    """One value on one line, as far as it fits; --json has all of it."""
    text = printable(str(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
