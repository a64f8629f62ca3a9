"""Single objects that are left out of a comparison, each rule with its reason.

A rule is for what is *meant* to differ between two regions, or belongs to another program. What
accountdb generates is not thereby unwatched: ``status`` compares its hash with what it should be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from accountdb.drift.structure import OWNED_KINDS, OWNER_KINDS, Definition, Identity


@dataclass(frozen=True)
class Rule:
    """Which objects, and why. ``schema`` None is every schema; patterns match whole names.

    A rule for tables covers what belongs to them. ``definition`` is looked for in the definition
    as well, where a name alone would not be proof.
    """

    why: str
    kind: str
    schema: str | None
    name: re.Pattern[str]
    definition: re.Pattern[str] | None = None

    def covers(self, identity: Identity, definition: Definition) -> bool:
        """Whether this rule leaves the object out."""
        if self.schema not in (None, identity.schema):
            return False
        if identity.kind == self.kind:
            named = self.name.fullmatch(identity.leaf)
            proof = self.definition is None or self.definition.search(str(definition.get("definition")))
            return bool(named and proof)
        owner = identity.owner if self.kind in OWNER_KINDS else None
        return owner is not None and bool(self.name.fullmatch(owner))


RULES = (
    Rule(
        "generated per region from its tables; `migratectl status` checks it by its hash",
        kind="trigger",
        schema=None,
        name=re.compile(r"accountdb_.*"),
        definition=re.compile(r"EXECUTE FUNCTION accountdb\."),
    ),
    Rule(
        "generated per region from its tables; `migratectl status` checks it by its hash",
        kind="function",
        schema="accountdb",
        name=re.compile(r"(guard|bury|capture)_.*"),
    ),
    Rule(
        "pgsync's own: what its sources log, and up to where its jobs have been applied",
        kind="table",
        schema="accountdb",
        name=re.compile(r"change_(log|reader|capture)|sync_watermark"),
    ),
    Rule(
        "made by `migratectl init --mode pglogical` only: what `status` asks where pglogical is",
        kind="function",
        schema="accountdb",
        name=re.compile(r"subscription_states\(\)"),
        definition=re.compile(r"\bpglogical\."),
    ),
    Rule(
        "pglogical makes it on tables in a replication set, and removes it with them",
        kind="trigger",
        schema=None,
        name=re.compile(r"queue_truncate_trigger(_\d+)?"),
        definition=re.compile(r"EXECUTE FUNCTION pglogical\."),
    ),
    Rule(
        "golang-migrate's own bookkeeping; accountdb adopts it and does not need it",
        kind="table",
        schema="public",
        name=re.compile(r"schema_migrations"),
    ),
)


# There may be thousands of objects: each is looked at by the rules that can be about it.
_OF_KIND = {kind: tuple(rule for rule in RULES if rule.kind == kind) for kind in {rule.kind for rule in RULES}}
_OF_OWNED = tuple(rule for rule in RULES if rule.kind in (*OWNER_KINDS, *OWNED_KINDS))


def reason(identity: Identity, definition: Definition) -> str | None:
    """Why this object is left out; None when it is compared."""
    rules = _OF_OWNED if identity.kind in OWNED_KINDS else _OF_KIND.get(identity.kind, ())
    return next((rule.why for rule in rules if rule.covers(identity, definition)), None)
