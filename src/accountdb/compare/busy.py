"""Connections at work in threads, so that a long query ends with the comparison that it is for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from accountdb.pg.connect import Connection

_CANCEL_S = 3.0


class Busy:
    """The connections whose queries have to be cancelled where nobody wants their rows any more."""

    def __init__(self) -> None:
        self._conns: set[Connection] = set()

    @contextmanager
    def at_work(self, conn: Connection) -> Iterator[None]:
        """``conn`` runs a query for as long as the block runs."""
        self._conns.add(conn)
        try:
            yield
        finally:
            self._conns.discard(conn)

    def cancel(self) -> None:
        """End what runs. The threads get an error from the server."""
        for conn in tuple(self._conns):
            with suppress(psycopg.Error):
                conn.cancel_safe(timeout=_CANCEL_S)
