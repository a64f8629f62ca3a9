"""Retention: tombstones and settled conflicts go when no late change can need them any more."""

from __future__ import annotations

from dataclasses import dataclass

from accountdb.pg.connect import Connection
from accountdb.sql import block

_FILE = "merge/purge.sql"


@dataclass(frozen=True)
class PurgeReport:
    """How many were, or would be, removed from one region."""

    tombstones: int
    conflicts: int


def purge(conn: Connection, days: float, *, plan: bool) -> PurgeReport:
    """Remove from one region what is older than ``days``; ``plan`` only counts.

    Open conflicts stay, however old. The caller makes sure that every stream has been up since:
    a delete's tombstone has to outlive the oldest change that may still arrive.
    """
    with conn.transaction():
        row = conn.execute(block(_FILE, "count"), {"days": days}).fetchone()
        assert row is not None
        if not plan:
            conn.execute(block(_FILE, "tombstones"), {"days": days})
            conn.execute(block(_FILE, "conflicts"), {"days": days})
    return PurgeReport(*row)
