"""Waiting until streams have run dry."""

from __future__ import annotations

import time
from collections.abc import Mapping

from accountdb.compare.session import named
from accountdb.errors import AccountdbError
from accountdb.pg.connect import Connection
from accountdb.sql import block

_FILE = "replication/common.sql"
_STEP_S = 0.05


class NotDryError(AccountdbError):
    """A stream still carried something when the time was over."""


def run_dry(providers: Mapping[str, Connection], *, within_s: float = 30.0) -> None:
    """Return when every follower has confirmed all that its provider has committed by now.

    Raises NotDryError when one does not within ``within_s``, or nobody follows. ``providers`` are
    regions by name.
    """
    deadline = time.monotonic() + within_s
    for name, conn in providers.items():
        with named(name, ""):
            _run_dry(name, conn, within_s, deadline)


def _run_dry(name: str, conn: Connection, within_s: float, deadline: float) -> None:
    # A message of its own: an idle stream confirms nothing until something comes after it.
    row = conn.execute(block(_FILE, "mark")).fetchone()
    conn.commit()
    assert row is not None
    while not _confirmed(conn, row[0]):
        if time.monotonic() > deadline:
            raise NotDryError(
                f"what {name} has written is not applied on the other side within {within_s:g} s",
                hint="migratectl status says why; heal when both streams run",
            )
        time.sleep(_STEP_S)


def _confirmed(conn: Connection, position: str) -> bool:
    row = conn.execute(block(_FILE, "confirmed"), {"position": position}).fetchone()
    conn.commit()
    return bool(row and row[0])
