"""migratectl conflicts: the task list of what replication could not settle alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from accountdb.cli import options
from accountdb.conflicts import reading, resolving
from accountdb.conflicts.listing import Person, Task, listing
from accountdb.conflicts.model import Action, Request
from accountdb.conflicts.regions import Regions, opened
from accountdb.conflicts.showing import Now, Planned, Showing, planned, showing
from accountdb.contract.masking import printable
from accountdb.errors import UsageError
from accountdb.render import output

app = typer.Typer(help="Conflicts that wait for a person, in both regions.", no_args_is_help=True)

_LINES_A_TABLE = 5
_STEPS_SHOWN = 40

Id = Annotated[str, typer.Argument(metavar="ID", help="The conflict, or as much of its id as tells it from others.")]


@app.command("list")
def list_(
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    node: options.Nodes = None,
    every: Annotated[bool, typer.Option("--all", help="Settled ones too.")] = False,
    json: options.Json = False,
) -> int:
    """Open conflicts; exit status 1 when there are any, 3 when a region could not be asked."""
    with opened(options.regions(cn, global_, node, least=1)) as regions:
        found = listing(regions, settled_too=every)
        if json:
            output.say(output.as_json(found))
        elif found.conflicts:
            columns = ("id", "state", "kind", "table", "what happened", "recorded", "kept by", "lost by")
            output.table("conflicts", columns, [_line(task) for task in found.conflicts])
        output.tell(f"open conflicts: {found.open}")
        if found.open:
            output.tell("hint: migratectl conflicts show ID")
        return _status(regions, 1 if found.open else 0)


@app.command()
def show(
    conflict_id: Id,
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    node: options.Nodes = None,
    json: options.Json = False,
) -> int:
    """One conflict: both rows, what hangs on each now, and what each way of resolving would do."""
    with opened(options.regions(cn, global_, node, least=1)) as regions:
        found = showing(regions, reading.find(regions, conflict_id))
        if json:
            output.say(output.as_json(found))
        else:
            _show(found)
        return _status(regions, 0)


@app.command()
def resolve(
    conflict_id: Id,
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    node: options.Nodes = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="COLUMN=VALUE", help="Give the row this value; nothing after = is NULL."),
    ] = None,
    merge_accounts: Annotated[
        bool, typer.Option("--merge-accounts", help="Move all that hangs on the loser to the winner, delete the loser.")
    ] = False,
    dismiss: Annotated[bool, typer.Option("--dismiss", help="Leave the rows as they are.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be written, write nothing.")] = False,
    json: options.Json = False,
) -> int:
    """Close a conflict in every region, by one ordinary write that is replicated."""
    request = _request(set_, merge=merge_accounts, dismiss=dismiss)
    with opened(options.regions(cn, global_, node, least=1)) as regions:
        conflict = reading.find(regions, conflict_id)
        if not conflict.open:
            settled = Planned(conflict.id, "none", "", False, "settled already", (), (), (), dict(regions.silent))
            if json:
                output.say(output.as_json(settled))
            output.tell(f"conflict {conflict.id} is settled already{_how(conflict.resolutions)}; nothing was written")
            return 0
        agreed = resolving.plan(regions, conflict, request)
        if not plan:
            resolving.apply(regions, agreed)
        found = planned(regions, agreed, applied=not plan)
        if json:
            output.say(output.as_json(found))
        else:
            _show_plan(found)
        for name, reason in regions.silent.items():
            output.tell(f"warning: {reason}; {name} learns this by replication", style="yellow")
        return 0


def _request(sets: list[str] | None, *, merge: bool, dismiss: bool) -> Request:
    if bool(sets) + merge + dismiss != 1:
        raise UsageError("one of --set COLUMN=VALUE, --merge-accounts and --dismiss is needed, and only one")
    if merge or dismiss:
        return Request(Action.MERGE if merge else Action.DISMISS)
    values: list[tuple[str, str | None]] = []
    for entry in sets or ():
        name, separator, value = entry.partition("=")
        if not separator or not name:
            raise UsageError("--set takes COLUMN=VALUE", hint="--set email=name@example.com")
        values.append((name, value or None))
    return Request(Action.SET, tuple(values))


def _status(regions: Regions, status: int) -> int:
    for reason in regions.silent.values():
        output.tell(f"error: {reason}", style="red")
    return 3 if regions.silent else status


def _line(task: Task) -> tuple[str, ...]:
    state = "open" if task.open else "settled"
    when = ", ".join(f"{s.region} {_time(s.recorded_at)}" for s in task.recorded)
    return task.short, state, task.words, task.table, task.sentence, when, _who(task.winner), _who(task.loser)


def _who(person: Person | None) -> str:
    if person is None:
        return "-"
    created = _time(datetime.fromisoformat(person.created_at)) if person.created_at else "at an unknown time"
    return f"{person.label}, {created} {printable(person.origin_node or '')}"


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _how(resolutions: Any) -> str:
    found = [f"{r.action} by {r.resolved_by} on {r.node} at {_time(r.resolved_at)}" for r in resolutions]
    return f" ({printable('; '.join(found))})" if found else ""


def _show(found: Showing) -> None:
    task = found.task
    output.say(f"conflict {task.id}: {task.words}, {'open' if task.open else 'settled'}{_how(task.resolutions)}")
    output.say(f"{task.table}: {task.sentence}")
    output.say(f"decided by {found.rule}{f' ({found.detail})' if found.detail else ''}")
    for seen in task.recorded:
        output.say(f"recorded in {seen.region} ({seen.node}) {_time(seen.recorded_at)}")
    for title, person in (("keeps", task.winner), ("lost", task.loser)):
        if person is not None:
            output.say(f"{title}: {_who(person)}, {person.uuid}")
    _show_rows(found)
    for title, states in (("keeps", found.winner_now), ("lost", found.loser_now)):
        for now in states:
            _show_now(title, now, found)
    for way in found.ways:
        output.say(f"{way.option}: {'' if way.possible else 'not possible: '}{way.effect}")
    if found.ways:
        output.tell(f"hint: migratectl conflicts resolve {task.short} OPTION --plan shows the writes")


def _show_rows(found: Showing) -> None:
    winner, loser = found.winner or {}, found.loser or {}
    lines = [
        (name, _text(winner, name), _text(loser, name), "differs" if name in found.differs else "")
        for name in dict.fromkeys([*winner, *loser])
    ]
    output.table("both rows, as they were", ("column", "keeps", "lost", ""), lines)


def _text(row: dict[str, Any], name: str) -> str:
    if name not in row:
        return "-"
    value = row[name]
    return "NULL" if value is None else printable(value if isinstance(value, str) else output.as_json(value))


def _show_now(title: str, now: Now, found: Showing) -> None:
    if now.row is None:
        output.say(f"now in {now.region}, {title}: {now.gone}")
        return
    facts = ", ".join(f"{name} {_text(now.row, name)}" for name in (*found.task.value, "version") if name in now.row)
    counts = ", ".join(f"{h.table} {h.count}" for h in now.hanging)
    output.say(f"now in {now.region}, {title}: {facts}{f'; on it: {counts}' if counts else ''}")
    for hanging in now.hanging:
        for row in hanging.rows[:_LINES_A_TABLE]:
            shown = ", ".join(f"{name} {_text(row or {}, name)}" for name in row or {} if name not in _NOT_TOLD)
            output.say(f"  {hanging.table}: {shown}")
        if hanging.count > _LINES_A_TABLE:
            output.say(f"  {hanging.table}: and {hanging.count - _LINES_A_TABLE} more")


_NOT_TOLD = ("uuid", "user_uuid", "updated_at", "version", "origin_node", "meta")


def _show_plan(found: Planned) -> None:
    for step in found.steps[:_STEPS_SHOWN]:
        values = ", ".join(f"{name} = {_text(step.values, name)}" for name in step.values)
        output.say(f"{step.write} {step.table} {step.label} ({step.uuid}) {step.why}{f': {values}' if values else ''}")
    if len(found.steps) > _STEPS_SHOWN:
        output.say(f"and {len(found.steps) - _STEPS_SHOWN} more writes; --json shows all")
    for closed in found.closes:
        output.say(f"{'closed' if found.applied else 'closes'} conflict {closed}")
    for left in found.remains:
        output.say(f"stays open: conflict {left}")
    done = f"written in {found.region}, replication carries it on" if found.applied else "planned, nothing was written"
    output.tell(f"{done}: {found.summary}")
