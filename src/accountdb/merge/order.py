"""Tables above and below others, by their references. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from accountdb.catalog.tables import Table


def with_parents(names: Iterable[tuple[str, str]], tables: Mapping[tuple[str, str], Table]) -> list[tuple[str, str]]:
    """``names`` and all that they refer to, however far: without its parent no child can be brought."""
    found: dict[tuple[str, str], None] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = None
            waiting += [r.parent for r in tables[name].references if r.parent in tables]
    return list(found)


def children_of(parents: Iterable[Table], tables: Iterable[Table]) -> set[tuple[str, str]]:
    """All tables that refer to one of ``parents``, through others too."""
    known = {(t.schema, t.name): t for t in tables}
    found: set[tuple[str, str]] = set()
    waiting = list(parents)
    while waiting:
        for reference in waiting.pop().referenced_by:
            if reference.child in known and reference.child not in found:
                found.add(reference.child)
                waiting.append(known[reference.child])
    return found
