"""What merging one row into another involves: the rows that refer to it, and their twins, to any depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from accountdb.catalog.tables import Reference, Table
from accountdb.conflicts import rows
from accountdb.conflicts.model import Copy
from accountdb.conflicts.regions import Region
from accountdb.contract.row_contract import violations
from accountdb.errors import AccountdbError


@dataclass(frozen=True)
class Move:
    """One row that refers to the loser. ``twin``: it would break a unique index, and becomes one with that row."""

    table: Table
    row: Copy
    values: Mapping[str, Any] = field(repr=False)
    twin: Fold | None


@dataclass(frozen=True)
class Fold:
    """``loser`` becomes one with ``winner``, a row of the same table."""

    table: Table
    loser: Copy
    winner: Copy
    moves: tuple[Move, ...]


def read(
    region: Region, table: Table, loser: Copy, winner: Copy, above: frozenset[tuple[str, str, UUID]] = frozenset()
) -> Fold:
    """The fold as ``region`` would make it. ``above`` are the losers that lead here."""
    above |= {(table.schema, table.name, loser.uuid)}
    moves: list[Move] = []
    for child, row, values in _children(region, table, loser, winner):
        if (child.schema, child.name, row.uuid) not in above:
            twin = _twin(region, child, row, values)
            moves.append(Move(child, row, values, read(region, child, row, twin, above) if twin else None))
    return Fold(table, loser, winner, tuple(moves))


def _children(region: Region, table: Table, loser: Copy, winner: Copy) -> list[tuple[Table, Copy, dict[str, Any]]]:
    """Every row that refers to the loser, once, with the columns that would name the winner."""
    found: dict[tuple[tuple[str, str], UUID], tuple[Table, Copy, dict[str, Any]]] = {}
    for reference in table.referenced_by:
        child = _under_contract(region, table, reference)
        named = winner.content
        pairs = zip(reference.child_columns, reference.parent_columns, strict=True)
        values = {column: named[parent] for column, parent in pairs}
        for row in rows.children(region, child, reference, loser.uuid):
            known = found.setdefault((reference.child, row.uuid), (child, row, {}))
            known[2].update(values)
    return list(found.values())


def _under_contract(region: Region, table: Table, reference: Reference) -> Table:
    child = region.table(reference.child)
    faults = violations(child) if child else ("it is not there any more",)
    if child is None or faults:
        name = ".".join(reference.child)
        raise AccountdbError(
            f"{name} refers to {table.name} and is not under the row contract: {'; '.join(faults)}",
            hint="its rows cannot be moved by replicated writes; bring the table under the row contract first",
        )
    return child


def _twin(region: Region, child: Table, row: Copy, values: Mapping[str, Any]) -> Copy | None:
    for index in child.unique_indexes:
        if not set(index.columns) & values.keys():
            continue
        other = rows.taken(region, child, index, row.uuid, row.text, values)
        if other is not None:
            return rows.copies(region, child, [other]).get(other)
    return None
