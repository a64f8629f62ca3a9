"""Rows that differ, kept on disk: their number may be any, the memory that they take is not."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import IO, Generic, TypeVar

T = TypeVar("T")

_BATCH = 2000


class Spool(Generic[T]):
    """A list on disk, written once, read any number of times in batches.

    Its file has no name, and a short list has no file: there may be as many lists as there are tables.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._batch: list[T] = []
        self.count = 0

    def add(self, item: T) -> None:
        """One more."""
        self._batch.append(item)
        self.count += 1
        if len(self._batch) == _BATCH:
            self._flush()

    def batches(self) -> Iterator[list[T]]:
        """All of them, in their order."""
        if self._file is not None:
            end = self._file.seek(0, 2)
            position = 0
            while position < end:
                self._file.seek(position)
                batch: list[T] = pickle.load(self._file)
                position = self._file.tell()
                yield batch
        if self._batch:
            yield list(self._batch)

    def __iter__(self) -> Iterator[T]:
        """All of them, one by one."""
        for batch in self.batches():
            yield from batch

    def close(self) -> None:
        """Give the disk back."""
        if self._file is not None:
            self._file.close()

    def _flush(self) -> None:
        if self._file is None:
            self._file = TemporaryFile()  # noqa: SIM115 - it lives as long as the spool
        self._file.seek(0, 2)
        pickle.dump(self._batch, self._file)
        self._batch = []
