"""The messages of pglogical 2.4's output plugin in its JSON form. Pure.

Measured on 2.4.2: one JSON object a message, ``action`` S (start), B, I, U, D, C; ``newtuple`` holds the row, without
large columns that did not; ``oldtuple`` holds the key, all other columns null. Names of schema and table are written as
they are, also a quote in one, which is no JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from accountdb.setup.unblocking.model import Change, Operation, Row, Transaction
from accountdb.setup.unblocking.pgoutput import UnreadableError

_OPERATIONS = {"I": Operation.INSERT, "U": Operation.UPDATE, "D": Operation.DELETE}
_OTHERS = ("S", "M")
_RELATION = re.compile(r'(\{"action":"[IUD]","relation":\[")(.*?)","(.*?)("\],"(?:newtuple|oldtuple)":)', re.DOTALL)


def transactions(messages: Iterable[bytes]) -> Iterator[Transaction]:
    """The transactions that ``messages`` make up, in their order. Raises UnreadableError."""
    begun: dict[str, Any] | None = None
    changes: list[Change] = []
    for message in messages:
        try:
            text = _RELATION.sub(_quoted, message.decode(), count=1)
            found = json.loads(text)
            action = found["action"]
            if action == "B":
                begun, changes = found, []
            elif action == "C":
                if begun is None:
                    raise UnreadableError("a commit without a beginning")
                yield _transaction(begun, found, changes)
                begun = None
            elif action in _OPERATIONS:
                changes.append(_change(found, text))
            elif action not in _OTHERS:
                raise UnreadableError(f"a message of kind {action!r}")
        except (KeyError, ValueError, TypeError) as error:
            # Not its text: that could show a row.
            raise UnreadableError(f"no message of this form ({type(error).__name__})") from None


def _quoted(match: re.Match[str]) -> str:
    schema, table = (json.dumps(name)[1:-1] for name in match.group(2, 3))
    return f'{match[1]}{schema}","{table}{match[4]}'


def _transaction(begun: dict[str, Any], ended: dict[str, Any], changes: list[Change]) -> Transaction:
    at = datetime.fromisoformat(begun["commit_time"])
    return Transaction(int(begun["xid"]), ended["final_lsn"], ended["end_lsn"], at, tuple(changes))


def _change(found: dict[str, Any], text: str) -> Change:
    schema, table = found["relation"]
    new, old = _piece(found, text, "newtuple"), _piece(found, text, "oldtuple")
    operation = _OPERATIONS[found["action"]]
    return Change(operation, schema, table, new if operation is not Operation.DELETE else None, old)


def _piece(found: dict[str, Any], text: str, name: str) -> Row | None:
    """One row as the very text that was sent: reading and writing it again would lose digits of a number."""
    if found.get(name) is None:
        return None
    mark = f'"{name}":'
    decoder = json.JSONDecoder()
    at = text.find(mark)
    while at >= 0:
        start = at + len(mark)
        start += len(text[start:]) - len(text[start:].lstrip())
        value, end = decoder.raw_decode(text, start)
        # A row may have a column, or an object in a column, of that name too.
        if value == found[name]:
            return Row(json=text[start:end])
        at = text.find(mark, at + 1)
    return Row(json=json.dumps(found[name]))
