"""Conflicts in plain words, without a secret. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from accountdb.catalog.tables import Reference, Table
from accountdb.conflicts.model import Conflict
from accountdb.conflicts.planning import contested
from accountdb.contract.masking import MASK, Content, Secrets, printable

KINDS = {
    "unique_claim": "one value registered twice",
    "update_update": "one row changed in two regions",
    "update_delete": "changed here, deleted there",
    "dead_row": "late change of a deleted row",
    "child_of_deleted": "deleted along with its account",
    "orphan": "its account is not here",
    "unknown": "a change that could not be applied",
    "skipped": "a change that a person skipped",
    "merged": "merged into another by a person",
}
_NAMES = ("username", "email", "name")


@dataclass(frozen=True)
class Names:
    """What rows are called by. ``owners`` are the accounts of rows that belong to one, by uuid."""

    secrets: Secrets
    owners: Mapping[UUID, str] = field(default_factory=dict)


def kind(conflict: Conflict) -> str:
    """The kind for people."""
    return KINDS.get(conflict.kind, conflict.kind)


def owner_reference(table: Table) -> Reference | None:
    """The foreign key by which rows of ``table`` belong to an account."""
    owners = [r for r in table.references if r.parent_columns == ("uuid",)]
    return owners[0] if len(owners) == 1 else None


def owner_key(table: Table | None, content: Content | None) -> UUID | None:
    """The account that a row belongs to."""
    reference = owner_reference(table) if table else None
    value = (content or {}).get(reference.child_columns[0]) if reference else None
    return UUID(str(value)) if value else None


def label(table: Table | None, content: Content | None, names: Names, name: tuple[str, str]) -> str:
    """How to call one row: its name, else what makes it unique, else the beginning of its uuid; and its account."""
    if content is None:
        return "unknown"
    for column in _NAMES:
        if content.get(column) and not names.secrets.hides(name, column):
            return printable(str(content[column]))
    own = _key_of(table, content, names.secrets, name) or str(content.get("uuid", "unknown"))[:8]
    owner = names.owners.get(owner_key(table, content) or UUID(int=0))
    return f"{own} of {owner}" if owner else own


def _key_of(table: Table | None, content: Content, secrets: Secrets, name: tuple[str, str]) -> str | None:
    for index in table.unique_indexes if table else ():
        columns = [column for column in index.columns if not column.endswith("uuid")]
        found = [content.get(column) for column in columns]
        if columns and all(found) and not any(secrets.hides(name, column) for column in columns):
            return printable(" ".join(map(str, found)))
    return None


def lost_value(conflict: Conflict, table: Table | None, secrets: Secrets) -> dict[str, str | None]:
    """What the loser had of the columns that the conflict is about, masked."""
    content = conflict.loser or {}
    found: dict[str, str | None] = {}
    for column in contested(conflict, table) if table else ():
        value = content.get(column)
        hidden = secrets.hides(conflict.name, column)
        found[column] = None if value is None else MASK if hidden else printable(str(value))
    return found


def sentence(conflict: Conflict, table: Table | None, names: Names) -> str:
    """Who lost what to whom."""
    secrets = names.secrets
    loser = label(table, conflict.loser, names, conflict.name)
    winner = label(table, conflict.winner, names, conflict.name)
    lost = ", ".join(f"{column} {value}" for column, value in lost_value(conflict, table, secrets).items())
    texts = {
        "unique_claim": f"{loser} lost {lost or 'a unique value'} to {winner}",
        "update_update": f"a change of {loser} gave way to a newer one",
        "update_delete": f"{loser} was changed here while it was deleted elsewhere; it is deleted",
        "dead_row": f"a change of {loser} came after its delete; it stays deleted",
        "child_of_deleted": f"{loser} went with the account that it belonged to",
        "orphan": f"{loser} names a row that is not here ({lost or conflict.detail}) and is kept aside",
        "unknown": f"a change of {loser} is kept aside: {detail(conflict, secrets) or 'no reason recorded'}",
        "skipped": f"a change of {loser} was skipped: {detail(conflict, secrets) or 'no reason recorded'}",
        "merged": f"{loser} became one with {winner}",
    }
    return texts.get(conflict.kind, f"{loser}: {conflict.rule}")


def detail(conflict: Conflict, secrets: Secrets) -> str | None:
    """The index, the constraint or the error that the guard noted."""
    if conflict.detail is None:
        return None
    return printable(secrets.scrubbed(conflict.name, conflict.detail, (conflict.winner, conflict.loser)))
