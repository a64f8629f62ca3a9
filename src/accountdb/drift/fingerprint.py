"""A structure as one word: equal words, equal structures, on every server and major version."""

from __future__ import annotations

import hashlib
import json

from accountdb.drift.structure import Identity, Structure

# The runner's own; it has it at every version.
_LEDGER = frozenset({"migration", "migration_log", "migration_progress"})


def without_ledger(structure: Structure) -> Structure:
    """The structure without the ledger, which is there before the first migration and after the last one down."""
    return Structure({one: found for one, found in structure.objects.items() if not _is_ledger(one)})


def fingerprint(structure: Structure) -> str:
    """SHA-256 of the structure without the ledger, in hexadecimal."""
    text = json.dumps(without_ledger(structure).tree(), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digests(structure: Structure) -> dict[Identity, str]:
    """What each object's definition comes down to: the first 16 digits of its SHA-256."""
    return {
        one: hashlib.sha256(json.dumps(dict(found), sort_keys=True).encode()).hexdigest()[:16]
        for one, found in without_ledger(structure).objects.items()
    }


def _is_ledger(one: Identity) -> bool:
    return one.schema == "accountdb" and (one.owner or one.name) in _LEDGER
