"""All regions read at the same time, with a deadline that a region which hangs cannot move."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace

import psycopg

from accountdb.errors import AccountdbError, ConnectError
from accountdb.health.model import Reading, Silence
from accountdb.health.reading import log_end, prepare, read
from accountdb.health.restored import unsure
from accountdb.pg import dsn as dsn_of
from accountdb.pg.connect import connect, connect_heard, told

# What a server that does not answer at all costs; with the start of Python it stays under two seconds.
ANSWER_S = 1.1
# A server that has said a word is there: it may take longer, over a slow link.
_PATIENCE_S = 4.0


class _Question(threading.Thread):
    """One region being read. It is left behind when it takes too long: daemon, so that the process can end."""

    def __init__(self, name: str, dsn: str, patience_s: float) -> None:
        super().__init__(name=f"status {name}", daemon=True)
        self.region, self._dsn, self._patience_s = name, dsn, patience_s
        self.heard = threading.Event()
        self.answer: Reading | Silence | None = None

    def run(self) -> None:
        try:
            with connect_heard(
                self._dsn, self.heard, application="accountdb status", timeout_s=self._patience_s
            ) as conn:
                prepare(conn, self._patience_s)
                self.answer = read(self.region, conn)
        except AccountdbError as error:
            self.answer = Silence(self.region, error)
        except psycopg.Error as error:
            self.answer = Silence(self.region, told(error, self._dsn))


def ask(dsns: Mapping[str, str], within_s: float = ANSWER_S) -> dict[str, Reading | Silence]:
    """What each region answers, by name and in order. Never raises for a region; UsageError for an unreadable DSN.

    A region that has not said a word ``within_s`` is silent; one that has may take a few seconds more.
    """
    for name, dsn in dsns.items():
        dsn_of.parse(dsn, name=name)
    began = time.monotonic()
    patience_s = max(_PATIENCE_S, within_s)
    questions = [_Question(name, dsn, patience_s) for name, dsn in dsns.items()]
    for question in questions:
        question.start()
    for question in questions:
        question.join(max(began + within_s - time.monotonic(), 0))
    for question in questions:
        if question.heard.is_set():
            question.join(max(began + patience_s - time.monotonic(), 0))
    spent = time.monotonic() - began
    answers = {q.region: q.answer or _silent(q, dsns[q.region], spent) for q in questions}
    return _looked_again(answers, dsns)


def _looked_again(answers: dict[str, Reading | Silence], dsns: Mapping[str, str]) -> dict[str, Reading | Silence]:
    """The answers, with the ends of logs that were looked at too early read once more."""
    for region in tuple(unsure(answers)):
        answer = answers[region]
        assert isinstance(answer, Reading)
        try:
            with connect(dsns[region], name="", autocommit=True, timeout_s=2, application="accountdb status") as conn:
                prepare(conn, _PATIENCE_S)
                at = time.monotonic()
                answers[region] = replace(answer, log_end=log_end(conn), log_end_at=at)
        except (AccountdbError, psycopg.Error):
            continue  # it was there a moment ago; the next look says what has become of it
    return answers


def _silent(question: _Question, dsn: str, spent: float) -> Silence:
    where = dsn_of.shown(dsn)
    if not question.is_alive():
        return Silence(
            question.region, AccountdbError(f"{where} could not be read: a fault of this program, see above")
        )
    if question.heard.is_set():
        return Silence(question.region, ConnectError(f"{where} does not answer within {spent:.1f} s (timeout)"))
    return Silence(
        question.region,
        ConnectError(
            f"cannot connect to {where}: no answer within {spent:.1f} s (timeout)",
            hint="check that the server runs and the network to it; --timeout SECONDS waits longer",
        ),
    )
