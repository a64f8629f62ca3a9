"""The undo file of a merge: for each transaction what its rows were before, and what it made of them.

JSON lines: a header that names the two databases, then one line a transaction, on disk before the
transaction commits. A line whose transaction never committed does no harm: nothing is taken back
from a row that is not as the line says. The file holds rows whole, secrets too (mode 0600).
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from accountdb.errors import AccountdbError, UsageError
from accountdb.pg.connect import Connection
from accountdb.sql import block

SQL_FILE = "merge/undo.sql"
_FORMAT = 1


@dataclass(frozen=True)
class Line:
    """What one transaction did in one region.

    ``rows`` are, by table, uuid with the values before (None: was not there) and the stamp
    (version, updated_at, origin_node) after (None: is not there). ``buried`` are the tombstones that it wrote.
    """

    region: str
    rows: Mapping[tuple[str, str], Sequence[Row]]
    buried: Sequence[Sequence[str]]
    columns: Mapping[tuple[str, str], Sequence[str]]

    def as_json(self) -> str:
        """One line of the file."""
        tables = [
            {"schema": schema, "table": table, "columns": list(self.columns[schema, table]), "rows": list(rows)}
            for (schema, table), rows in self.rows.items()
        ]
        return json.dumps({"region": self.region, "tables": tables, "buried": self.buried}, ensure_ascii=False)

    @classmethod
    def parsed(cls, text: str) -> Line:
        """The line that ``as_json`` made."""
        found = json.loads(text)
        tables = {(t["schema"], t["table"]): t for t in found["tables"]}
        return cls(
            found["region"],
            {name: [(row[0], row[1], row[2]) for row in table["rows"]] for name, table in tables.items()},
            found["buried"],
            {name: table["columns"] for name, table in tables.items()},
        )


Row = tuple[str, Sequence[str | None] | None, Sequence[str] | None]


class Undo:
    """The file that a merge writes. Several threads may."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """``descriptor`` is open for appending, behind the header."""
        self._path = path
        self._descriptor = descriptor
        self._lock = Lock()

    def write(self, line: Line) -> None:
        """One transaction, on disk when this returns."""
        if any(line.rows.values()) or line.buried:
            with self._lock:
                _append(self._path, self._descriptor, line.as_json())


@contextmanager
def undo_file(path: Path, identities: Mapping[str, str]) -> Iterator[Undo]:
    """A new undo file, or one that a merge of the same two databases began.

    Raises UsageError for a file that is anything else, or that cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise UsageError(f"--undo {path}: {error.strerror}", hint="a path that can be written") from error
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise UsageError(f"--undo {path}: not a file", hint="--undo takes a new file")
        if state.st_size:
            header = read_header(path)
            if header != dict(identities):
                raise UsageError(f"{path} is the undo file of other databases", hint="--undo takes a new file")
            _cut_torn_line(descriptor)
        else:
            _make_private(path, descriptor)
            _append(path, descriptor, json.dumps({"accountdb_undo": _FORMAT, "databases": dict(identities)}))
        yield Undo(path, descriptor)
    finally:
        os.close(descriptor)


def read_header(path: Path) -> dict[str, str]:
    """The databases that an undo file is about, by region. Raises UsageError for a file that is none."""
    try:
        with path.open(encoding="utf-8") as file:
            found: Any = json.loads(file.readline())
        databases = {_FORMAT: found["databases"]}[found["accountdb_undo"]]
        return {str(name): str(identity) for name, identity in databases.items()}
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="the file that merge --undo wrote") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{path} is not an undo file", hint="the file that merge --undo wrote") from None


def lines_backwards(path: Path) -> Iterator[Line]:
    """The transactions of a file, the last one first. A torn last line never committed.

    Raises UsageError for a line that no merge wrote.
    """
    offsets = []
    with path.open("rb") as file:
        file.readline()
        position = file.tell()
        for text in file:
            if text.endswith(b"\n"):
                offsets.append(position)
            position += len(text)
        for number, offset in reversed(list(enumerate(offsets, 2))):
            file.seek(offset)
            try:
                line = Line.parsed(file.readline().decode())
            except (ValueError, KeyError, TypeError, AttributeError, IndexError):
                raise UsageError(
                    f"{path}: line {number} is damaged", hint="the file as merge --undo wrote it"
                ) from None
            yield line


def check_lines(path: Path, regions: Collection[str]) -> None:
    """Raises UsageError for a file of which a part could not be taken back."""
    for line in lines_backwards(path):
        if line.region not in regions:
            raise UsageError(f"{path}: a line is of no region of its header", hint="the file as merge --undo wrote it")


def identity(conn: Connection) -> str:
    """What tells one database from every other, whatever its address."""
    row = conn.execute(block(SQL_FILE, "identity")).fetchone()
    assert row is not None
    return str(row[0])


def _make_private(path: Path, descriptor: int) -> None:
    """One that was there already, empty, may be open to others."""
    try:
        os.fchmod(descriptor, 0o600)
    except OSError as error:
        raise UsageError(f"--undo {path}: {error.strerror}", hint="--undo takes a new file") from error


def _append(path: Path, descriptor: int, text: str) -> None:
    """Raises AccountdbError, and leaves the file as it was, where the line cannot be written."""
    size = os.fstat(descriptor).st_size
    try:
        _write_line(descriptor, text)
    except OSError as error:
        # Else what another thread writes would stand behind half a line.
        with suppress(OSError):
            os.ftruncate(descriptor, size)
        raise AccountdbError(
            f"--undo {path}: {error.strerror}",
            hint="make room and run it again with the same file: what was written is in it",
        ) from error


def _write_line(descriptor: int, text: str) -> None:
    data = text.encode() + b"\n"
    while data:
        data = data[os.write(descriptor, data) :]
    os.fsync(descriptor)


def _cut_torn_line(descriptor: int) -> None:
    """Remove a last line without an end: a merge was killed while it wrote it."""
    size = os.fstat(descriptor).st_size
    end = size
    while end and os.pread(descriptor, 1, end - 1) != b"\n":
        end -= 1
    if end != size:
        os.ftruncate(descriptor, end)
