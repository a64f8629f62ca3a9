"""``pgsync --install-capture``: what a job's databases need so that its passes are quick, or possible at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from accountdb.catalog.tables import Table, read_tables
from accountdb.compare.session import named
from accountdb.contract.row_contract import candidates, violations
from accountdb.errors import Refused, UsageError
from accountdb.guards import install as guards
from accountdb.pg import session
from accountdb.pg.connect import Connection, connect
from accountdb.sync import capture
from accountdb.sync.config import Job, Policy
from accountdb.sync.mergeable import LEDGERS
from accountdb.sync.model import DESTINATION, SOURCE


@dataclass(frozen=True)
class Installed:
    """One thing on one table of one side; ``new``: it was not there before, or not as it is now."""

    side: str
    what: str
    table: str
    new: bool

    def __str__(self) -> str:
        return f"{self.what} of {self.table} at the {self.side}"


def install(job: Job) -> Iterator[Installed]:
    """Capture at the source; for policy merge guards and capture on both sides. Each side is one transaction.

    Raises UsageError for tables that are not there, Refused for a role that does not own them.
    """
    sides = {SOURCE: job.source.dsn}
    if job.policy is Policy.MERGE:
        sides[DESTINATION] = job.destination.dsn
    for side, dsn in sides.items():
        with connect(dsn, name=side, application="pgsync") as conn, named(side, dsn):
            known = read_tables(conn, job.schema_name)
            tables = [table for table in known if table.name in job.tables]
            if missing := [name for name in job.tables if name not in {table.name for table in tables}]:
                raise UsageError(f"{side} has no table {', '.join(missing)}", hint="mend the job file")
            found = []
            if job.policy is Policy.MERGE:
                found += _guards(side, conn, known, tables)
                tables += _ledgers(side, conn)
                # The log of an administrator's would be nobody else's.
                session.act_as_owner(conn)
            new = capture.install(conn, tables)
            found += [Installed(side, "capture", f"{t.schema}.{t.name}", t in new) for t in tables]
        yield from found


def _guards(side: str, conn: Connection, known: Sequence[Table], tables: Sequence[Table]) -> list[Installed]:
    """All tables under the row contract: a guard leans on those of its parents and children."""
    unfit = [f"{table.name}: {'; '.join(violations(table))}" for table in tables if violations(table)]
    if unfit:
        raise Refused(f"{side}: not under the row contract: {', '.join(unfit)}", hint="migratectl init --mode pgsync")
    ready = [table for table in candidates(known) if not violations(table)]
    new = {guard.table for guard in guards.install(conn, ready)}
    return [Installed(side, "guard", f"{t.schema}.{t.name}", t.name in new) for t in ready]


def _ledgers(side: str, conn: Connection) -> list[Table]:
    found = [table for table in read_tables(conn, "accountdb") if table.name in LEDGERS]
    if len(found) < len(LEDGERS):
        raise Refused(f"{side} keeps no tombstones yet", hint="migratectl init --mode pgsync --node NAME")
    return found
