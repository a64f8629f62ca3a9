"""The words of ``migratectl doctor``: its checks by name, and how each can end. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from accountdb.health.advice import NOTHING, Finding, Level, Remedy

CHECKS = {
    "region": "the region answers, and is no standby",
    "read_only": "transactions may write",
    "server": "the same version of PostgreSQL in all regions",
    "init": "the database is prepared: migratectl init",
    "node": "a node name of its own, the same mode in all regions",
    "schema": "accountdb's own schema is of this version",
    "wal_level": "logical",
    "max_replication_slots": "enough for the streams, and one more for a resync",
    "max_wal_senders": "enough for the streams, and one more for a resync",
    "max_worker_processes": "enough for the apply workers",
    "max_logical_replication_workers": "enough for the apply workers (native)",
    "shared_preload_libraries": "pglogical is in it (pglogical)",
    "track_commit_timestamp": "on (pglogical)",
    "max_slot_wal_keep_size": "a limit, so that a dead peer cannot fill the disk",
    "extension": "pglogical is there, the same version in all regions, and the one that is installed on the host",
    "role": "the role of this connection may do what the mode needs",
    "parameter": "what must be equal in all regions is equal",
    "structure": "the same structure in all regions: migratectl check",
    "row_contract": "every replicated table has uuid, created_at, updated_at, version, origin_node and their triggers",
    "sequence": "no column takes its value from a sequence",
    "generated_column": "no replicated table leaves columns or rows out",
    "replica_identity": "the primary key",
    "unique_index": "a guard can settle a collision in every unique index",
    "replicated": "every table under the row contract is replicated, and accountdb's own",
    "trigger": "no trigger of the row contract, no foreign key is switched off",
    "guard": "current on every replicated table, with the one that refuses TRUNCATE",
    "version_rises": "an UPDATE raises version and updated_at and names this node: tried, and rolled back",
    "stream": "both directions subscribed and replicating",
    "conflict_resolution": "apply_remote, in the running worker (pglogical)",
    "slot": "every slot has a follower and keeps what it needs",
    "gap": "every beat of the last day has arrived: no stream passed anything over, no region was put back",
    "tls": "connections from other hosts are encrypted",
    "clock": "the clocks of the regions agree",
    "business_role": "roles that write have the four rights on every table and no more",
    "public_rights": "PUBLIC may use nothing of pglogical, accountdb or the account tables",
    "monitoring": "ordinary roles can see the state of the subscriptions (pglogical)",
    "transaction": "no transaction stays open for more than 10 minutes",
    "prepared_transaction": "no prepared transaction is left behind",
    "conflict": "nothing waits for a person",
    "healing": "merge --recent runs, and a merge has found the regions equal",
    "leftover": "migratectl clean finds nothing to remove",
    "capture": "changes of every table are logged (pgsync)",
    "network": "the servers reach each other",
}
"""Every check, and what it wants. The names are stable: they stand in the JSON form and in docs/doctor.md."""


@dataclass(frozen=True)
class Checkup:
    """All findings, in the order of the regions; those with region None are about all of them together.

    ``healthy``: no check failed. ``counts`` are by level.
    """

    regions: tuple[str, ...]
    findings: tuple[Finding, ...]
    healthy: bool = field(init=False)
    counts: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "healthy", not any(one.level is Level.FAIL for one in self.findings))
        counts = {str(level): sum(one.level is level for one in self.findings) for level in Level}
        object.__setattr__(self, "counts", counts)


@dataclass(frozen=True)
class Look:
    """Makes the findings of one region, or of all (``region`` None)."""

    region: str | None

    def _made(
        self, level: Level, check: str, found: str, subject: str = "", cause: str = "", remedy: Remedy = NOTHING
    ) -> Finding:
        return Finding(check, level, self.region, subject, found, CHECKS[check], cause, remedy)

    def passed(self, check: str, found: str, subject: str = "") -> Finding:
        """It is as it should be."""
        return self._made(Level.PASS, check, found, subject)

    def info(self, check: str, found: str, subject: str = "", cause: str = "", remedy: Remedy = NOTHING) -> Finding:
        """A fact that is neither right nor wrong."""
        return self._made(Level.INFO, check, found, subject, cause, remedy)

    def unseen(self, check: str, why: str, subject: str = "") -> Finding:
        """It was not looked at. Never the same as passed."""
        return self._made(Level.INFO, check, "not looked at", subject, why)

    def warn(self, check: str, found: str, subject: str = "", cause: str = "", remedy: Remedy = NOTHING) -> Finding:
        """It works, and is asking for trouble."""
        return self._made(Level.WARN, check, found, subject, cause, remedy)

    def failed(self, check: str, found: str, subject: str = "", cause: str = "", remedy: Remedy = NOTHING) -> Finding:
        """It is wrong."""
        return self._made(Level.FAIL, check, found, subject, cause, remedy)


def listed(names: Sequence[str], most: int = 4) -> str:
    """Some names on one line; of many the first ones, and how many more."""
    shown = list(names) if len(names) <= most + 1 else [*names[:most], f"{len(names) - most} more"]
    return ", ".join(shown)
