"""``migratectl export``: the account tables of one moment, streamed into a file."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from contextlib import closing

import psycopg
from psycopg import sql

from accountdb.catalog.tables import Table
from accountdb.compare import session as comparing
from accountdb.compare.model import Watch
from accountdb.compare.session import named
from accountdb.contract.masking import printable
from accountdb.errors import AccountdbError, Refused, UsageError
from accountdb.pg.connect import Connection, connect
from accountdb.pg.names import doubled
from accountdb.snapshot.destination import STDOUT, Sink, destination
from accountdb.snapshot.jsonl import JsonlWriter
from accountdb.snapshot.layout import Writer, safe
from accountdb.snapshot.model import FORMAT, VERSION, Exported, Header, Layout, Trailer
from accountdb.snapshot.selecting import Selection, source_of
from accountdb.snapshot.structure import Structure, fingerprint, read_structure, shape_of
from accountdb.snapshot.yaml import YamlWriter
from accountdb.sql import block

_FILE = "snapshot/export.sql"
_NAME = "--dsn"
_WRITERS: dict[Layout, type[YamlWriter | JsonlWriter]] = {Layout.YAML: YamlWriter, Layout.JSONL: JsonlWriter}
_SUFFIXES = {".yaml": Layout.YAML, ".yml": Layout.YAML, ".jsonl": Layout.JSONL, ".ndjson": Layout.JSONL}
_CHUNK_BYTES = 256 * 1024
# The binary format of COPY: a signature of 19 bytes, for each row its one field's number and length, an end.
_SIGNATURE, _SIGNATURE_BYTES, _ROW_BYTES, _END = b"PGCOPY\n", 19, 6, b"\xff\xff"


def layout_of(output: str, asked: str | None) -> Layout:
    """The layout that was asked for, else that of the suffix, else YAML. Raises UsageError for an unknown one."""
    if asked is not None:
        try:
            return Layout(asked)
        except ValueError:
            raise UsageError(f"unknown format {asked!r}", hint=f"one of {', '.join(Layout)}") from None
    name = output.lower()
    for packed in (".gz", ".zst", ".zstd"):
        name = name.removesuffix(packed)
    return next((layout for suffix, layout in _SUFFIXES.items() if name.endswith(suffix)), Layout.YAML)


def export(dsn: str, output: str, watch: Watch, *, layout: Layout, email: str | None = None) -> Exported:
    """Write the account tables, all as they are at one moment, to the file ``output`` (``-``: standard output).

    ``email``: only users whose email contains that word, and what refers to them. Nothing is written to the
    database. Raises UsageError for a file that cannot be made, Refused for rows that this role may not read,
    AccountdbError where it fails; what stood in ``output`` stands then.
    """
    began = time.monotonic()
    if email == "":
        raise UsageError("--email is empty", hint="a word out of the email, or leave --email out for all users")
    with closing(connect(dsn, name=_NAME, autocommit=True)) as conn, named(_NAME, dsn):
        comparing.prepare(conn)
        before = read_structure(conn)
        selection = Selection(conn, before.tables, source_of(before.own)) if email is not None else None
        with destination(output) as sink:
            writing = _Export(conn, sink, _WRITERS[layout](), watch)
            conn.isolation_level, conn.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
            with conn.transaction():
                counts, sha256 = writing.run(before, selection, email)
        return Exported(
            output,
            layout,
            counts,
            sha256,
            writing.size,
            round(time.monotonic() - began, 3),
            email,
            before.outside,
        )


class _Export:
    """One export, in a transaction that only reads."""

    def __init__(self, conn: Connection, sink: Sink, writer: Writer, watch: Watch) -> None:
        self._conn, self._sink, self._writer, self._watch = conn, sink, writer, watch
        self._hash = hashlib.sha256()
        self.size = 0
        """Bytes, before they are packed."""

    def run(self, before: Structure, selection: Selection | None, email: str | None) -> tuple[dict[str, int], str]:
        """Counts by table, and the checksum."""
        self._conn.execute("SET LOCAL lock_timeout = '30s'")
        for table in before.tables:
            # Before the snapshot, so that no table is newer than it.
            self._conn.execute(sql.SQL(block(comparing.FILE, "lock")).format(table=table.identifier))
        found = read_structure(self._conn)
        if found != before:
            raise AccountdbError("the structure was changed meanwhile", hint="run it again")
        if selection is not None and email is not None:
            selection.by_email(email)
        self._write(self._writer.start(self._header(found, email)).encode())
        counts = {table.name: self._table(found, table, selection) for table in found.tables}
        sha256 = self._hash.hexdigest()
        self._write(self._writer.end(Trailer(counts, sha256)).encode())
        return counts, sha256

    def _header(self, found: Structure, email: str | None) -> Header:
        row = self._conn.execute(block(_FILE, "facts")).fetchone()
        assert row is not None
        taken_at, server_version, encoding, has_node = row
        if encoding == "SQL_ASCII":
            raise Refused("the server stores text as SQL_ASCII, of which nobody knows what it means", hint="pg_dump")
        node = self._conn.execute(block(_FILE, "node")).fetchone() if has_node else None
        tables = tuple(map(shape_of, found.tables))
        return Header(
            FORMAT,
            VERSION,
            taken_at,
            server_version,
            str(node[0]) if node else "local",
            fingerprint(tables),
            tables,
            email,
        )

    def _table(self, found: Structure, table: Table, selection: Selection | None) -> int:
        chosen: sql.Composable = sql.SQL("")
        if selection is not None:
            chosen = sql.SQL(block(_FILE, "chosen")).format(wanted=selection.wanted(table))
        statement = sql.SQL(block(_FILE, "rows")).format(
            row=self._writer.row(table), own=doubled(found.own(table)), chosen=chosen
        )
        self._watch.stage(f"reading {printable(table.name)}", None if selection else self._about(table))
        count = 0
        with self._conn.cursor() as cursor, cursor.copy(statement, {"unused": None}) as copy:
            for data, rows in _chunks(bytes(message) for message in copy):
                if not count:
                    self._write(self._writer.open(shape_of(table), empty=False).encode())
                self._write(safe(data))
                count += rows
                self._watch.advance(rows)
        if not count:
            self._write(self._writer.open(shape_of(table), empty=True).encode())
        return count

    def _about(self, table: Table) -> int | None:
        names = {"schema": table.schema, "table": table.name}
        row = self._conn.execute(block(_FILE, "about"), names).fetchone()
        return row[0] if row and row[0] > 0 else None

    def _write(self, data: bytes) -> None:
        self._hash.update(data)
        self._sink.write(data)
        self.size += len(data)


def _chunks(messages: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """The texts of rows of one field, in pieces that are worth a write, with the number of rows in each."""
    waiting: list[bytes] = []
    size = 0
    for message in messages:
        if message.startswith(_SIGNATURE):
            message = message[_SIGNATURE_BYTES:]  # noqa: PLW2901 - the rest may be a row
        if len(message) <= _ROW_BYTES:
            continue  # nothing more, or the end
        waiting.append(message[_ROW_BYTES:])
        size += len(message)
        if size >= _CHUNK_BYTES:
            yield b"".join(waiting), len(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting), len(waiting)


__all__ = ["STDOUT", "export", "layout_of"]
