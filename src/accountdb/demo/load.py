"""The load: what an account service does in one region, as transactions of an ordinary role."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from uuid import UUID

from psycopg.types.json import Jsonb

from accountdb.demo.accounts import Accounts
from accountdb.pg.connect import Connection, connect
from accountdb.sql import block

_FILE = "demo.sql"
_REMEMBERED = 2000


class Writer:
    """Writes in one region. Rows that both regions touch are the hot users; nothing else collides."""

    def __init__(self, region: str, dsn: str, seed: int = 0) -> None:
        """Writes through ``dsn``, an ordinary role that may write the account tables."""
        self.region = region
        self._dsn = dsn
        self._accounts = Accounts(region, seed)
        self._random = random.Random(f"{region}/{seed}/load")
        self._users: list[UUID] = []
        self._sessions: list[UUID] = []
        self.hot: Sequence[UUID] = ()
        self.transactions = 0

    @property
    def users(self) -> Sequence[UUID]:
        """The newest users that this writer registered."""
        return tuple(self._users)

    def register(self, count: int) -> None:
        """Register ``count`` accounts, one transaction each."""
        with connect(self._dsn, application="accountdb demo") as conn:
            for _ in range(count):
                self._register(conn)

    def run(self, stop: threading.Event, per_second: float) -> None:
        """Write a mix of everything until ``stop``, at about ``per_second`` transactions a second."""
        pause = 1.0 / per_second
        due = time.monotonic()
        with connect(self._dsn, application="accountdb demo") as conn:
            while not stop.is_set():
                self._one(conn)
                due += pause
                stop.wait(max(0.0, due - time.monotonic()))

    def _one(self, conn: Connection) -> None:
        dice = self._random.random()
        if dice < 0.45:
            self._edit(conn, self.hot)
        elif dice < 0.60:
            self._edit(conn, self._users)
        elif dice < 0.80:
            self._register(conn)
        elif dice < 0.90:
            self._session(conn)
        else:
            self._setting(conn)
        conn.commit()
        self.transactions += 1

    def _register(self, conn: Connection) -> None:
        account = self._accounts.next()
        row = conn.execute(
            block(_FILE, "register"),
            {
                "username": account.username,
                "email": account.email,
                "password": account.password,
                "level": account.level,
                "groups": Jsonb(list(account.groups)),
                "verified_at": account.verified_at,
            },
        ).fetchone()
        assert row is not None
        user: UUID = row[0]
        values = {"user": user, "provider": account.provider, "external_id": account.external_id}
        conn.execute(block(_FILE, "identity"), values)
        self._sign_in(conn, user, account.token)
        if account.plan:
            conn.execute(block(_FILE, "subscription"), {**values, "plan": account.plan})
        conn.commit()
        self._users.append(user)
        del self._users[:-_REMEMBERED]

    def _sign_in(self, conn: Connection, user: UUID, token: str) -> None:
        row = conn.execute(block(_FILE, "session"), {"user": user, "token": token}).fetchone()
        assert row is not None
        self._sessions.append(row[0])
        del self._sessions[:-_REMEMBERED]

    def _edit(self, conn: Connection, users: Sequence[UUID]) -> None:
        if users:
            edit = {
                "user": self._random.choice(users),
                "level": self._random.randint(1, 99),
                "groups": Jsonb([self.region, self._random.choice(("值班", "beta", "ops"))]),
                "role": self._random.choice(("user", "admin", "operator")),
            }
            conn.execute(block(_FILE, "edit"), edit)

    def _session(self, conn: Connection) -> None:
        if self._sessions and self._random.random() < 0.5:
            conn.execute(block(_FILE, "renew"), {"session": self._random.choice(self._sessions)})
        elif self._sessions:
            gone = self._sessions.pop(self._random.randrange(len(self._sessions)))
            conn.execute(block(_FILE, "sign_out"), {"session": gone})
        elif self._users:
            self._sign_in(conn, self._random.choice(self._users), f"{self.region}.{self._random.getrandbits(160):040x}")

    def _setting(self, conn: Connection) -> None:
        setting = {"module": f"{self.region}.{self._random.randint(1, 20)}", "role": "admin"}
        conn.execute(block(_FILE, "setting"), setting)


class Load:
    """Several writers at once, in threads. A writer that fails stops all, and ``stop`` raises its error."""

    def __init__(self, writers: Sequence[Writer], per_second: float) -> None:
        """``per_second`` is the pace of each writer."""
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._run, args=(writer, per_second), daemon=True) for writer in writers
        ]

    def start(self) -> None:
        """Begin to write."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop after the transactions that run, and raise what went wrong."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._error is not None:
            raise self._error

    def _run(self, writer: Writer, per_second: float) -> None:
        try:
            writer.run(self._stop, per_second)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that calls stop()
            self._error = error
            self._stop.set()
