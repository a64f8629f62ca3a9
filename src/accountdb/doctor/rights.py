"""Who may do what: roles that write, PUBLIC, monitoring, and whether connections are encrypted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from accountdb.doctor.hints import on_one, psql, word
from accountdb.doctor.model import listed
from accountdb.doctor.region import FILE, Here, Subject
from accountdb.health.advice import Finding, Remedy
from accountdb.pg.connect import Connection
from accountdb.replication.model import Mode
from accountdb.sql import block

_FOUR = ("SELECT", "INSERT", "UPDATE", "DELETE")
_WRITE = {"INSERT", "UPDATE", "DELETE"}
# What a business role must not have: TRUNCATE diverges the regions, the others change tables.
_TOO_MUCH = {"TRUNCATE", "TRIGGER", "REFERENCES", "MAINTAIN"}


@dataclass(frozen=True)
class Granted:
    """What one role, or PUBLIC, was granted on one table."""

    table: str
    role: str
    public: bool
    superuser: bool
    rights: tuple[str, ...]


def _granted(conn: Connection, here: Here) -> list[Granted]:
    names = [table.name for table in here.replicated]
    return [
        Granted(table, role, public, superuser, tuple(rights))
        for table, role, public, superuser, rights in conn.execute(block(FILE, "table_rights"), {"tables": names})
    ]


def _business(conn: Connection, here: Here) -> Iterator[Finding]:
    yield from judge_business(here, _granted(conn, here), [table.name for table in here.replicated])


def judge_business(here: Here, granted: Sequence[Granted], tables: Sequence[str]) -> Iterator[Finding]:
    """Every role but the owner that may write: the four rights on every table, and no more. Pure."""
    by_role: dict[str, dict[str, tuple[str, ...]]] = {}
    for one in granted:
        if not one.public and not one.superuser:
            by_role.setdefault(one.role, {})[one.table] = one.rights
    writers = {role: found for role, found in by_role.items() if any(_WRITE & set(r) for r in found.values())}
    found = False
    for role, rights in writers.items():
        lacking = [
            f"{table} ({', '.join(r for r in _FOUR if r not in rights.get(table, ()))})"
            for table in tables
            if not set(_FOUR) <= set(rights.get(table, ()))
        ]
        if lacking:
            found = True
            command = on_one(here.name, f"init --mode {here.mode} --grant-to {word(role)}")
            text = f"role {role} writes some tables and lacks rights on {listed(lacking)}"
            yield here.look.warn("business_role", text, role, remedy=Remedy("if it is the application's", (command,)))
        much = {table: sorted(_TOO_MUCH & set(r)) for table, r in rights.items() if _TOO_MUCH & set(r)}
        if much:
            found = True
            every = sorted({right for one in much.values() for right in one})
            targets = sql.SQL(", ").join(sql.Identifier("public", table) for table in much)
            revoke = sql.SQL("REVOKE {} ON {} FROM {}").format(sql.SQL(", ".join(every)), targets, sql.Identifier(role))
            text = f"role {role} has {', '.join(every)} on {listed(sorted(much))}"
            remedy = Remedy("the owner of the tables runs it", psql(here.name, revoke.as_string()))
            yield here.look.warn("business_role", text, role, "what an application does not need", remedy)
    if not writers:
        says = "the application writes as a role of its own: migratectl create-user, or init --grant-to ROLE"
        text = "no role but the owner may write the account tables"
        yield here.look.info("business_role", text, remedy=Remedy(says))
    elif not found:
        yield here.look.passed("business_role", f"{listed(sorted(writers))}: the four rights on every table")


def _public(conn: Connection, here: Here) -> Iterator[Finding]:
    found = [*_public_tables(here, _granted(conn, here)), *_public_own(conn, here)]
    if here.facts.has_pglogical:
        using = {role: right for role, right in conn.execute(block(FILE, "pglogical_rights")) if right == "USAGE"}
        reaching = {role for (role,) in conn.execute(block(FILE, "pglogical_objects"))}
        found += judge_pglogical(here, set(using), reaching)
    readers = [role for (role,) in conn.execute(block(FILE, "conflict_readers"))]
    if readers:
        names = sql.SQL(", ").join(map(sql.Identifier, readers))
        revoke = sql.SQL("REVOKE SELECT ON accountdb.conflict FROM {}").format(names).as_string()
        text = f"{listed(readers)} may read accountdb.conflict, which holds whole rows with their secrets"
        remedy = Remedy("", psql(here.name, revoke))
        found.append(here.look.warn("public_rights", text, "accountdb.conflict", remedy=remedy))
    yield from found
    if not found:
        yield here.look.passed("public_rights", "none that matter")


def _public_tables(here: Here, granted: Sequence[Granted]) -> Iterator[Finding]:
    for one in granted:
        if one.public:
            table = sql.Identifier("public", one.table).as_string()
            text = f"PUBLIC has {', '.join(one.rights)} on {table}"
            remedy = Remedy("", psql(here.name, f"REVOKE ALL ON {table} FROM PUBLIC"))
            yield here.look.failed("public_rights", text, one.table, "every role that may connect has it", remedy)


def _public_own(conn: Connection, here: Here) -> Iterator[Finding]:
    for name, rights in conn.execute(block(FILE, "own_tables_rights")):
        table = sql.Identifier("accountdb", name).as_string()
        revoke = psql(here.name, f"REVOKE {', '.join(rights)} ON {table} FROM PUBLIC")
        text = f"PUBLIC has {', '.join(rights)} on {table}"
        yield here.look.failed("public_rights", text, f"accountdb.{name}", remedy=Remedy("", revoke))
    for (function,) in conn.execute(block(FILE, "own_functions_rights")):
        revoke = psql(here.name, f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
        text = f"PUBLIC may call {function}, which acts with its owner's rights"
        yield here.look.failed("public_rights", text, function, remedy=Remedy("", revoke))


def judge_pglogical(here: Here, using: set[str], reaching: set[str]) -> Iterator[Finding]:
    """Who could read the passwords of providers. Pure. '' is PUBLIC."""
    everybody, name = "", "pglogical"
    mend = Remedy("a superuser runs it", (on_one(here.name, "init --mode pglogical"),))
    passwords = "whoever may use it can read the password of the provider and disable the subscriptions"
    if everybody in using:
        text = "PUBLIC has USAGE on schema pglogical"
        yield here.look.failed("public_rights", text, name, passwords if everybody in reaching else "", mend)
    elif everybody in reaching:
        roles = sorted(using)
        if roles:
            text = f"PUBLIC may call or read what is in schema pglogical, and {listed(roles)} may use it"
            yield here.look.failed("public_rights", text, name, passwords, mend)
    for role in sorted((using & reaching) - {everybody}):
        revoke = sql.SQL(
            "REVOKE ALL ON ALL TABLES IN SCHEMA pglogical FROM {0};"
            " REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pglogical FROM {0}"
        ).format(sql.Identifier(role))
        remedy = Remedy("a superuser runs it", psql(here.name, revoke.as_string()))
        text = f"role {role} may use schema pglogical and what is in it"
        yield here.look.failed("public_rights", text, role, passwords, remedy)


def _encryption(conn: Connection, here: Here) -> Iterator[Finding]:
    row = conn.execute(block(FILE, "tls")).fetchone()
    if row is not None:
        yield judge_tls(here, "this connection", *row)
    if not here.sees_all:
        yield here.look.unseen(
            "tls", f"role {here.facts.role.name} does not see the connections of others", "followers"
        )
        return
    for name, ssl, version, address, local in conn.execute(block(FILE, "tls_followers")):
        yield judge_tls(here, f"follower {name}" + (f" from {address}" if address else ""), ssl, version, local)


def judge_tls(here: Here, what: str, ssl: bool, version: str, local: bool) -> Finding:
    """One connection. Pure. What does not leave the host needs no encryption."""
    if ssl:
        return here.look.passed("tls", f"{what}: {version}", what)
    if local:
        return here.look.info("tls", f"{what}: not encrypted, and does not leave the host", what)
    says = "use hostssl in pg_hba.conf, and sslmode=verify-full in the DSN of the side that connects"
    cause = "rows and password hashes can be read and changed on the way"
    return here.look.warn("tls", f"{what}: not encrypted", what, cause, Remedy(says))


def _monitoring(conn: Connection, here: Here) -> Iterator[Finding]:
    if here.mode is not Mode.PGLOGICAL or not here.prepared:
        return
    row = conn.execute(block(FILE, "states_function")).fetchone()
    if row and row[0]:
        yield here.look.passed("monitoring", "accountdb.subscription_states() is there")
        return
    text = "accountdb.subscription_states() is missing: ordinary roles see no subscription"
    remedy = Remedy("a superuser runs it", (on_one(here.name, "init --mode pglogical"),))
    yield here.look.warn("monitoring", text, remedy=remedy)


SUBJECTS: tuple[tuple[str, Subject], ...] = (
    ("business_role", _business),
    ("public_rights", _public),
    ("tls", _encryption),
    ("monitoring", _monitoring),
)
"""Each with the check that stands for it where the server refuses to answer."""
