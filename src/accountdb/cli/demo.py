"""migratectl demo: two regions, live on the screen."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from accountdb import lab
from accountdb.cli import options
from accountdb.contract.row_contract import ACCOUNT_TABLES
from accountdb.demo.script import Verdict, play
from accountdb.demo.watch import Picture
from accountdb.errors import UsageError
from accountdb.render import output
from accountdb.replication.model import Mode
from accountdb.setup.ready import make_ready

_LINE_EVERY_S = 2.0


def demo(
    mode: Annotated[str, typer.Option("--mode", metavar="MODE", help="native or pglogical.")] = "native",
    accounts: Annotated[int, typer.Option("--accounts", min=40, help="Accounts to register in each region.")] = 1500,
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="How long each phase of writing lasts.")] = 6.0,
) -> int:
    """Two regions written at once, cut, healed, and found equal or not: the exit status says it too."""
    chosen = options.mode(mode)
    if chosen is Mode.PGSYNC:
        raise UsageError(
            "the demo writes in both regions, mode pgsync follows one", hint="--mode native or --mode pglogical"
        )
    with tempfile.TemporaryDirectory(prefix="accountdb-demo-") as folder:
        with lab.up(
            Path(folder) / "lab", lab.mode_of(chosen.value), owner_pid=os.getpid(), on_progress=output.tell
        ) as pending:
            make_ready(pending.lab, output.tell)
            running = pending.keep()
        try:
            with _Screen() as screen:
                verdict = play(running, screen.show, accounts=accounts, seconds=seconds)
        finally:
            running.down()
    _tell(verdict)
    return 0 if verdict.equal else 1


class _Screen:
    """A live table on a terminal; in a pipe a line when the phase changes and every 2 seconds."""

    def __init__(self) -> None:
        self._console = output.stdout()
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._phase = ""
        self._told = 0.0

    def __enter__(self) -> _Screen:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, picture: Picture) -> None:
        if self._live:
            self._live.update(_drawn(picture), refresh=True)
            return
        if picture.phase != self._phase:
            self._console.print(picture.phase)
        elif time.monotonic() - self._told < _LINE_EVERY_S:
            return
        self._phase, self._told = picture.phase, time.monotonic()
        self._console.print(f"  {_line(picture)}")


def _drawn(picture: Picture) -> Group:
    table = Table("table", title_justify="left")
    for title in ("CN rows", "Global rows", "CN hash", "Global hash", ""):
        table.add_column(title, justify="right")
    cn, global_ = picture.content["cn"], picture.content["global"]
    for name in ACCOUNT_TABLES:
        a, b = cn[name], global_[name]
        verdict = Text("equal", style="green") if a == b else Text("differs", style="yellow")
        table.add_row(name, str(a.rows), str(b.rows), a.digest, b.digest, verdict)
    streams = Table("stream", "state")
    for title in ("lag", "seconds"):
        streams.add_column(title, justify="right")
    for region in picture.status.regions:
        for stream in region.streams:
            color = "green" if stream.state == "replicating" else "red"
            streams.add_row(
                f"{region.name}: {stream.subscription}",
                Text(stream.state, style=color),
                output.bytes_text(stream.lag_bytes),
                output.seconds_text(stream.lag_seconds),
            )
    heading = Text.assemble((picture.phase, "bold"), f"   link {picture.link}")
    return Group(heading, table, streams)


def _line(picture: Picture) -> str:
    cn, global_ = picture.content["cn"], picture.content["global"]
    tables = ", ".join(
        f"{name} {cn[name].rows}={global_[name].rows}"
        if cn[name] == global_[name]
        else f"{name} {cn[name].rows}/{global_[name].rows}"
        for name in ACCOUNT_TABLES
    )
    streams = ", ".join(
        f"{stream.subscription} {stream.state} {output.bytes_text(stream.lag_bytes)}"
        for region in picture.status.regions
        for stream in region.streams
    )
    return f"link {picture.link}; {tables}; {streams}"


def _tell(verdict: Verdict) -> None:
    for name in ACCOUNT_TABLES:
        a, b = verdict.picture.content["cn"][name], verdict.picture.content["global"][name]
        output.say(f"{name}: CN {a.rows} rows {a.digest}, Global {b.rows} rows {b.digest}")
    conflicts = ", ".join(f"{count} in {name}" for name, count in verdict.conflicts.items())
    output.say(f"{verdict.transactions} mixed transactions; changes that lost, all on record: {conflicts}")
    if verdict.equal:
        output.say(f"EQUAL: both regions hold the same accounts, {verdict.seconds_to_equal:.1f} s after the last write")
        return
    output.say(f"NOT EQUAL: {', '.join(verdict.picture.different) or 'no table differs, but a stream is not running'}")
    for region in verdict.picture.status.regions:
        for finding in region.findings:
            output.tell(f"finding: {finding}")
