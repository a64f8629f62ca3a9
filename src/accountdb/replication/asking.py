"""What a region has of replication, as questions that can be asked all at once: over a slow link each wait counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from psycopg.rows import TupleRow

from accountdb.errors import MissingRightError
from accountdb.replication import native, pglogical
from accountdb.replication.common import FILE
from accountdb.replication.model import SET_NAME, Mode, Slot, Standing, State, Subscription
from accountdb.sql import block

# A statement and its parameters.
Question: TypeAlias = tuple[Any, Mapping[str, Any] | None]
Answers: TypeAlias = Mapping[str, Sequence[TupleRow]]

# The region's node; fails where accountdb is not installed.
NODE: Question = (block(FILE, "node"), None)
# What this role may read of pglogical: everything, the states of subscriptions, whether the extension is there.
MAY_READ: Question = (block(pglogical.FILE, "may_read"), None)


@dataclass(frozen=True)
class May:
    """The answer to ``MAY_READ``."""

    everything: bool
    states: bool
    installed: bool


def questions(mode: Mode, may: May, role: str) -> dict[str, Question]:
    """All that ``standing`` needs to know, by name. Raises MissingRightError where this role may not ask."""
    if mode is Mode.PGSYNC:
        return {}
    asked: dict[str, Question] = {"pending": (block(FILE, "pending"), None)}
    if mode is Mode.NATIVE:
        asked["subscriptions"] = (block(native.FILE, "subscriptions"), {"publication": SET_NAME})
        asked["followers"] = (block(FILE, "followers"), {"plugin": "pgoutput"})
        asked["offered"] = (block(native.FILE, "published"), {"name": SET_NAME})
        return asked
    asked["followers"] = (block(FILE, "followers"), {"plugin": "pglogical_output"})
    if may.installed and may.everything:
        asked["subscriptions"] = (block(pglogical.FILE, "subscriptions_of_node"), None)
        asked["offered"] = (block(pglogical.FILE, "offered"), {"name": SET_NAME})
    elif may.installed and may.states:
        asked["subscriptions"] = (block(pglogical.FILE, "states"), None)
    elif may.installed:
        raise MissingRightError(
            f"role {role} may not see the pglogical subscriptions",
            hint=f"an administrator runs: migratectl init --mode pglogical --grant-to {role}",
        )
    return asked


def standing(node: str | None, mode: Mode, answers: Answers) -> Standing:
    """What a region has of replication, out of the answers. Pure; the same as ``engine.standing`` asks by itself."""
    subscriptions = answers.get("subscriptions", ())
    found: list[Subscription] = (
        [native.subscription(*row) for row in subscriptions]
        if mode is Mode.NATIVE
        else [pglogical.subscription(*row) for row in subscriptions]
    )
    names = {one.name for one in found}
    found += [Subscription(name, State.PENDING, None) for (name,) in answers.get("pending", ()) if name not in names]
    return Standing(node, mode, tuple(found), tuple(Slot(*row) for row in answers.get("followers", ())))


def offered(answers: Answers) -> frozenset[tuple[str, str]]:
    """The tables that the region offers; empty where this role may not know."""
    return frozenset((schema, name) for schema, name in answers.get("offered", ()))
