"""The order of tables: parents before children. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from accountdb.catalog.tables import Table


def parents_first(tables: Sequence[Table]) -> list[Table]:
    """Parents before children; tables in a cycle of references as they come."""
    by_name = {(t.schema, t.name): t for t in tables}
    graph = {
        name: {r.parent for r in t.references if r.parent in by_name and r.parent != name}
        for name, t in by_name.items()
    }
    try:
        return [by_name[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError:
        return list(tables)
