"""Facts of one server that decide whether it can join, and the pure check of them."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

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


@dataclass(frozen=True)
class Problem:
    """Why a server cannot take a new stream: a fact, and what mends it in words and as statements.

    ``parameter`` is the server parameter that it is about, else ``role``, ``version`` or ``pglogical``.
    ``restart``: the statements take effect when the server starts again. ``full``: it is in the way of a
    stream more, not of those that there are.
    """

    parameter: str
    fact: str
    mend: str
    statements: tuple[str, ...] = ()
    restart: bool = False
    full: bool = False

    def __str__(self) -> str:
        return f"{self.fact}; {self.mend}"


def problems(facts: ServerFacts, mode: Mode, *, provides: bool, receives: bool) -> tuple[Problem, ...]:
    """Why this server cannot take a new stream, each as a fact with what is wanted."""
    found = _server_problems(facts, mode)
    if provides:
        found += _provider_problems(facts)
    if receives:
        found += _receiver_problems(facts, mode)
    return tuple(found)


def _parameter(name: str, fact: str, mend: str, value: str, *, full: bool = False) -> Problem:
    return Problem(name, fact, mend, (f"ALTER SYSTEM SET {name} = {value}",), restart=True, full=full)


def _granted(fact: str, who: str, statement: str, *names: str) -> Problem:
    """A right that is missing. In words with the names as they are, as a statement with quoted ones."""
    quoted = sql.SQL(statement).format(*map(sql.Identifier, names)).as_string()
    return Problem("role", fact, f"{who}: {statement.format(*names)}", (quoted,))


def _server_problems(facts: ServerFacts, mode: Mode) -> list[Problem]:
    found: list[Problem] = []
    if facts.wal_level != "logical":
        fact = f"wal_level is {facts.wal_level}"
        found.append(_parameter("wal_level", fact, "set wal_level = logical and restart", "logical"))
    if mode is Mode.NATIVE and facts.version_num < NATIVE_SINCE:
        fact = f"PostgreSQL {facts.version} cannot subscribe with origin = none"
        found.append(Problem("version", fact, "native mode needs 16 or later"))
    if mode is Mode.PGLOGICAL:
        found += _pglogical_problems(facts)
    return found


def _pglogical_problems(facts: ServerFacts) -> list[Problem]:
    found: list[Problem] = []
    if not facts.pglogical_loaded:
        mend = "set shared_preload_libraries = 'pglogical' and restart"
        # Without a statement: ALTER SYSTEM would take away the libraries that stand there already.
        found.append(Problem("shared_preload_libraries", "pglogical is not preloaded", mend, restart=True))
    if not facts.has_pglogical:
        mend = "run migratectl init --mode pglogical as a superuser"
        found.append(Problem("pglogical", "extension pglogical is missing", mend))
    if facts.track_commit_timestamp != "on":
        mend = "set track_commit_timestamp = on and restart"
        found.append(_parameter("track_commit_timestamp", "track_commit_timestamp is off", mend, "on"))
    return found


def _provider_problems(facts: ServerFacts) -> list[Problem]:
    found: list[Problem] = []
    if facts.used_slots >= facts.max_slots:
        found.append(_full("max_replication_slots", facts.used_slots, facts.max_slots, "replication slots"))
    if facts.used_senders >= facts.max_senders:
        found.append(_full("max_wal_senders", facts.used_senders, facts.max_senders, "WAL senders"))
    if not (facts.role.superuser or facts.role.replication):
        name = facts.role.name
        fact, statement = f"role {name} may not replicate", "ALTER ROLE {} REPLICATION"
        found.append(_granted(fact, "an administrator runs", statement, name))
    return found


def _full(parameter: str, used: int, limit: int, what: str) -> Problem:
    fact = f"{used} of {limit} {what} are taken"
    return _parameter(parameter, fact, f"raise {parameter}", str(max(10, used + 5)), full=True)


def _receiver_problems(facts: ServerFacts, mode: Mode) -> list[Problem]:
    found: list[Problem] = []
    if facts.used_origins >= facts.max_slots:
        found.append(_full("max_replication_slots", facts.used_origins, facts.max_slots, "replication origins"))
    if facts.max_workers < 2:
        fact = f"only {facts.max_workers} worker processes are allowed"
        found.append(_parameter("max_worker_processes", fact, "raise max_worker_processes", "16"))
    if mode is Mode.NATIVE and facts.max_apply_workers < 1:
        mend = "raise max_logical_replication_workers from 0"
        found.append(_parameter("max_logical_replication_workers", "no apply worker is allowed", mend, "4"))
    role = facts.role
    if mode is Mode.PGLOGICAL:
        if facts.has_pglogical and facts.conflict_resolution != "apply_remote":
            fact = (
                f"pglogical.conflict_resolution is {facts.conflict_resolution or 'not set'}, which overrules the guards"
            )
            found.append(Problem("pglogical.conflict_resolution", fact, "set it to apply_remote and reload"))
        if not role.superuser:
            fact = f"role {role.name} is no superuser, which pglogical needs to make a subscription"
            found.append(Problem("role", fact, "join as an administrator"))
    elif not role.superuser:
        found += _subscriber_rights(facts)
    return found


def _subscriber_rights(facts: ServerFacts) -> list[Problem]:
    role, found = facts.role, list[Problem]()
    if not role.create_subscription:
        fact, statement = f"role {role.name} may not subscribe", "GRANT pg_create_subscription TO {}"
        found.append(_granted(fact, "an administrator runs", statement, role.name))
    if not facts.may_create:
        fact = f"role {role.name} may not create in database {role.database}"
        found.append(_granted(fact, "its owner runs", "GRANT CREATE ON DATABASE {} TO {}", role.database, role.name))
    return found
