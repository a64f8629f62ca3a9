"""``migratectl import``: a snapshot into the account tables, in one transaction."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from uuid import UUID

import psycopg
from psycopg import sql

from accountdb.compare import session as comparing
from accountdb.compare.model import Watch
from accountdb.compare.session import named
from accountdb.contract.masking import printable
from accountdb.errors import AccountdbError, Refused, UsageError
from accountdb.pg.connect import Connection, connect, told
from accountdb.snapshot.jsonl import JsonlReader
from accountdb.snapshot.judging import Judging, read_policy
from accountdb.snapshot.layout import Reader
from accountdb.snapshot.model import Counts, Header, Imported, ImportOptions, LeftOut, Reason, Strategy
from accountdb.snapshot.origin import Lines, origin
from accountdb.snapshot.staging import FILE, Staged
from accountdb.snapshot.structure import Structure, check_same, read_structure
from accountdb.snapshot.writing import Writing
from accountdb.snapshot.yaml import YamlReader
from accountdb.sql import block

_NAME = "--dsn"
_MOST = 20
_LOCK_WAIT_S = 30
_LEFT_OUT = tuple(Reason)


def strategy_of(text: str | None, *, merge: bool) -> Strategy | None:
    """What ``--merge`` and ``--merge-strategy`` mean together; None: no merge. Raises UsageError."""
    if text is None:
        return Strategy.TIMESTAMP if merge else None
    if not merge:
        raise UsageError("--merge-strategy without --merge", hint="add --merge")
    try:
        return Strategy(text)
    except ValueError:
        raise UsageError(f"unknown strategy {text!r}", hint=f"one of {', '.join(Strategy)}") from None


def users_of(texts: Sequence[str]) -> tuple[str, ...]:
    """The uuids of ``--merge-allowlist``. Raises UsageError for a text that is none."""
    found = []
    for text in texts:
        try:
            found.append(str(UUID(text)))
        except ValueError:
            raise UsageError(f"--merge-allowlist {text!r} is not a uuid", hint="the uuid of a user") from None
    return tuple(dict.fromkeys(found))


def import_snapshot(dsn: str, file: str, options: ImportOptions, watch: Watch) -> Imported:
    """Bring the snapshot in ``file`` (``-``: standard input) into the account tables.

    All of it or nothing, in one transaction, in which no other session writes to the account tables. Raises UsageError
    for a file that is not there or users that it has not, AccountdbError for one that is damaged, Refused for a
    snapshot that was edited, for another structure, and for tables that hold other rows where no strategy is given.
    """
    began = time.monotonic()
    with origin(file) as lines:
        reader = _reader(lines)
        header = reader.header()
        with closing(connect(dsn, name=_NAME, autocommit=True)) as conn, named(_NAME, dsn), _allowed():
            comparing.prepare(conn)
            # What is committed when the locks are had is what counts.
            conn.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            with conn.transaction(force_rollback=options.dry_run):
                bringing = _Bringing(conn, lines, reader, header, options, watch)
                bringing.run()
                # What was to be checked at the end, so that a dry run checks it too.
                conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
    return Imported(
        file,
        header.taken_at,
        header.node,
        options.strategy,
        options.dry_run,
        bringing.counts,
        tuple(bringing.left_out),
        bringing.revived,
        bringing.ignored,
        round(time.monotonic() - began, 3),
    )


@contextmanager
def _allowed() -> Iterator[None]:
    """A missing right, with what an import needs; rows that the tables do not take, without their values."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise Refused(
            f"{_NAME}: {told(error).message}",
            hint="use the tables' owner; or GRANT SELECT, INSERT, UPDATE, DELETE, and TEMPORARY on the database",
        ) from error
    except psycopg.errors.LockNotAvailable as error:
        raise AccountdbError(
            f"{_NAME}: others have held the account tables for {_LOCK_WAIT_S} s: {told(error).message}",
            hint="nothing was written; run it again when they are done (pg_stat_activity tells who)",
        ) from None
    except (psycopg.IntegrityError, psycopg.DataError) as error:
        # Not its detail, which shows the row: it may be secret.
        table = f"{printable(error.diag.table_name)}: " if error.diag.table_name else ""
        raise AccountdbError(
            f"{_NAME}: {table}{error.diag.message_primary or type(error).__name__}", hint="nothing was written"
        ) from None


def _reader(lines: Lines) -> Reader:
    first = lines.first()
    if not first:
        raise AccountdbError(f"{lines.name} is empty", hint="a file of migratectl export")
    return JsonlReader(lines) if first == "{" else YamlReader(lines)


class _Bringing:
    """One import, in its transaction."""

    def __init__(
        self, conn: Connection, lines: Lines, reader: Reader, header: Header, options: ImportOptions, watch: Watch
    ) -> None:
        self._conn, self._lines, self._reader, self._header = conn, lines, reader, header
        self._options, self._watch = options, watch
        self.counts: dict[str, Counts] = {}
        self.left_out: list[LeftOut] = []
        self.revived: dict[str, int] = {}
        self.ignored: tuple[str, ...] = ()

    def run(self) -> None:
        """Stage, judge, write, count."""
        self._conn.execute(block(FILE, "settings"), {"lock": f"{_LOCK_WAIT_S}s"})
        structure = read_structure(self._conn)
        self.ignored = tuple(structure.outside)
        check_same(self._header, structure.tables)
        policy = read_policy(self._conn)
        staged = Staged(self._conn, structure)
        self._check_whole(staged.receive(self._lines.name, self._header, self._reader.rows(), self._watch))
        staged.ready(self._lines.name)
        if self._options.users:
            staged.choose(self._lines.name, self._options.users)
        for table in structure.tables:
            # Parents first, as everybody does who locks them.
            self._conn.execute(sql.SQL(block(FILE, "lock")).format(table=table.identifier))
        if read_structure(self._conn) != structure:
            raise AccountdbError("the structure was changed meanwhile", hint="run it again")
        self._defer(structure)
        self._watch.stage("comparing")
        judging = Judging(staged, policy, self._options.strategy)
        judging.judge()
        if self._options.strategy is None:
            judging.check_alone()
        writing = Writing(staged)
        for table in structure.tables:
            self._watch.stage(f"writing {printable(table.name)}")
            judging.orphans(table)
            writing.write(table)
            judging.done(table)
            self._count(staged, judging, table.name)

    def _defer(self, structure: Structure) -> None:
        """References may lead in a circle; who claims a value is to be known at once."""
        self._conn.execute("SET CONSTRAINTS ALL DEFERRED")
        for table in structure.tables:
            for index in table.unique_indexes:
                if not index.immediate:
                    name = sql.Identifier(table.schema, index.name)
                    self._conn.execute(sql.SQL("SET CONSTRAINTS {} IMMEDIATE").format(name))

    def _check_whole(self, counts: dict[str, int]) -> None:
        """Raises Refused where the file is not as it was written."""
        trailer = self._reader.trailer()
        if self._options.edited or (trailer.sha256 == self._lines.sha256 and trailer.counts == counts):
            return
        differing = [
            f"{name}: {counts.get(name, 0)} rows, {trailer.counts.get(name, 0)} written"
            for name in sorted(counts.keys() | trailer.counts.keys())
            if counts.get(name, 0) != trailer.counts.get(name, 0)
        ]
        raise Refused(
            f"{self._lines.name} is not as it was written: its checksum is another one"
            + (f" ({'; '.join(differing)})" if differing else ""),
            hint="where somebody has edited it on purpose: --allow edited",
        )

    def _count(self, staged: Staged, judging: Judging, name: str) -> None:
        table = next(table for table in staged.structure.tables if table.name == name)
        found = judging.verdicts(table)
        self.counts[name] = Counts(
            found.get("insert", 0),
            found.get("update", 0),
            found.get("unchanged", 0),
            found.get("kept", 0),
            sum(found.get(reason, 0) for reason in _LEFT_OUT),
        )
        verdicts = staged.verdicts(table)
        row = self._conn.execute(sql.SQL(block(FILE, "revived")).format(verdicts=verdicts)).fetchone()
        if row and row[0]:
            self.revived[name] = row[0]
        statement = sql.SQL(block(FILE, "left_out")).format(verdicts=verdicts)
        for reason, why, count, uuids, ways in self._conn.execute(statement, {"most": _MOST}):
            rows = tuple(zip(uuids, ways, strict=True))
            self.left_out.append(LeftOut(name, Reason(reason), why, count, rows))
