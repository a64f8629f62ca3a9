"""Where a snapshot is read from: lines, unpacked, with the checksum of all that stands before the trailer."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import sys
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import IO, Protocol

import zstandard

from accountdb.errors import AccountdbError, UsageError

STDIN = "-"
_CHUNK = 1 << 20
_LONGEST_LINE = 256 << 20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BOM = b"\xef\xbb\xbf"


class Bytes(Protocol):
    """Something to read from."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""


class EarlyEndError(AccountdbError):
    """The snapshot has no end: it was cut."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: the snapshot ends early", hint="it was not written or copied whole: take another")


class Lines:
    """The lines of a snapshot as text, up to the one that starts its trailer, read block by block."""

    def __init__(self, name: str, file: Bytes) -> None:
        """``name`` is how messages call the file."""
        self.name = name
        self.ended = False
        """Whether everything was read, up to the end of the file or to the trailer."""
        self.tail = b""
        """The trailer, from its first byte to the end of the file; nothing: there was none."""
        self._file = file
        self._hash = hashlib.sha256()
        self._rest: list[bytes] = []
        self._ahead = b""
        self._marker = b""
        self._waiting: deque[str] = deque()

    @property
    def sha256(self) -> str:
        """Of all bytes before the trailer, once it is reached."""
        return self._hash.hexdigest()

    def first(self) -> str:
        """Its first character that is not blank, which stays to be read. Nothing where there is none."""
        self._ahead = self._more()
        return self._ahead.lstrip()[:1].decode(errors="replace")

    def until(self, marker: str) -> None:
        """Have a line that starts with ``marker`` be the start of the trailer."""
        self._marker = marker.encode()

    def line(self) -> str | None:
        """The next line, without its end; None behind the last one."""
        while not self._waiting:
            if self.ended and not self._ahead:
                return None
            self._waiting.extend(self._block())
        return self._waiting.popleft()

    def take(self, count: int) -> list[str]:
        """The next lines; fewer at the end."""
        waiting = self._waiting
        while len(waiting) < count and not (self.ended and not self._ahead):
            waiting.extend(self._block())
        pop = waiting.popleft
        return [pop() for _ in range(min(count, len(waiting)))]

    def put_back(self, lines: list[str]) -> None:
        """Have these be read again."""
        self._waiting.extendleft(reversed(lines))

    def blocks(self) -> Iterator[list[str]]:
        """What is left, many lines at a time."""
        while True:
            if self._waiting:
                found = list(self._waiting)
                self._waiting.clear()
                yield found
            elif self.ended and not self._ahead:
                return
            else:
                self._waiting.extend(self._block())

    def _block(self) -> list[str]:
        """Some more lines; none at the end."""
        data, self._ahead = self._ahead or self._more(), b""
        if self._marker and (start := _line_start(data, self._marker)) >= 0:
            self.tail = data[start:] + b"".join(self._rest) + self._all()
            data, self._rest, self.ended = data[:start], [], True
        self._hash.update(data)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise AccountdbError(f"{self.name} is not text in UTF-8", hint="a file of migratectl export") from None
        lines = text.split("\n")
        if not lines[-1]:
            lines.pop()
        return lines

    def _more(self) -> bytes:
        """Whole lines, or what is left at the end of the file."""
        size = sum(map(len, self._rest))
        while data := self._read():
            whole, found, rest = data.rpartition(b"\n")
            if found:
                lines = b"".join((*self._rest, whole, found))
                self._rest = [rest] if rest else []
                return lines
            self._rest.append(rest)
            size += len(rest)
            if size > _LONGEST_LINE:
                raise AccountdbError(f"{self.name} has a line of more than {_LONGEST_LINE >> 20} MB")
        self.ended = True
        lines, self._rest = b"".join(self._rest), []
        return lines

    def _all(self) -> bytes:
        found = bytearray()
        while data := self._read():
            found += data
            if len(found) > _LONGEST_LINE:
                raise AccountdbError(f"{self.name}: more follows the end of the snapshot")
        return bytes(found)

    def _read(self) -> bytes:
        try:
            return self._file.read(_CHUNK)
        except EOFError:
            raise EarlyEndError(self.name) from None
        except (gzip.BadGzipFile, zlib.error, zstandard.ZstdError):
            raise AccountdbError(
                f"{self.name} is damaged: it cannot be unpacked", hint="copy it again, or take another"
            ) from None
        except OSError as error:
            raise AccountdbError(f"{self.name}: {error.strerror or error}") from None


def _line_start(data: bytes, marker: bytes) -> int:
    """Where the first line that starts with ``marker`` begins; -1: nowhere."""
    if data.startswith(marker):
        return 0
    found = data.find(b"\n" + marker)
    return found + 1 if found >= 0 else -1


@contextmanager
def origin(source: str) -> Iterator[Lines]:
    """The lines of the file ``source``, or of the standard input where it is ``-``; unpacked by their first bytes.

    Raises UsageError for a file that cannot be read.
    """
    name = "the standard input" if source == STDIN else source
    with ExitStack() as stack:
        file = stack.enter_context(_opened(source))
        yield Lines(name, _unpacked(name, file, stack))


def _opened(source: str) -> IO[bytes]:
    if source == STDIN:
        if sys.stdin is not None and sys.stdin.isatty():
            raise UsageError("--file -: the standard input is a terminal", hint="migratectl import --file - < FILE")
        try:
            return os.fdopen(os.dup(0), "rb", _CHUNK)
        except OSError:
            raise UsageError("--file -: there is no standard input", hint="--file FILE") from None
    try:
        file = open(source, "rb", _CHUNK)  # noqa: SIM115 - the caller closes it
        if not stat.S_ISDIR(os.fstat(file.fileno()).st_mode):
            return file
        file.close()
    except IsADirectoryError:
        pass
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or error
        raise UsageError(f"--file {source}: {told}", hint="a file of migratectl export") from None
    raise UsageError(f"--file {source} is a folder", hint="a file of migratectl export")


def _unpacked(name: str, file: IO[bytes], stack: ExitStack) -> Bytes:
    try:
        start = file.peek(4)[:4]  # type: ignore[attr-defined]
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}", hint="a file of migratectl export") from None
    if start.startswith(_GZIP):
        return stack.enter_context(closing(gzip.GzipFile(fileobj=file)))
    if start.startswith(_ZSTD):
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=False)
        return stack.enter_context(reader)
    if start.startswith(_BOM):
        file.read(len(_BOM))
    return file
