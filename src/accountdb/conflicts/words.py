"""Conflicts in plain words, without a secret. Pure."""

from __future__ import annotations

from accountdb.catalog.tables import Table
from accountdb.conflicts.masking import MASK, Secrets, printable
from accountdb.conflicts.model import Conflict, Content
from accountdb.conflicts.planning import contested

KINDS = {
    "unique_claim": "one value registered twice",
    "update_update": "one row changed in two regions",
    "update_delete": "changed here, deleted there",
    "dead_row": "late change of a deleted row",
    "child_of_deleted": "deleted along with its account",
    "orphan": "its account is not here",
    "unknown": "a change that could not be applied",
    "merged": "merged into another by a person",
}
_NAMES = ("username", "email", "name")


def kind(conflict: Conflict) -> str:
    """The kind for people."""
    return KINDS.get(conflict.kind, conflict.kind)


def label(table: Table | None, content: Content | None, secrets: Secrets, name: tuple[str, str]) -> str:
    """How to call one row: its name, else what makes it unique, else the beginning of its uuid."""
    if content is None:
        return "unknown"
    for column in _NAMES:
        if content.get(column) and not secrets.hides(name, column):
            return printable(str(content[column]))
    for index in table.unique_indexes if table else ():
        found = [content.get(column) for column in index.columns]
        if all(found) and not any(secrets.hides(name, column) for column in index.columns):
            return printable(" ".join(map(str, found)))
    return str(content.get("uuid", "unknown"))[:8]


def lost_value(conflict: Conflict, table: Table | None, secrets: Secrets) -> dict[str, str | None]:
    """What the loser had of the columns that the conflict is about, masked."""
    content = conflict.loser or {}
    found: dict[str, str | None] = {}
    for column in contested(conflict, table) if table else ():
        value = content.get(column)
        hidden = secrets.hides(conflict.name, column)
        found[column] = None if value is None else MASK if hidden else printable(str(value))
    return found


def sentence(conflict: Conflict, table: Table | None, secrets: Secrets) -> str:
    """Who lost what to whom."""
    loser = label(table, conflict.loser, secrets, conflict.name)
    winner = label(table, conflict.winner, secrets, conflict.name)
    lost = ", ".join(f"{column} {value}" for column, value in lost_value(conflict, table, secrets).items())
    texts = {
        "unique_claim": f"{loser} lost {lost or 'a unique value'} to {winner}",
        "update_update": f"a change of {loser} gave way to a newer one",
        "update_delete": f"{loser} was changed here while it was deleted elsewhere; it is deleted",
        "dead_row": f"a change of {loser} came after its delete; it stays deleted",
        "child_of_deleted": f"{loser} went with the account that it belonged to",
        "orphan": f"{loser} names a row that is not here ({lost or conflict.detail}) and is kept aside",
        "unknown": f"a change of {loser} is kept aside: {detail(conflict, secrets) or 'no reason recorded'}",
        "merged": f"{loser} became one with {winner}",
    }
    return texts.get(conflict.kind, f"{loser}: {conflict.rule}")


def detail(conflict: Conflict, secrets: Secrets) -> str | None:
    """The index, the constraint or the error that the guard noted."""
    if conflict.detail is None:
        return None
    return printable(secrets.scrubbed(conflict.name, conflict.detail, (conflict.winner, conflict.loser)))
