"""``migratectl merge --recent``: the healing pass over running streams."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from accountdb.compare.heal import HealReport, heal
from accountdb.pg.connect import connect
from accountdb.replication.drain import run_dry


def heal_regions(regions: Mapping[str, str], *, within_s: float, patience_s: float = 30.0) -> HealReport:
    """Heal two regions, given by name and DSN. Both streams must run: it waits for what they still carry.

    Raises AccountdbError where they do not run dry within ``patience_s``; nothing was written then
    that the next pass would not find as it is.
    """
    with ExitStack() as stack:
        conns = {name: stack.enter_context(connect(dsn, name=f"--{name}")) for name, dsn in regions.items()}
        # Looking at slots is best done by sessions of their own: heal holds transactions open.
        marks = {name: stack.enter_context(connect(dsn, name=f"--{name}")) for name, dsn in regions.items()}
        return heal(conns, lambda: run_dry(marks, within_s=patience_s), within_s=within_s)
