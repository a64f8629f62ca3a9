"""The file that keeps a transaction before anything is done about it: JSON lines, whole rows."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from accountdb.errors import AccountdbError, UsageError
from accountdb.setup.unblocking.model import Row, Transaction


def default_name(subscription: str, transaction: Transaction) -> Path:
    """A name in the working directory that tells subscription and transaction."""
    plain = re.sub(r"[^\w.-]", "_", subscription)
    return Path(f"accountdb-{plain}-{transaction.finished.replace('/', '-')}.jsonl")


def save(path: Path, subscription: str, transaction: Transaction) -> None:
    """Write ``path`` with the rights 0600. One that holds the same already is left; any other is never overwritten.

    Raises UsageError for a file that is there and holds something else, AccountdbError where it cannot be written.
    """
    text = "".join(f"{line}\n" for line in _lines(subscription, transaction)).encode()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)
        finally:
            part.unlink()
    except FileExistsError:
        if path.is_file() and path.read_bytes() == text:
            return
        raise UsageError(
            f"{path} is there already and is never overwritten", hint="--save FILE names another"
        ) from None
    except OSError as error:
        raise AccountdbError(
            f"{path}: {error.strerror}; nothing was done", hint="--save FILE names a place that can be written"
        ) from None


def _lines(subscription: str, transaction: Transaction) -> Iterator[str]:
    yield json.dumps(
        {
            "subscription": subscription,
            "transaction": transaction.xid,
            "finished": transaction.finished,
            "end": transaction.end,
            "committed_at": transaction.committed_at.isoformat(),
            "changes": len(transaction.changes),
        }
    )
    for change in transaction.changes:
        head = json.dumps({"operation": change.operation, "schema": change.schema, "table": change.table})
        yield f'{head[:-1]}, "key": {_text(change.key)}, "row": {_text(change.row)}}}'


def _text(row: Row | None) -> str:
    """As it was sent: no digit of a number is lost."""
    if row is None:
        return "null"
    return json.dumps(row.text) if row.text is not None else str(row.json)
