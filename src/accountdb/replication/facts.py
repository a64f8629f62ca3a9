"""Facts of one server that decide whether it can join, and the pure check of them."""

from __future__ import annotations

from dataclasses import dataclass

from accountdb.pg import session
from accountdb.pg.connect import Connection
from accountdb.replication.model import Mode
from accountdb.sql import block

# The first server version that subscribes with origin = none.
NATIVE_SINCE = 160000


@dataclass(frozen=True)
class ServerFacts:
    """One server's parameters, what of them is in use, and the session's rights."""

    role: session.Role
    version_num: int
    wal_level: str
    track_commit_timestamp: str
    pglogical_loaded: bool
    max_slots: int
    used_slots: int
    used_origins: int
    max_senders: int
    used_senders: int
    max_workers: int
    max_apply_workers: int
    conflict_resolution: str
    has_pglogical: bool
    may_create: bool

    @property
    def version(self) -> str:
        """The major version: ``17``."""
        return str(self.version_num // 10000)


def read_facts(conn: Connection) -> ServerFacts:
    """The facts of the server behind ``conn``, readable by every role."""
    row = conn.execute(block("replication/common.sql", "facts")).fetchone()
    assert row is not None
    return ServerFacts(session.role(conn), *row)


def problems(facts: ServerFacts, mode: Mode, *, provides: bool, receives: bool) -> tuple[str, ...]:
    """Why this server cannot take a new stream, each as a fact with what is wanted."""
    found = _server_problems(facts, mode)
    if provides:
        found += _provider_problems(facts)
    if receives:
        found += _receiver_problems(facts, mode)
    return tuple(found)


def _server_problems(facts: ServerFacts, mode: Mode) -> list[str]:
    found: list[str] = []
    if facts.wal_level != "logical":
        found.append(f"wal_level is {facts.wal_level}; set wal_level = logical and restart")
    if mode is Mode.NATIVE and facts.version_num < NATIVE_SINCE:
        found.append(f"PostgreSQL {facts.version} cannot subscribe with origin = none; native mode needs 16 or later")
    if mode is Mode.PGLOGICAL:
        if not facts.pglogical_loaded:
            found.append("pglogical is not preloaded; set shared_preload_libraries = 'pglogical' and restart")
        if not facts.has_pglogical:
            found.append("extension pglogical is missing; run migratectl init --mode pglogical as a superuser")
        if facts.track_commit_timestamp != "on":
            found.append("track_commit_timestamp is off; set track_commit_timestamp = on and restart")
    return found


def _provider_problems(facts: ServerFacts) -> list[str]:
    found: list[str] = []
    if facts.used_slots >= facts.max_slots:
        found.append(
            f"{facts.used_slots} of {facts.max_slots} replication slots are taken; raise max_replication_slots"
        )
    if facts.used_senders >= facts.max_senders:
        found.append(f"{facts.used_senders} of {facts.max_senders} WAL senders are taken; raise max_wal_senders")
    if not (facts.role.superuser or facts.role.replication):
        found.append(
            f"role {facts.role.name} may not replicate; an administrator runs: ALTER ROLE {facts.role.name} REPLICATION"
        )
    return found


def _receiver_problems(facts: ServerFacts, mode: Mode) -> list[str]:
    found: list[str] = []
    if facts.used_origins >= facts.max_slots:
        found.append(
            f"{facts.used_origins} of {facts.max_slots} replication origins are taken; raise max_replication_slots"
        )
    if facts.max_workers < 2:
        found.append(f"only {facts.max_workers} worker processes are allowed; raise max_worker_processes")
    if mode is Mode.NATIVE and facts.max_apply_workers < 1:
        found.append("no apply worker is allowed; raise max_logical_replication_workers from 0")
    role = facts.role
    if mode is Mode.PGLOGICAL:
        if facts.has_pglogical and facts.conflict_resolution != "apply_remote":
            found.append(
                f"pglogical.conflict_resolution is {facts.conflict_resolution or 'not set'},"
                " which overrules the guards; set it to apply_remote and reload"
            )
        if not role.superuser:
            found.append(f"role {role.name} is no superuser, which pglogical needs to make a subscription")
    elif not role.superuser:
        if not role.create_subscription:
            grant = f"GRANT pg_create_subscription TO {role.name}"
            found.append(f"role {role.name} may not subscribe; an administrator runs: {grant}")
        if not facts.may_create:
            grant = f"GRANT CREATE ON DATABASE {role.database} TO {role.name}"
            found.append(f"role {role.name} may not create in database {role.database}; its owner runs: {grant}")
    return found
