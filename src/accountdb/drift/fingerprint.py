"""A structure as one word: equal words, equal structures, on every server and major version."""

from __future__ import annotations

import hashlib
import json

from accountdb.drift.read import read_structure
from accountdb.drift.structure import Identity, Structure, essential
from accountdb.pg.connect import Connection

# The runner's own; it has it at every version.
_LEDGER = frozenset({"migration", "migration_log", "migration_progress"})


def core(structure: Structure) -> Structure:
    """What of a structure decides whether rows fit (``structure.essential``), without the ledger of migrations.

    The ledger is there before the first migration and after the last one down.
    """
    return Structure({one: found for one, found in essential(structure).objects.items() if not _is_ledger(one)})


def fingerprint(structure: Structure) -> str:
    """SHA-256 of the core of a structure, in hexadecimal."""
    text = json.dumps(core(structure).tree(), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def look(conn: Connection) -> str:
    """The fingerprint of the structure of a region, as this session sees it now."""
    return fingerprint(read_structure(conn))


def digests(structure: Structure) -> dict[Identity, str]:
    """What each object's definition comes down to: the first 16 digits of its SHA-256."""
    return {
        one: hashlib.sha256(json.dumps(dict(found), sort_keys=True).encode()).hexdigest()[:16]
        for one, found in core(structure).objects.items()
    }


def _is_ledger(one: Identity) -> bool:
    return one.schema == "accountdb" and (one.owner or one.name) in _LEDGER
