"""Tables that have to change together: tied by references. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from accountdb.catalog.order import parents_first
from accountdb.sync.model import Name, SyncTable


def groups(tables: Sequence[SyncTable]) -> list[list[SyncTable]]:
    """``tables`` in groups that no reference of the target leads out of, each with its parents first."""
    by_name = {table.name: table for table in tables}
    found: list[list[SyncTable]] = []
    waiting = dict.fromkeys(by_name)
    while waiting:
        start = next(iter(waiting))
        tied = _tied(start, by_name)
        for name in tied:
            del waiting[name]
        ordered = parents_first([by_name[name].target for name in by_name if name in tied])
        found.append([by_name[table.schema, table.name] for table in ordered])
    return found


def _tied(start: Name, tables: dict[Name, SyncTable]) -> set[Name]:
    found: set[Name] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in tables and name not in found:
            found.add(name)
            table = tables[name].target
            waiting += [r.parent for r in table.references] + [r.child for r in table.referenced_by]
    return found
