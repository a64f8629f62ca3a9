"""Which writes a resolution consists of. Pure: states in, plans and refusals out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from accountdb.catalog.tables import Table, UniqueIndex
from accountdb.conflicts.folding import Fold
from accountdb.conflicts.model import Conflict, Copy, Request, Step, Write, parsed
from accountdb.contract.claims import Settlement, claims
from accountdb.contract.masking import Content
from accountdb.errors import AccountdbError, UsageError

# Kept by triggers, or the row's identity.
NEVER_SET = frozenset({"uuid", "created_at", "updated_at", "version", "origin_node"})
_JSON_TYPES = ("json", "jsonb")


def new_values(table: Table, request: Request) -> dict[str, Any]:
    """The values of ``--set`` as JSON. UsageError for a column that is not there or may not be set."""
    found: dict[str, Any] = {}
    for name, text in request.values:
        column = table.column(name)
        if column is None:
            known = ", ".join(c.name for c in table.columns if c.name not in NEVER_SET and not c.generated)
            raise UsageError(f"--set {name}: {table.name} has no such column", hint=f"one of {known}")
        if name in NEVER_SET or column.generated:
            reason = "it is computed" if column.generated else "the row contract keeps it"
            raise UsageError(f"--set {name}: this column may not be set, {reason}")
        if name in found:
            raise UsageError(f"--set names {name} twice")
        found[name] = _as_json(name, text, column.type)
    return found


def _as_json(name: str, text: str | None, type_: str) -> Any:
    if text is None or type_ not in _JSON_TYPES:
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise UsageError(f"--set {name}: no valid JSON") from None


def contested(conflict: Conflict, table: Table) -> tuple[str, ...]:
    """The columns that a conflict is about; empty where that cannot be said."""
    index = claimed_index(conflict, table)
    if index is not None:
        return tuple(name for name in index.columns if name not in NEVER_SET)
    for reference in table.references:
        if conflict.kind == "orphan" and reference.name == conflict.detail:
            return reference.child_columns
    return ()


def claimed_index(conflict: Conflict, table: Table) -> UniqueIndex | None:
    """The unique index that two rows claimed the same value of."""
    if conflict.kind != "unique_claim":
        return None
    return next((index for index in table.unique_indexes if index.name == conflict.detail), None)


def is_parked(conflict: Conflict, table: Table) -> bool:
    """Whether the loser was taken out whole, not only its value."""
    if conflict.kind != "unique_claim":
        return conflict.kind in ("orphan", "unknown", "skipped")
    policy = {claim.index.name: claim.settlement for claim in claims(table)}
    return policy.get(conflict.detail or "", Settlement.PARK) is Settlement.PARK


def check_about(conflict: Conflict, table: Table, request: Request) -> None:
    """UsageError where ``--set`` sets nothing that the conflict is about."""
    about = contested(conflict, table)
    if about and not set(about) & set(request.columns):
        raise UsageError(
            f"the conflict is about {', '.join(about)}, and --set sets {', '.join(request.columns)}",
            hint=f"--set {about[0]}=VALUE",
        )


def where_to_write(standing: Mapping[str, Copy | None], *, parked: bool) -> str:
    """The region that a resolution is written in.

    A parked row comes back where it is missing; a row that stands is written where its newest copy is.
    """
    if parked:
        for region, copy in standing.items():
            if copy is None:
                return region
    best = [(copy.rank, region) for region, copy in standing.items() if copy is not None]
    newest = max((rank for rank, _ in best), default=None)
    return next((region for rank, region in best if rank == newest), next(iter(standing)))


def set_step(
    conflict: Conflict,
    table: Table,
    values: Mapping[str, Any],
    region: str,
    standing: Mapping[str, Copy | None],
    *,
    deleted: bool,
) -> Step:
    """The write of ``--set``: an update of the row, or the parked row made again."""
    here = standing[region]
    changed = tuple(values.items())
    if here is not None:
        return Step(Write.UPDATE, conflict.name, conflict.row_key, here.version, "gets a new value", changed, here.text)
    if conflict.loser_text is None or not is_parked(conflict, table):
        raise AccountdbError(
            f"the row {conflict.row_key} of {table.name} is not there any more",
            hint="it was deleted meanwhile: --dismiss closes the conflict",
        )
    if deleted:
        raise AccountdbError(
            f"the row {conflict.row_key} of {table.name} was deleted after it was parked",
            hint="a deleted row stays deleted: --dismiss closes the conflict",
        )
    content = conflict.loser or {}
    # Above every copy that may still stand elsewhere, so that this one wins there.
    versions = [int(content.get("version", 0)), *(copy.version for copy in standing.values() if copy is not None)]
    return Step(
        Write.INSERT,
        conflict.name,
        conflict.row_key,
        None,
        "is brought back",
        (*changed, ("version", max(versions) + 1)),
        conflict.loser_text,
    )


def inserted_columns(table: Table, step: Step) -> tuple[str, ...]:
    """The columns that a row is made again with. What was written elsewhere keeps neither writer nor time."""
    given = {*json.loads(step.text or "{}"), *dict(step.values)} - {"updated_at", "origin_node"}
    return tuple(column.name for column in table.columns if column.name in given and not column.generated)


def content_of(step: Step) -> Content | None:
    """The row that a step is about, as far as the step knows it."""
    return parsed(step.text)


def closed_by_set(
    conflict: Conflict, others: Iterable[Conflict], table: Table, request: Request, step: Step
) -> tuple[Conflict, ...]:
    """This conflict, and the others of its row that the new values end."""
    rest = [other for other in others if other.id != conflict.id]
    if step.write is Write.UPDATE:
        rest = [other for other in rest if set(contested(other, table)) & set(request.columns)]
    return (conflict, *rest)


def merge_steps(fold: Fold) -> Iterator[Step]:
    """Children first; a row is deleted when nothing refers to it any more."""
    for move in fold.moves:
        if move.twin is not None:
            yield from merge_steps(move.twin)
        else:
            yield Step(
                Write.UPDATE,
                (move.table.schema, move.table.name),
                move.row.uuid,
                move.row.version,
                f"moves to {fold.winner.uuid}",
                tuple(move.values.items()),
                move.row.text,
            )
    yield Step(
        Write.DELETE,
        (fold.table.schema, fold.table.name),
        fold.loser.uuid,
        fold.loser.version,
        f"becomes one with {fold.winner.uuid}",
        text=fold.loser.text,
        into=fold.winner.uuid,
        into_text=fold.winner.text,
        tells=bool(fold.table.referenced_by),
    )
