"""The row order: the total order by which two copies of one row are compared.

The same definition in SQL is ``accountdb.row_wins``; a property test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class RowStamp:
    """What decides between two copies of one row.

    ``content_hash`` is the hash of ``accountdb.row_content``, opaque here; it decides only between
    copies that are equal in everything else.
    """

    version: int
    updated_at: datetime
    origin_node: str
    content_hash: str

    @property
    def rank(self) -> tuple[int, datetime, bytes, bytes]:
        """The comparable form. Text compares by its UTF-8 bytes, as COLLATE "C" does in SQL."""
        return self.version, self.updated_at, self.origin_node.encode(), self.content_hash.encode()


def wins(a: RowStamp, b: RowStamp) -> bool:
    """Whether copy ``a`` wins over copy ``b``; False when they are the same."""
    return a.rank > b.rank


def merge(a: RowStamp, b: RowStamp) -> RowStamp:
    """The copy that both regions keep."""
    return a if wins(a, b) else b
