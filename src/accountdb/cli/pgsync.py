"""pgsync: one-way sync with ordinary rights, one pass or many."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from accountdb.cli.run import run
from accountdb.errors import AccountdbError, UsageError
from accountdb.render import output
from accountdb.render.progress import meter
from accountdb.sync.config import Job, Policy, load
from accountdb.sync.installing import install
from accountdb.sync.limit import DEFAULT, parse
from accountdb.sync.metrics import text, write
from accountdb.sync.model import PassOptions, Receipt
from accountdb.sync.passes import run_pass

# As for a side that was lost: run it again.
_STOPPED = 3

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def sync(
    config: Annotated[Path, typer.Option("--config", metavar="FILE", help="The job file.")],
    once: Annotated[bool, typer.Option("--once", help="Full initialisation: compare everything, then exit.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, one pass every poll_interval, until SIGTERM.")] = False,
    job: Annotated[
        list[str] | None, typer.Option("--job", metavar="NAME", help="Only this job; may be repeated.")
    ] = None,
    table: Annotated[
        list[str] | None, typer.Option("--table", metavar="NAME", help="Only this table; may be repeated.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count exactly what a pass would do, keep nothing.")
    ] = False,
    verify: Annotated[bool, typer.Option("--verify", help="After the pass, prove that both sides are equal.")] = False,
    max_delete: Annotated[
        str, typer.Option("--max-delete", metavar="N|P%", help="The most rows of a table that a pass may delete.")
    ] = str(DEFAULT),
    install_capture: Annotated[
        bool, typer.Option("--install-capture", help="Have the sources log their changes, then exit.")
    ] = False,
    metrics_file: Annotated[
        Path | None,
        typer.Option("--metrics-file", metavar="FILE", help="Write the last passes there as Prometheus text."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document for each pass, on a line of its own.")
    ] = False,
) -> int:
    """One incremental pass, then exit: what cron runs. A pass that is still running: says so, exit 0."""
    if watch and (once or dry_run):
        raise UsageError("--watch makes pass after pass; --once and --dry-run are one", hint="leave one of them out")
    limit = parse(max_delete)
    jobs = _chosen(load(config).jobs, job or [], table or [])
    if install_capture:
        return _install(jobs)
    round_ = _Round(jobs, PassOptions(once, dry_run, verify, limit), tuple(table or ()), metrics_file, json)
    _stop_gently(round_.stop)
    while True:
        status = round_.run()
        if not watch:
            return status
        if round_.stop.is_set():
            return 0
        round_.stop.wait(max(min(round_.due.values()) - time.monotonic(), 0))


@dataclass
class _Round:
    """The jobs, each with the moment at which its next pass is due, and what came of its last one."""

    jobs: Mapping[str, Job]
    options: PassOptions
    tables: tuple[str, ...]
    metrics_file: Path | None
    json: bool
    stop: threading.Event = field(default_factory=threading.Event)
    due: dict[str, float] = field(default_factory=dict)
    receipts: dict[str, Receipt] = field(default_factory=dict)

    def run(self) -> int:
        """A pass of each job that is due. One that fails does not keep the others from theirs."""
        status = 0
        for name, job in self.jobs.items():
            if self.stop.is_set():
                output.tell(f"job {name}: stopped before it began")
                status = max(status, _STOPPED)
                continue
            if time.monotonic() < self.due.get(name, 0.0):
                continue
            try:
                status = max(status, self._pass(name, job))
            except AccountdbError as error:
                output.tell(f"error: {error.message}", style="red")
                if error.hint:
                    output.tell(f"hint: {error.hint}")
                status = max(status, error.exit_status)
            self.due[name] = time.monotonic() + job.poll_interval
        return status

    def _pass(self, name: str, job: Job) -> int:
        options = replace(self.options, tables=tuple(table for table in self.tables if table in job.tables))
        with meter() as progress:
            receipt = run_pass(name, job, options, progress, self.stop.is_set)
        if receipt is None:
            output.tell(f"{_now()} job {name}: another pass is at work, nothing to do here")
            return 0
        for one in receipt.installed:
            output.tell(f"job {name}: {one} installed")
        self._tell(receipt)
        if receipt.left:
            # Not a pass that monitoring may take for one.
            output.tell(f"job {name}: stopped before {', '.join(receipt.left)}", style="red")
            output.tell("hint: what was committed is whole, and the next pass goes on")
            return _STOPPED
        if self.metrics_file and not receipt.dry_run:
            self.receipts[name] = receipt
            write(self.metrics_file, text(self.receipts, time.time()))
        if receipt.verified is False:
            output.tell("the sides differ", style="red")
            return 1
        return 0

    def _tell(self, receipt: Receipt) -> None:
        if self.json:
            # A line for each pass: there are many of them in a log.
            output.say(output.as_json({one.name: getattr(receipt, one.name) for one in fields(receipt)}, indent=None))
        else:
            output.say(_line(receipt))


def _stop_gently(stop: threading.Event) -> None:
    """Not in the middle of a transaction: what is under way is finished first. The second time it is not."""

    def asked(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.default_int_handler)
        # Written past the console, which may be in the middle of something; a bar makes room.
        room = b"\r\x1b[2K" if os.isatty(2) else b""
        with suppress(OSError):
            os.write(2, room + b"stopping after this transaction; a second signal stops at once\n")

    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, asked)


def _chosen(jobs: Mapping[str, Job], names: list[str], tables: list[str]) -> dict[str, Job]:
    """The jobs that are meant. Raises UsageError for names that the file does not have."""
    if unknown := [name for name in names if name not in jobs]:
        raise UsageError(f"--job {', '.join(unknown)}: no such job", hint=f"the file has {', '.join(jobs)}")
    found = {name: one for name, one in jobs.items() if not names or name in names}
    known = {table for one in found.values() for table in one.tables}
    if unknown := [table for table in tables if table not in known]:
        raise UsageError(
            f"--table {', '.join(unknown)}: no such table", hint=f"the jobs have {', '.join(sorted(known))}"
        )
    return {name: one for name, one in found.items() if not tables or set(tables) & set(one.tables)}


def _install(jobs: Mapping[str, Job]) -> int:
    for name, job in jobs.items():
        for one in install(job):
            state = "installed" if one.new else "was installed"
            output.say(f"{name}: {one} {state}")
    return 0


def _line(receipt: Receipt) -> str:
    """One line a pass, made for a log."""
    totals = {
        what: sum(getattr(counts, what) for counts in receipt.tables.values())
        for what in ("read", "inserted", "updated", "deleted", "unchanged")
    }
    words = [_now(), f"job {receipt.job}:", "full pass" if receipt.full else "pass"]
    words += [f"{count} {what}" + ("," if what != "unchanged" else "") for what, count in totals.items()]
    words.append(f"in {receipt.seconds:.1f} s, lag {receipt.lag_seconds:.1f} s")
    if receipt.dry_run:
        words.append("(dry run, nothing was written)")
    if receipt.left:
        words.append(f"(stopped, {len(receipt.left)} of {len(receipt.left) + len(receipt.tables)} tables are left)")
    if receipt.verified:
        # A merge job brings one way: what the destination has more of is the other job's.
        merged = receipt.policy == Policy.MERGE
        words.append(f"(verified: {'nothing is left to bring' if merged else 'both sides are equal'})")
    return " ".join(words)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def main() -> None:
    """The console script."""
    sys.exit(run(app, "pgsync"))
