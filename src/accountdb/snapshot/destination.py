"""Where a snapshot is written to: a file that appears whole or not at all, or the standard output."""

from __future__ import annotations

import gzip
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol

import zstandard

from accountdb.errors import AccountdbError, UsageError

STDOUT = "-"
_GZIP_LEVEL, _ZSTD_LEVEL = 4, 3
_BUFFER = 1 << 20


class _Writable(Protocol):
    def write(self, data: bytes, /) -> int: ...


class Sink:
    """Takes bytes, and tells a failure in one line."""

    def __init__(self, name: str, file: _Writable) -> None:
        """``name`` is how messages call it."""
        self._name, self._file = name, file

    def write(self, data: bytes) -> None:
        """Raises AccountdbError where they cannot be written."""
        with _told(self._name):
            self._file.write(data)


@contextmanager
def destination(target: str) -> Iterator[Sink]:
    """A sink for the file ``target``, or for the standard output where it is ``-``.

    The file is made beside its place under another name, for its owner alone, and takes its place when
    the block has ended and everything is on disk. Whatever fails, what stood there stands.
    Raises UsageError for a place that cannot be written to.
    """
    if target == STDOUT:
        with _told("the standard output"), os.fdopen(os.dup(1), "wb") as file:
            yield Sink("the standard output", file)
        return
    path = Path(target)
    _check(path)
    temporary = path.with_name(f"{path.name[:200]}.tmp-{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"--output {target}: {error.strerror}", hint="a file in a folder that you may write") from None
    try:
        with _told(f"--output {target}"), os.fdopen(descriptor, "wb", _BUFFER) as file:
            with ExitStack() as stack:
                yield Sink(f"--output {target}", _compressed(path, file, stack))
            file.flush()
            os.fsync(file.fileno())
        with _told(f"--output {target}"):
            os.replace(temporary, path)
            _sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _check(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise UsageError(f"--output {path}: there is no folder {path.parent}", hint="make it first") from None
        return
    except OSError as error:
        raise UsageError(f"--output {path}: {error.strerror}", hint="a file in a folder that you may write") from None
    if stat.S_ISLNK(mode):
        hint = "the standard output is: --output -" if str(path).startswith("/dev/") else f"name {path.resolve()}"
        raise UsageError(f"--output {path} is a symbolic link", hint=hint)
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "not a file"
        raise UsageError(f"--output {path} is {what}", hint="a file name, or - for the standard output")


def _compressed(path: Path, file: IO[bytes], stack: ExitStack) -> _Writable:
    if path.suffix == ".gz":
        return stack.enter_context(closing(gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0)))
    if path.suffix in (".zst", ".zstd"):
        compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)
        return stack.enter_context(compressor.stream_writer(file, closefd=False))
    return file


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise AccountdbError(f"{name}: its reader has gone", hint="the snapshot is not whole: run it again") from None
    except OSError as error:
        raise AccountdbError(
            f"{name}: {error.strerror or error}", hint="nothing was left behind; what stood there stands"
        ) from None
