"""What goes on, or should: open transactions, conflicts, merges, pgsync's capture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg import sql

from accountdb.doctor.hints import on_all, on_one, psql
from accountdb.doctor.model import listed
from accountdb.doctor.region import FILE, Here, Subject
from accountdb.health.advice import Finding, Remedy
from accountdb.pg.connect import Connection
from accountdb.replication.model import Mode
from accountdb.sql import block
from accountdb.sync.capture import captured

LONG_S = 600.0
_HEALED_S = 24 * 3600.0


def _transactions(conn: Connection, here: Here) -> Iterator[Finding]:
    rows = conn.execute(block(FILE, "transactions"), {"seconds": LONG_S}).fetchall()
    for pid, user, application, state, seconds in rows:
        text = f"process {pid} of {user or 'somebody'} ({application or 'unnamed'}), {state}, for {_period(seconds)}"
        cause = "its locks hold up what is applied, and its age the log that slots keep"
        remedy = Remedy("have the application end it; or", psql(here.name, f"SELECT pg_terminate_backend({pid})"))
        yield here.look.warn("transaction", text, str(pid), cause, remedy)
    if not here.sees_all:
        yield here.look.unseen("transaction", f"role {here.facts.role.name} does not see the sessions of other roles")
    elif not rows:
        yield here.look.passed("transaction", "none is open for long")


def _prepared(conn: Connection, here: Here) -> Iterator[Finding]:
    rows = conn.execute(block(FILE, "prepared"), {"seconds": LONG_S}).fetchall()
    for gid, owner, database, seconds in rows:
        name = sql.Literal(gid).as_string()
        text = f"prepared transaction {name} of {owner} in database {database}, for {_period(seconds)}"
        says = f"its coordinator knows which: in {database}, COMMIT PREPARED {name} or ROLLBACK PREPARED {name}"
        cause = "it keeps its locks and is sent to no follower until then"
        yield here.look.warn("prepared_transaction", text, str(gid), cause, Remedy(says))
    if not rows:
        yield here.look.passed("prepared_transaction", "none")


def _conflicts(conn: Connection, here: Here) -> Iterator[Finding]:
    if not here.prepared:
        return
    may = conn.execute(block(FILE, "may_count")).fetchone()
    if not (may and may[0]):
        yield here.look.unseen("conflict", f"role {here.facts.role.name} may not call accountdb.conflict_counts()")
        return
    waiting, recorded = conn.execute(block(FILE, "conflicts")).fetchone() or (0, 0)
    if waiting:
        text = f"{waiting} open of {recorded}: a person has to decide"
        yield here.look.warn("conflict", text, remedy=Remedy("", on_all(here.everyone, "conflicts list")))
    else:
        yield here.look.passed("conflict", f"none open, {recorded} on record")


def _healing(conn: Connection, here: Here) -> Iterator[Finding]:
    if not here.joined:
        return
    may = conn.execute(block(FILE, "may_read_runs")).fetchone()
    if not (may and may[0]):
        yield here.look.unseen("healing", f"role {here.facts.role.name} may not read accountdb.last_run")
        return
    runs = conn.execute(block(FILE, "runs")).fetchall()
    yield judge_runs(here, [(str(kind), equal, float(age)) for kind, _, equal, age in runs])


def judge_runs(here: Here, runs: Sequence[tuple[str, bool | None, float]]) -> Finding:
    """Kind, whether all was equal, and age in seconds of what ran last. Pure."""
    recent = on_all(here.everyone, "merge --recent")
    if not runs:
        remedy = Remedy("and put merge --recent into cron", on_all(here.everyone, "merge"))
        return here.look.warn("healing", "no merge has ever run here", remedy=remedy)
    kind, equal, age = min(runs, key=lambda run: run[2])
    text = f"the last one ({kind}) ended {_period(age)} ago"
    if equal is False:
        remedy = Remedy("", on_all(here.everyone, "merge"))
        return here.look.warn("healing", f"{text} and left rows different", remedy=remedy)
    if age > _HEALED_S:
        return here.look.warn("healing", text, cause="merge --recent looks back one day", remedy=Remedy("", recent))
    return here.look.passed("healing", text)


def _capture(conn: Connection, here: Here) -> Iterator[Finding]:
    if here.mode is not Mode.PGSYNC or not here.prepared:
        return
    tables = [table for table in here.tables if table.primary_key]
    logged = captured(conn, tables)
    left = [table.name for table in tables if (table.schema, table.name) not in logged]
    if left:
        text = f"{listed(left)}: not logged"
        cause = "where this region is a source, each pass reads the whole table"
        remedy = Remedy("", (on_one(here.name, "init --mode pgsync"),))
        yield here.look.info("capture", text, cause=cause, remedy=remedy)
    else:
        yield here.look.passed("capture", f"{len(tables)} tables")


def _period(value: object) -> str:
    seconds = float(str(value))
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


SUBJECTS: tuple[tuple[str, Subject], ...] = (
    ("transaction", _transactions),
    ("prepared_transaction", _prepared),
    ("conflict", _conflicts),
    ("healing", _healing),
    ("capture", _capture),
)
"""Each with the check that stands for it where the server refuses to answer."""
