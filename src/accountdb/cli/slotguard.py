"""migratectl region slot-guard: before the log that is kept for a follower who is away fills the disk."""

from __future__ import annotations

from typing import Annotated

import typer

from accountdb.cli import options
from accountdb.errors import UsageError
from accountdb.render import output
from accountdb.setup import slotguard as guards
from accountdb.setup.slotguard import Guarded, Verdict


def slot_guard(
    keep: Annotated[
        str, typer.Option("--keep", metavar="SIZE", help="How much log a follower that is away may hold: 20GB.")
    ],
    dsn: options.Dsn = None,
    disk_free: Annotated[
        str | None,
        typer.Option("--disk-free", metavar="SIZE|P%", help="Act only when less than this of the disk is free."),
    ] = None,
    active: Annotated[
        bool, typer.Option("--active", help="Also a follower that is connected and confirms nothing for 10 s.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Again every 10 seconds, until Ctrl-C.")] = False,
    yes: options.Yes = False,
    json: options.Json = False,
) -> int:
    """Drop the slot of a follower that is away and holds too much log. It needs region resync afterwards.

    Without --yes it says what it would do. Exit status 1 when a slot was dropped, or would have been.
    """
    if watch and json:
        raise UsageError("--json prints one document, and --watch goes on", hint="leave out one of the two")
    target, wanted = options.one(dsn), guards.limits(keep, disk_free, active=active)
    if watch:
        for found in guards.watch(target, wanted, confirmed=yes):
            _tell(found)
    found = guards.guard(target, wanted, confirmed=yes)
    if json:
        output.say(output.as_json({"acted": found.acted, "slots": found.slots, "room": found.room}))
    else:
        _tell(found)
    return 1 if found.acted else 0


def _tell(found: Guarded) -> None:
    if not found.slots:
        output.tell("nobody follows: there are no slots")
    for one in found.slots:
        what = "dropped" if one.dropped else "would be dropped" if one.verdict is Verdict.DROP else "kept"
        output.say(f"slot {one.slot}: {what}: {one.why}")
    if any(one.dropped for one in found.slots):
        output.tell("the follower cannot go on from here, and what it has not got comes with:")
        output.tell("hint: migratectl region resync, on the follower's side, when it is back")
    elif found.acted:
        output.tell("nothing was done: --yes does it; the follower then needs migratectl region resync")
