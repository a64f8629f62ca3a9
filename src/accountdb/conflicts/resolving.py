"""Resolving a conflict: a plan out of what the regions hold now, then ordinary writes in one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from accountdb.catalog.tables import Reference, Table
from accountdb.conflicts import folding, planning, reading, rows
from accountdb.conflicts.model import Action, Conflict, Copy, Plan, Request, Step, Write, parsed
from accountdb.conflicts.regions import RECORD, Region, Regions
from accountdb.contract.masking import MASK, printable
from accountdb.errors import AccountdbError, UsageError
from accountdb.sql import block


def plan(regions: Regions, conflict: Conflict, request: Request) -> Plan:
    """What ``request`` would write. Reads only.

    Raises UsageError for what cannot be asked of this conflict, AccountdbError for what the state
    of the rows does not allow.
    """
    if not conflict.open:
        raise AccountdbError(f"conflict {conflict.id} is settled already", hint="nothing is left to resolve")
    if request.action is Action.DISMISS:
        region = next(s.region for s in conflict.sightings)
        return Plan(conflict.id, request, region, (), (conflict.id,))
    table = regions.table(conflict.name)
    if table is None:
        raise AccountdbError(
            f"the table {'.'.join(conflict.name)} is not there any more", hint="--dismiss closes the conflict"
        )
    try:
        if request.action is Action.SET:
            return _plan_set(regions, conflict, table, request)
        return _plan_merge(regions, conflict, table, request)
    except psycopg.DataError as error:
        # Its text would quote the value, which may be a secret.
        raise AccountdbError(
            f"the rows of this conflict do not fit {'.'.join(conflict.name)} as it is now (SQLSTATE {error.sqlstate})",
            hint="--dismiss closes the conflict",
        ) from None


def _plan_set(regions: Regions, conflict: Conflict, table: Table, request: Request) -> Plan:
    values = planning.new_values(table, request)
    planning.check_about(conflict, table, request)
    standing = _standing(regions, conflict.name, conflict.row_key)
    parked = planning.is_parked(conflict, table)
    region = regions.named(planning.where_to_write(standing, parked=parked))
    hidden = [name for name in values if regions.secrets.hides(conflict.name, name)]
    rows.check_values(region, table, values, hidden=hidden)
    deleted = conflict.kind != "unique_claim" and _died(regions, conflict)
    step = planning.set_step(conflict, table, values, region.name, standing, deleted=deleted)
    here = standing[region.name]
    text = here.text if here else step.text or "{}"
    followed = _followed(region, table, text, values, whole=here is None)
    step = replace(step, values=(*step.values, *followed.items()))
    _refuse_taken(regions, table, conflict.row_key, text, values | followed, whole=here is None)
    others = reading.of_row(regions, conflict.name, conflict.row_key)
    closes = planning.closed_by_set(conflict, others, table, request, step)
    closed = {c.id for c in closes}
    remains = tuple(other.id for other in others if other.id not in closed)
    return Plan(conflict.id, request, region.name, (step,), tuple(c.id for c in closes), remains)


def _standing(regions: Regions, name: tuple[str, str], key: UUID) -> dict[str, Copy | None]:
    found: dict[str, Copy | None] = {}
    for region in regions.answering:
        table = region.table(name)
        found[region.name] = rows.copies(region, table, [key]).get(key) if table else None
    return found


def _died(regions: Regions, conflict: Conflict) -> bool:
    """Whether the very life of the row that was parked has been deleted, in any region."""
    born = (conflict.loser or {}).get("created_at")
    for region in regions.answering:
        table = region.table(conflict.name)
        for created_at, *_ in rows.tombstones(region, table, conflict.row_key) if table else ():
            if born is None or created_at == datetime.fromisoformat(born):
                return True
    return False


def _followed(region: Region, table: Table, text: str, values: Mapping[str, Any], *, whole: bool) -> dict[str, Any]:
    """Each parent must be here; one that was merged into another account is followed to it."""
    found: dict[str, Any] = {}
    content = {**(parsed(text) or {}), **values}
    for reference in table.references:
        if not whole and not set(reference.child_columns) & values.keys():
            continue
        if rows.has_parent(region, table, reference, text, values):
            continue
        column = reference.child_columns[0]
        heir = _heir(region, reference, content)
        if heir is None or column in values:
            shown = ", ".join(f"{name} {content.get(name)}" for name in reference.child_columns)
            raise AccountdbError(
                f"{printable(shown)}: there is no such row in {reference.parent[1]} in {region.name}",
                hint=f"--set {column}=VALUE names one that is there",
            )
        found[column] = str(heir)
    return found


def _heir(region: Region, reference: Reference, content: Mapping[str, Any]) -> UUID | None:
    parent = region.table(reference.parent)
    if parent is None or reference.parent_columns != ("uuid",):
        return None
    try:
        key = UUID(str(content.get(reference.child_columns[0])))
    except ValueError:
        return None
    return rows.heir(region, parent, key)


def _refuse_taken(
    regions: Regions, table: Table, key: UUID, text: str, values: Mapping[str, Any], *, whole: bool
) -> None:
    """A value must be free in every region that answers, not only where it is written."""
    name = (table.schema, table.name)
    content = {**(parsed(text) or {}), **values}
    for region in regions.answering:
        shape = region.table(name)
        for index in shape.unique_indexes if shape else ():
            if shape is None or not (whole or set(index.columns) & values.keys()):
                continue
            other = rows.taken(region, shape, index, key, text, values)
            if other is not None:
                shown = ", ".join(
                    f"{column} {MASK if regions.secrets.hides(name, column) else content.get(column)}"
                    for column in index.columns
                )
                raise AccountdbError(
                    f"{printable(shown)} is taken in {region.name}, by {table.name} {other}",
                    hint="choose another value with --set",
                )


def accounts(conflict: Conflict, table: Table) -> tuple[tuple[str, str], UUID, UUID]:
    """The table, the winner and the loser of ``--merge-accounts``.

    Where nothing refers to the conflict's own table (identities), they are the two rows that the
    conflict's rows belong to. Raises UsageError where there are no two accounts.
    """
    winner, loser = conflict.winner or {}, conflict.loser or {}
    if conflict.kind != "unique_claim" or not winner or not loser:
        raise UsageError(
            f"a conflict of kind {conflict.kind} has no two accounts to merge", hint="--set or --dismiss resolve it"
        )
    if table.referenced_by:
        return conflict.name, UUID(str(winner["uuid"])), conflict.row_key
    owners = [r for r in table.references if r.parent_columns == ("uuid",)]
    if len(owners) == 1:
        column = owners[0].child_columns[0]
        if winner.get(column) and loser.get(column) and winner[column] != loser[column]:
            return owners[0].parent, UUID(str(winner[column])), UUID(str(loser[column]))
    raise UsageError(
        f"the rows of this conflict in {table.name} do not belong to two accounts", hint="--set or --dismiss resolve it"
    )


def _plan_merge(regions: Regions, conflict: Conflict, table: Table, request: Request) -> Plan:
    name, winner_key, loser_key = accounts(conflict, table)
    region, winner, loser = _both_standing(regions, name, winner_key, loser_key)
    account = region.table(name)
    assert account is not None
    fold = folding.read(region, account, loser, winner)
    own = reading.of_row(regions, name, loser_key)
    moot, remains = _conflicts_of_children(regions, region, account, winner, loser)
    closes = dict.fromkeys([conflict.id, *(c.id for c in own), *moot])
    return Plan(
        conflict.id,
        request,
        region.name,
        tuple(planning.merge_steps(fold)),
        tuple(closes),
        tuple(key for key in remains if key not in closes),
    )


def _both_standing(
    regions: Regions, name: tuple[str, str], winner_key: UUID, loser_key: UUID
) -> tuple[Region, Copy, Copy]:
    """The region where both accounts stand, the loser in its newest copy. A merged winner is followed."""
    best: tuple[Region, Copy, Copy] | None = None
    for region in regions.answering:
        table = region.table(name)
        if table is None:
            continue
        keeper = rows.heir(region, table, winner_key) or winner_key
        found = rows.copies(region, table, [keeper, loser_key])
        if (
            keeper in found
            and loser_key in found
            and keeper != loser_key
            and (best is None or found[loser_key].rank > best[2].rank)
        ):
            best = (region, found[keeper], found[loser_key])
    if best is None:
        raise AccountdbError(
            f"the two accounts {winner_key} and {loser_key} of {name[1]} do not both exist any more",
            hint="--dismiss closes the conflict",
        )
    return best


def _conflicts_of_children(
    regions: Regions, region: Region, account: Table, winner: Copy, loser: Copy
) -> tuple[tuple[UUID, ...], tuple[UUID, ...]]:
    """Parked rows of the loser: those that the account has anyway after the merge, and the others."""
    moot: list[UUID] = []
    remains: list[UUID] = []
    both = {str(winner.uuid), str(loser.uuid)}
    for reference in account.referenced_by:
        child = region.table(reference.child)
        if child is None or reference.parent_columns != ("uuid",):
            continue
        column = reference.child_columns[0]
        for conflict in reading.of_child(regions, reference.child, column, loser.uuid):
            index = planning.claimed_index(conflict, child)
            other = None
            if index is not None and conflict.loser_text and planning.is_parked(conflict, child):
                values = {column: str(winner.uuid)}
                other = rows.taken(region, child, index, conflict.row_key, conflict.loser_text, values)
            twin = rows.copies(region, child, [other]).get(other) if other else None
            belongs = twin is not None and str(twin.content.get(column)) in both
            (moot if belongs else remains).append(conflict.id)
    return tuple(moot), tuple(remains)


def apply(regions: Regions, agreed: Plan) -> None:
    """Write ``agreed`` in one transaction. Refuses when the rows are not as the plan found them."""
    region = regions.named(agreed.region)
    try:
        with region.conn.transaction():
            region.conn.execute(block(RECORD, "patience"))
            _lock(region, agreed)
            current = plan(regions, reading.find(regions, str(agreed.conflict)), agreed.request)
            if current != agreed:
                raise _moved()
            for step in agreed.steps:
                _write(region, step)
            region.conn.execute(block(RECORD, "resolve"), {"ids": list(agreed.closes), "action": agreed.action})
    except psycopg.Error as error:
        raise _told(regions, agreed, error) from None


def _lock(region: Region, agreed: Plan) -> None:
    """Rows that are deleted, and those that take their place, gain no child from here on."""
    wanted: dict[tuple[str, str], set[UUID]] = {}
    for step in agreed.steps:
        if step.write is not Write.INSERT:
            wanted.setdefault(step.name, set()).update({step.uuid, *([step.into] if step.into else [])})
    for name in sorted(wanted):
        table = region.table(name)
        if table is not None:
            rows.lock(region, table, wanted[name])


def _write(region: Region, step: Step) -> None:
    table = region.table(step.name)
    assert table is not None
    values = dict(step.values)
    if step.write is Write.INSERT:
        rows.insert(region, table, step.text or "{}", values, planning.inserted_columns(table, step))
        return
    assert step.version is not None
    if step.write is Write.UPDATE:
        if not rows.update(region, table, step.uuid, step.version, values):
            raise _moved()
        return
    kept = {"schema": table.schema, "table": table.name, "key": step.uuid}
    region.conn.execute(block(RECORD, "keep"), {**kept, "winner": step.into_text, "loser": step.text})
    region.conn.execute(block(RECORD, "merging_into"), {"winner": str(step.into) if step.tells else ""})
    gone = rows.delete(region, table, step.uuid, step.version)
    region.conn.execute(block(RECORD, "merging_into"), {"winner": ""})
    if not gone:
        raise _moved()


def _moved() -> AccountdbError:
    return AccountdbError(
        "the rows changed after the plan was made; nothing was written", hint="run the same command again"
    )


def _told(regions: Regions, agreed: Plan, error: psycopg.Error) -> AccountdbError:
    """A server's refusal. Its detail quotes whole rows, so only its first line is told, without secrets."""
    text = error.diag.message_primary or type(error).__name__
    for step in agreed.steps:
        known = [dict(step.values), parsed(step.text), parsed(step.into_text)]
        text = regions.secrets.scrubbed(step.name, text, known)
    return AccountdbError(f"nothing was written: {printable(text)}", hint="migratectl conflicts show shows the rows")
