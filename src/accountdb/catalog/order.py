"""The order of tables: parents before children. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from accountdb.catalog.tables import Table

_Name = tuple[str, str]


def parents_first(tables: Sequence[Table]) -> list[Table]:
    """Parents before children; tables in a cycle of references one after the other, as they come."""
    by_name = {(t.schema, t.name): t for t in tables}
    graph = {
        name: {r.parent for r in t.references if r.parent in by_name and r.parent != name}
        for name, t in by_name.items()
    }
    try:
        return [by_name[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError:
        return [by_name[name] for name in _by_cycles(graph)]


def _by_cycles(graph: Mapping[_Name, set[_Name]]) -> list[_Name]:
    above = {name: _above(name, graph) for name in graph}
    found: list[_Name] = []
    while len(found) < len(graph):
        # What needs nothing but itself and what it is in a cycle with.
        least = min((above[name].difference(found) for name in graph if name not in found), key=len)
        found += [name for name in graph if name in least]
    return found


def _above(name: _Name, graph: Mapping[_Name, set[_Name]]) -> set[_Name]:
    """The table, and all that it refers to by whatever way."""
    found: set[_Name] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += graph[one]
    return found
