"""Reading conflicts: the same event has the same id in every region, and is one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from accountdb.conflicts.model import Conflict, Head, Resolution, Sighting
from accountdb.conflicts.regions import RECORD, Region, Regions
from accountdb.errors import AccountdbError, UsageError
from accountdb.sql import block

_PREFIX = re.compile(r"^[0-9a-f]{1,32}$")


def open_ones(regions: Regions) -> tuple[Conflict, ...]:
    """The conflicts that wait for a person, oldest first."""
    return tuple(c for c in _everywhere(regions, "open", None) if c.open)


def every(regions: Regions) -> tuple[Conflict, ...]:
    """All conflicts: open ones oldest first, then settled ones newest first."""
    found = _everywhere(regions, "every", None)
    settled = sorted((c for c in found if not c.open), key=_first_seen, reverse=True)
    return (*(c for c in found if c.open), *settled)


def find(regions: Regions, prefix: str) -> Conflict:
    """The one conflict whose id begins with ``prefix``. UsageError where there is none, or more than one."""
    digits = prefix.replace("-", "").lower()
    if not _PREFIX.match(digits):
        raise UsageError(f"{prefix!r} is no conflict id", hint="migratectl conflicts list shows the ids")
    low, high = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
    found = _everywhere(regions, "between", {"low": low, "high": high})
    if not found:
        if regions.silent:
            raise AccountdbError(
                f"no conflict {prefix} in {', '.join(r.name for r in regions.answering)},"
                f" and {', '.join(regions.silent)} cannot be asked"
            )
        raise UsageError(f"there is no conflict {prefix}", hint="migratectl conflicts list --all shows every id")
    if len(found) > 1:
        raise UsageError(
            f"{prefix} is the beginning of {len(found)} conflict ids: {', '.join(str(c.id) for c in found[:5])}",
            hint="write more of the id",
        )
    return found[0]


def open_heads(regions: Regions) -> tuple[Head, ...]:
    """The conflicts that wait for a person, oldest first, without their rows: there may be many."""
    heads: dict[UUID, Head] = {}
    for region in regions.answering:
        for row in region.conn.execute(block(RECORD, "open_heads")):
            head = Head(*row)
            known = heads.get(head.id)
            if known is None or head.recorded_at < known.recorded_at:
                heads[head.id] = head
    # A resolution may stand in one region and be on its way to the other.
    resolved = _resolutions(regions, heads)
    waiting = (head for head in heads.values() if head.id not in resolved)
    return tuple(sorted(waiting, key=lambda head: (head.recorded_at, head.id.int)))


def of_ids(regions: Regions, ids: Sequence[UUID]) -> tuple[Conflict, ...]:
    """The conflicts with these ids that are there, in this order."""
    found = {c.id: c for c in _everywhere(regions, "of_ids", {"ids": list(ids)})} if ids else {}
    return tuple(found[key] for key in ids if key in found)


def newest(regions: Regions, most: int) -> tuple[Conflict, ...]:
    """The last conflicts, open and settled, newest first."""
    seen: dict[UUID, datetime] = {}
    for region in regions.answering:
        for key, recorded_at in region.conn.execute(block(RECORD, "newest"), {"most": most}):
            seen[key] = min(recorded_at, seen.get(key, recorded_at))
    ids = sorted(seen, key=lambda key: (seen[key], key.int), reverse=True)
    return of_ids(regions, ids[:most])


def of_row(regions: Regions, name: tuple[str, str], key: UUID) -> tuple[Conflict, ...]:
    """The open conflicts that one row lost."""
    params = {"schema": name[0], "table": name[1], "key": key}
    return tuple(c for c in _everywhere(regions, "open_of_row", params) if c.open)


def of_child(regions: Regions, name: tuple[str, str], column: str, parent: UUID) -> tuple[Conflict, ...]:
    """The open conflicts lost by rows of table ``name`` whose ``column`` named ``parent``."""
    params = {"schema": name[0], "table": name[1], "column": column, "parent": str(parent)}
    return tuple(c for c in _everywhere(regions, "open_of_child", params) if c.open)


def _everywhere(regions: Regions, query: str, params: dict[str, Any] | None) -> tuple[Conflict, ...]:
    """What ``query`` finds in any region, with the resolutions of every region."""
    merged: dict[UUID, Conflict] = {}
    for region in regions.answering:
        for found in _read(region, query, params):
            known = merged.get(found.id)
            merged[found.id] = found if known is None else _both(known, found)
    resolved = _resolutions(regions, merged)
    together = [replace(c, resolutions=resolved.get(c.id, ())) for c in merged.values()]
    return tuple(sorted(together, key=_first_seen))


def _read(region: Region, query: str, params: dict[str, Any] | None) -> Iterable[Conflict]:
    for row in region.conn.execute(block(RECORD, query), params):
        key, kind, schema, table, row_key, rule, detail, winner, loser, state, node, recorded_at = row
        seen = Sighting(region.name, node, recorded_at)
        yield Conflict(key, kind, schema, table, row_key, rule, detail, winner, loser, state == "open", (seen,))


def _both(a: Conflict, b: Conflict) -> Conflict:
    """One event as two regions recorded it: the rows of whoever saw it first."""
    first, second = sorted((a, b), key=_first_seen)
    return replace(
        first,
        winner_text=first.winner_text or second.winner_text,
        loser_text=first.loser_text or second.loser_text,
        detail=first.detail or second.detail,
        waiting=a.waiting or b.waiting,
        sightings=(*a.sightings, *b.sightings),
    )


def _first_seen(conflict: Conflict) -> tuple[Any, ...]:
    return min(s.recorded_at for s in conflict.sightings), conflict.id.int


def _resolutions(regions: Regions, ids: Iterable[UUID]) -> dict[UUID, tuple[Resolution, ...]]:
    wanted: Sequence[UUID] = list(ids)
    found: dict[UUID, dict[str, Resolution]] = {}
    for region in regions.answering if wanted else ():
        for conflict, *facts in region.conn.execute(block(RECORD, "resolutions"), {"ids": wanted}):
            resolution = Resolution(*facts)
            found.setdefault(conflict, {})[resolution.node] = resolution
    return {
        conflict: tuple(sorted(by_node.values(), key=lambda r: (r.resolved_at, r.node)))
        for conflict, by_node in found.items()
    }
