"""Applying migrations to one region."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence

from accountdb.migrations.files import OWN, shipped
from accountdb.migrations.ledger import Journal, ledger
from accountdb.migrations.locks import all_locked, patiently
from accountdb.migrations.planning import Plan, Step, plan
from accountdb.migrations.steps import Look, Patience, run_apart, run_step
from accountdb.pg import session
from accountdb.pg.connect import Connection


def unseen(conn: Connection) -> None:
    """A look that tells nothing, where no fingerprint is wanted."""


def version(conn: Connection, series: str = OWN) -> int:
    """The applied version of a series; 0 for none."""
    return max((entry.version for entry in ledger(conn) if entry.series == series), default=0)


def plan_for(conn: Connection, to: int | None = None, *, allow_down: bool = False) -> Plan:
    """The plan for this region as it stands, of the package's own files."""
    return plan(ledger(conn), shipped(), to, allow_down=allow_down)


def migrate(conn: Connection, to: int | None = None, *, look: Look = unseen) -> Plan:
    """Bring one region to version ``to`` (None: the newest) of the package's own files, file by file.

    Raises AccountdbError, and then the region stands at the version before the file that failed.
    """
    conn.commit()
    with all_locked({"": conn}):
        found = plan_for(conn, to)
        conn.commit()
        apply(conn, found, look=look)
        return found


def apply(
    conn: Connection,
    planned: Plan,
    *,
    look: Look = unseen,
    patience: Patience | None = None,
    watched: Mapping[str, tuple[str, int]] | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
) -> None:
    """Run the steps of ``planned``, a transaction for each file; the caller holds the migration lock.

    ``on_step`` gets each step once it is committed. ``watched`` as in ``locks.patiently``. Raises
    AccountdbError; all steps before the one that failed are committed and told.
    """
    patience = patience or Patience()
    for step in planned.steps:
        # Each file is committed alone, so each is a run of its own.
        patiently(lambda step=step: _once(conn, step, look, patience), patience, watched or {})  # type: ignore[misc]
        on_step(step)


def _once(conn: Connection, step: Step, look: Look, patience: Patience) -> None:
    journal = Journal(1, uuid.uuid4())
    if not step.script.together:
        run_apart(conn, step, journal, look, patience)
        return
    try:
        together(conn, [step], journal, look, patience)
        conn.commit()
    except BaseException:
        if not conn.broken:
            conn.rollback()
        raise


def together(conn: Connection, steps: Sequence[Step], journal: Journal, look: Look, patience: Patience) -> str | None:
    """Run ``steps`` and note them, in the caller's transaction; the fingerprint afterwards."""
    before = look(conn)
    for step in steps:
        seconds = run_step(conn, step, lock_timeout_ms=patience.lock_timeout_ms)
        after = look(conn)
        journal.note(conn, step, seconds, before, after)
        conn.execute("RESET ROLE")
        before = after
    return before


def held(dsn: str, conn: Connection) -> tuple[str, int]:
    """What ``locks.patiently`` watches: the session of ``conn``, which ``dsn`` leads to."""
    session.keep_alive(conn)
    conn.commit()
    return dsn, conn.info.backend_pid
