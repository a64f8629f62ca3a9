"""migratectl export and import: the account tables as a file, and back."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

from accountdb.cli import options
from accountdb.contract.masking import printable
from accountdb.errors import UsageError
from accountdb.render import output
from accountdb.render.progress import meter
from accountdb.snapshot.model import Imported, LeftOut, Reason


def export(
    target: Annotated[
        str, typer.Option("--output", metavar="FILE|-", help="Where to; .gz and .zst pack it. - is stdout.")
    ],
    dsn: options.Dsn = None,
    email: Annotated[
        str | None, typer.Option("--email", metavar="WORD", help="Users whose email has this word, and what is theirs.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option("--format", metavar="yaml|jsonl", help="By FILE's suffix when left out, else yaml.")
    ] = None,
    json: options.Json = False,
) -> int:
    """Write the account tables of one moment to a file."""
    from accountdb.snapshot.export import STDOUT, layout_of
    from accountdb.snapshot.export import export as write

    if json and target == STDOUT:
        raise UsageError("--json and --output - both want stdout", hint="leave one of the two out")
    # Told to end it ends in good order, so that no half a file stays.
    for one in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(one) is signal.SIG_DFL:  # nohup has the second one ignored
            signal.signal(one, lambda number, _: sys.exit(128 + number))
    with meter() as watch:
        done = write(options.one(dsn), target, watch, layout=layout_of(target, layout), email=email)
        watch.clear()
    for name, lacks in done.left_out.items():
        output.tell(
            printable(f"warning: {name} is not under the row contract and was left out: {'; '.join(lacks)}"),
            style="yellow",
        )
    if json:
        output.say(output.as_json(done))
    elif target != STDOUT:
        output.table("", ["table", "rows"], [[printable(name), str(count)] for name, count in done.tables.items()])
    rows = sum(done.tables.values())
    if email is not None and not rows:
        output.tell(f"no user's email has the word {email!r}")
    output.tell(f"{rows} rows, {output.bytes_text(done.bytes)} of {done.layout}, {done.seconds:.1f} s")
    output.tell("the snapshot holds secrets (password hashes, tokens): keep it as safe as the database")
    return 0


def import_(
    file: Annotated[str, typer.Option("--file", metavar="FILE|-", help="What migratectl export wrote. - is stdin.")],
    dsn: options.Dsn = None,
    merge: Annotated[bool, typer.Option("--merge", help="Into tables that hold rows.")] = False,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--merge-strategy",
            metavar="replace|append|timestamp",
            help="What becomes of rows that stand: timestamp (default) goes by the row order.",
        ),
    ] = None,
    allowlist: Annotated[
        list[str] | None,
        typer.Option("--merge-allowlist", metavar="UUID", help="Only this user and what is theirs; repeatable."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything, count it, and take it back.")] = False,
    allow: Annotated[
        list[str] | None, typer.Option("--allow", metavar="edited", help="Take a snapshot that was edited.")
    ] = None,
    json: options.Json = False,
) -> int:
    """Bring a snapshot into the account tables; exit status 1 when rows were left out that a person should look at."""
    from accountdb.snapshot.importing import import_snapshot, strategy_of, users_of
    from accountdb.snapshot.model import ImportOptions

    if unknown := [word for word in allow or () if word != "edited"]:
        raise UsageError(f"--allow {unknown[0]!r} is not known", hint="--allow edited")
    wanted = ImportOptions(strategy_of(strategy, merge=merge), users_of(allowlist or ()), dry_run, bool(allow))
    with meter() as watch:
        done = import_snapshot(options.one(dsn), file, wanted, watch)
        watch.clear()
    if json:
        output.say(output.as_json(done))
    else:
        _tell(done)
    return 1 if done.open else 0


def _tell(done: Imported) -> None:
    columns = ["inserted", "updated", "unchanged", "kept", "left_out"]
    rows = [
        [printable(name), *(str(getattr(counts, column)) for column in columns)] for name, counts in done.tables.items()
    ]
    output.table("", ["table", *(column.replace("_", " ") for column in columns)], rows)
    for name in done.ignored:
        output.tell(f"{printable(name)} is not under the row contract: a snapshot has nothing of it")
    for one in done.left_out:
        output.tell(f"left out: {_why(one)}", style="yellow")
        for uuid, way in one.rows if one.reason is not Reason.DELETED else ():
            output.tell(f"  {printable(one.table)} {uuid}" + (f", which {way} has" if way else ""))
    if any(one.reason is Reason.DELETED for one in done.left_out):
        output.tell("hint: --merge-strategy append brings back what was deleted")
    if done.open:
        output.tell("hint: what was left out is in the snapshot: change what is in its way, and import it again")
    for name, count in done.revived.items():
        output.tell(f"{printable(name)}: {count} deleted here and brought back, in a new life: with a new created_at")
    if done.dry_run:
        output.tell("nothing was written: a dry run")
    elif not done.written:
        output.tell("nothing to do")
    output.tell(f"snapshot of {printable(done.node)}, taken at {printable(done.taken_at)}; {done.seconds:.1f} s")


def _why(one: LeftOut) -> str:
    rows = f"{one.count} row{'s' if one.count > 1 else ''} of {printable(one.table)}"
    more = " (the first of them:)" if one.count > len(one.rows) else ""
    return {
        Reason.DELETED: f"{rows}, deleted here since the snapshot",
        Reason.CLAIMED: f"{rows}, whose value of {printable(one.detail)} another row has{more}",
        Reason.ORPHAN: f"{rows}, of which what {printable(one.detail)} refers to is missing{more}",
        Reason.TRIGGER: f"{rows}, which a trigger of the table did not let in{more}",
    }[one.reason]
