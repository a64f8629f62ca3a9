"""``migratectl diff`` over running streams, and how long to wait for what they carry."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from accountdb.compare.diff import Wait, comparisons, diff_all
from accountdb.compare.model import Finding, Options, TableResult, Watch
from accountdb.compare.session import named, together
from accountdb.pg import session
from accountdb.pg.connect import Connection, connect
from accountdb.replication.drain import NotDryError, run_dry
from accountdb.replication.engine import standing

SETTLE_S = 10.0


def diff_regions(
    regions: Mapping[str, str], options: Options, tell: Callable[[Finding], None], watch: Watch
) -> tuple[TableResult, ...]:
    """Compare two regions or more, given by name and DSN. ``tell`` gets each row that differs.

    Rows that differ are looked at again once the streams have brought what was under way, for
    ``options.settle_s`` seconds at most; None is 10 where there are streams, else 0.
    """
    with comparisons(regions, options) as found, streams(regions) as (joined, wait):
        if options.settle_s is None:
            options = dataclasses.replace(options, settle_s=SETTLE_S if joined else 0.0)
        return diff_all(found, options, wait, tell, watch)


@contextmanager
def streams(regions: Mapping[str, str]) -> Iterator[tuple[bool, Wait]]:
    """Whether the regions follow each other, and how to wait for what they still carry."""
    with ExitStack() as stack:

        def follower(name: str) -> Connection | None:
            conn = stack.enter_context(connect(regions[name], name=f"--{name}", autocommit=True))
            with named(name, regions[name]):
                session.keep_alive(conn)
                return conn if standing(conn).followers else None

        asked = zip(regions, together(follower, regions), strict=True)
        followed = {name: conn for name, conn in asked if conn}

        def wait(seconds: float) -> None:
            if not followed:
                time.sleep(seconds)  # no stream says when it is dry: the time that was asked for
                return
            try:
                run_dry(followed, within_s=seconds)
            except NotDryError:
                return  # a stream that stands still brings nothing more: what differs now, differs

        yield bool(followed), wait
