"""The tables: row contract, what is replicated, what a guard can serve."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from accountdb.catalog.tables import RowTrigger, Table
from accountdb.contract.claims import Claim, Settlement, claims
from accountdb.contract.row_contract import violations
from accountdb.doctor.hints import on_all, on_one, psql, word
from accountdb.doctor.model import listed
from accountdb.doctor.region import FILE, Here, Subject, allowed
from accountdb.guards.definition import TRIGGERS
from accountdb.guards.install import GuardState, TableGuard, states
from accountdb.health import commands
from accountdb.health.advice import Finding, Remedy
from accountdb.pg.connect import Connection
from accountdb.replication.model import OWN_TABLES, SET_NAME, Mode
from accountdb.setup.cleaning import triggers
from accountdb.setup.cleaning.model import Action, Leftover, dotted
from accountdb.sql import block

_SEQUENCE = "takes its value from a sequence"
_COMMENT = re.compile(r"accountdb: (park|release(?: .+)?)$")
_SUFFIX_LENGTH = 9
_CONTRACT = ("set_updated_at", "bump_version")
_IDENTITY = {"f": "the whole row (FULL)", "n": "nothing", "i": "an index of its own"}


@dataclass(frozen=True)
class Short:
    """A table that is offered with something left out. ``generated`` are the generated columns among that."""

    schema: str
    name: str
    filtered: bool
    generated: tuple[str, ...]


def _init(here: Here) -> Remedy:
    return Remedy("", (on_one(here.name, f"init --mode {here.mode}"),))


def _named(table: Table) -> str:
    return dotted(table.schema, table.name)


def judge_contract(here: Here) -> Iterator[Finding]:
    """Row contract and sequences, table by table where something lacks. Pure."""
    if not here.tables:
        yield here.look.failed("row_contract", "there are no account tables", remedy=_init(here))
        return
    faulty = {table: violations(table) for table in here.replicated}
    lacks = {
        table: [one for one in found if _SEQUENCE not in one and not _is_about(one, _off(table))]
        for table, found in faulty.items()
    }
    counts = {table: [one for one in found if _SEQUENCE in one] for table, found in faulty.items()}
    for table, faults in lacks.items():
        if not faults:
            continue
        add = on_all(here.everyone, f"table add {word(table.name)}")
        yield here.look.failed(
            "row_contract", f"{_named(table)}: {'; '.join(faults)}", table.name, remedy=Remedy("", add)
        )
    sound = [table.name for table, faults in lacks.items() if not faults]
    if len(sound) == len(lacks):
        yield here.look.passed("row_contract", f"{len(sound)} tables: {listed(sound, 5)}")
    for table, faults in counts.items():
        if faults:
            remedy = Remedy("drop the default, or the identity, and have the application give the value")
            yield here.look.failed("sequence", f"{_named(table)}: {'; '.join(faults)}", table.name, remedy=remedy)
    if not any(counts.values()):
        yield here.look.passed("sequence", "none")


def _off(table: Table) -> tuple[RowTrigger, ...]:
    """Triggers of the row contract that are there and do not fire as they should: a matter of their own."""
    return tuple(t for t in table.row_triggers if t.function in _CONTRACT and t.mode != "O")


def _is_about(fault: str, triggers: Sequence[RowTrigger]) -> bool:
    return any(f"calls {trigger.function}()" in fault for trigger in triggers)


def judge_triggers(here: Here, leftovers: Sequence[Leftover]) -> Iterator[Finding]:
    """Triggers that are switched off. Pure. Those of a guard are told with the guard."""
    found = [one for one in leftovers if not any(one.name.startswith(f"{name} on ") for name in TRIGGERS)]
    wrong = [one for one in found if one.action is not Action.KEEP]
    for one in found:
        statement = psql(here.name, one.statement)
        if one.action is Action.KEEP:
            text = f"{one.name}: {one.why}"
            yield here.look.info("trigger", text, one.name, one.note, Remedy("if it is to fire", statement))
        else:
            text = f"{one.kind} {one.name}: {one.why}"
            yield here.look.failed("trigger", text, one.name, remedy=Remedy(one.note, statement))
    # Those that are disabled are among the left-overs.
    elsewhere = [(table, trigger) for table in here.replicated for trigger in _off(table) if trigger.mode != "D"]
    for table, trigger in elsewhere:
        name = f"{dotted(trigger.name)} on {_named(table)}"
        enable = sql.SQL("ALTER TABLE {} ENABLE TRIGGER {}").format(table.identifier, sql.Identifier(trigger.name))
        cause = "it fires for what is applied too" if trigger.mode == "A" else "it does not fire for local writes"
        remedy = Remedy("", psql(here.name, enable.as_string()))
        yield here.look.failed("trigger", f"trigger {name}: it is in mode {trigger.mode}, not O", name, cause, remedy)
    if not wrong and not elsewhere:
        yield here.look.passed("trigger", "every trigger of the row contract and every foreign key is on")


def judge_guards(
    here: Here, guards: Sequence[TableGuard], modes: Mapping[tuple[str, str, str], str]
) -> Iterator[Finding]:
    """Guards that are not current. Pure. ``modes`` are of triggers, by schema, table and name."""
    wrong = [guard for guard in guards if guard.state is not GuardState.INSTALLED]
    for guard in wrong:
        off = [
            f"{name} is in mode {mode}, not {wanted}"
            for name, wanted in TRIGGERS.items()
            if (mode := modes.get((guard.schema, guard.table, name), wanted)) not in (wanted, "A")
        ]
        cause = "; ".join(off) if guard.state is GuardState.DISABLED else ""
        text = f"guard on {dotted(guard.schema, guard.table)} is {guard.state}"
        yield here.look.failed("guard", text, guard.table, cause, _init(here))
    if not wrong:
        yield here.look.passed("guard", f"{len(guards)} of {len(guards)} current")


def judge_replicated(here: Here) -> Iterator[Finding]:
    """Whether the set or publication has all tables. Pure."""
    if here.offered is None:
        yield here.look.unseen("replicated", f"role {here.facts.role.name} may not read what is replicated")
        return
    if not here.offered:
        if here.joined:
            remedy = Remedy("", (commands.refresh(here.everyone),))
            yield here.look.failed("replicated", f"{SET_NAME} is gone or empty", remedy=remedy)
        return
    left_out = [t for t in here.tables if (t.schema, t.name) not in here.offered and not violations(t)]
    for table in left_out:
        command = on_all(here.everyone, f"table add {word(table.name)}")
        text = f"{_named(table)} is under the row contract and not replicated"
        yield here.look.warn("replicated", text, table.name, remedy=Remedy("if it is to be", command))
    own = [f"{schema}.{name}" for schema, name in OWN_TABLES if (schema, name) not in here.offered]
    if own:
        remedy = Remedy("", (commands.refresh(here.everyone),))
        cause = "without them deletes and settled conflicts do not travel"
        yield here.look.failed("replicated", f"{', '.join(own)} is not replicated", cause=cause, remedy=remedy)
    if not left_out and not own:
        yield here.look.passed("replicated", f"{len(here.offered) - len(OWN_TABLES)} tables, and accountdb's own")


def _short(conn: Connection, here: Here) -> Iterator[Finding]:
    if not here.streams:
        return
    name = "short_pglogical" if here.mode is Mode.PGLOGICAL else "short_native"
    found = allowed(lambda: conn.execute(block(FILE, name), {"name": SET_NAME}).fetchall())
    if found is None:
        if here.offered is None:
            yield here.look.unseen("generated_column", f"role {here.facts.role.name} may not read the replication set")
        return
    tables = [Short(schema, table, filtered, tuple(gone)) for schema, table, filtered, gone in found]
    yield from judge_short(here, tables)


def judge_short(here: Here, tables: Sequence[Short]) -> Iterator[Finding]:
    """Tables that are offered in part. Pure."""
    for one in tables:
        what = f"{SET_NAME} leaves out {'rows' if one.filtered else 'columns'} of {dotted(one.schema, one.name)}"
        cause = "the copies differ for good, and diff and merge do not end"
        if one.generated:
            columns = ", ".join(one.generated)
            what = f"{SET_NAME} leaves out the generated column {columns} of {dotted(one.schema, one.name)}"
            cause = "pglogical crashes the whole server, again and again, at the next change of that table"
        yield here.look.failed("generated_column", what, one.name, cause, _whole(here, one))
    if not tables:
        generated = [f"{_named(t)}.{c.name}" for t in here.replicated for c in t.generated]
        also = f"; {listed(generated)} generated, and in it" if generated else ""
        yield here.look.passed("generated_column", f"every table is offered whole{also}")


def _whole(here: Here, one: Short) -> Remedy:
    """Out of the set and in again, in one transaction: nothing is missed."""
    table = sql.Identifier(one.schema, one.name).as_string()
    if here.mode is Mode.PGLOGICAL:
        name = sql.Literal(table).as_string()
        gone = f"SELECT pglogical.replication_set_remove_table('{SET_NAME}', {name})"
        again = f"SELECT pglogical.replication_set_add_table('{SET_NAME}', {name}, false)"
    else:
        gone = f"ALTER PUBLICATION {SET_NAME} DROP TABLE {table}"
        again = f"ALTER PUBLICATION {SET_NAME} ADD TABLE {table}"
    after = "then merge, for what was left out" if here.joined else ""
    return Remedy(after, psql(here.name, f"{gone}; {again}"))


def judge_identities(here: Here, identities: Mapping[str, str]) -> Iterator[Finding]:
    """By what an UPDATE or DELETE names its row to the other side. Pure."""
    wrong = [table for table in here.replicated if table.schema == "public" and table.name in identities]
    for table in wrong:
        kind = identities[table.name]
        statement = f"ALTER TABLE {table.identifier.as_string()} REPLICA IDENTITY DEFAULT"
        text = f"replica identity of {_named(table)} is {_IDENTITY[kind]}, not the primary key"
        make = here.look.failed if kind == "n" else here.look.warn
        yield make("replica_identity", text, table.name, remedy=Remedy("", psql(here.name, statement)))
    if not wrong:
        yield here.look.passed("replica_identity", "the primary key of every table")


def judge_unique(here: Here, exclusions: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    """Collisions that a guard cannot settle by its rules, and parks. Pure."""
    names = {table.name for table in here.replicated}
    found: list[Finding] = []
    for excluded, name in exclusions:
        if excluded in names:
            text = f"{dotted(name)} on {dotted('public', excluded)} is an exclusion constraint"
            cause = "guards know unique indexes only: a change that breaks it is parked as an unknown conflict"
            found.append(here.look.warn("unique_index", text, name, cause))
    rules = [(table, claim) for table in here.replicated for claim in claims(table)]
    for table, claim in rules:
        for what in _doubts(table, claim):
            text = f"{dotted(claim.index.name)} on {_named(table)}: {what}"
            remedy = Remedy("a comment on the index says who gives up what: docs/guards.md")
            found.append(here.look.warn("unique_index", text, claim.index.name, remedy=remedy))
    yield from found
    if not found:
        yield here.look.passed("unique_index", f"{len(rules)}, each with a rule")


def _doubts(table: Table, claim: Claim) -> Iterator[str]:
    comment = claim.index.comment or ""
    if "accountdb:" in comment and not _COMMENT.search(comment):
        yield f"its comment {comment!r} is no rule; accountdb: park or accountdb: release COLUMN"
    elif "accountdb: release" in comment and claim.settlement is Settlement.PARK:
        yield f"its comment {comment!r} names nothing that could be released, so the loser is parked"
    elif claim.settlement is Settlement.PARK and table.referenced_by and "accountdb: park" not in comment:
        yield "it has no column that could be released, so the loser is parked with everything that refers to it"
    if claim.settlement is Settlement.SUFFIX and claim.column is not None:
        if claim.max_length is not None and claim.max_length < _SUFFIX_LENGTH:
            yield f"{claim.column.name} holds {claim.max_length} characters, too few for a released value"
        column = sql.Identifier(claim.column.name).as_string()
        plain = rf'\(?"?{re.escape(column.strip(chr(34)))}"?\)?(::[a-z "]+)?'
        if not any(re.fullmatch(rf"(?:(?:\w+\.)?(?:lower|upper|btrim)\()?{plain}\)?", key) for key in claim.index.keys):
            yield f"a new value of {claim.column.name} may have the same key again, and the row is parked then"


def _triggers(conn: Connection, here: Here) -> Iterator[Finding]:
    yield from judge_triggers(here, triggers.plan(here.name, triggers.read(conn)))


def _guards(conn: Connection, here: Here) -> Iterator[Finding]:
    if here.streams and here.prepared:
        modes = {(t.schema, t.table, t.name): t.mode for t in triggers.read(conn)}
        yield from judge_guards(here, states(conn, here.fit, here.known), modes)


def _identities(conn: Connection, here: Here) -> Iterator[Finding]:
    if here.streams:
        found = {name: kind for _, name, kind in conn.execute(block(FILE, "replica_identity"))}
        yield from judge_identities(here, found)


def _unique(conn: Connection, here: Here) -> Iterator[Finding]:
    if here.streams:
        found = [(table, name) for table, name in conn.execute(block(FILE, "exclusions"))]
        yield from judge_unique(here, found)


SUBJECTS: tuple[tuple[str, Subject], ...] = (
    ("row_contract", lambda conn, here: judge_contract(here)),
    ("replicated", lambda conn, here: judge_replicated(here) if here.streams else ()),
    ("generated_column", _short),
    ("replica_identity", _identities),
    ("unique_index", _unique),
    ("trigger", _triggers),
    ("guard", _guards),
)
"""Each with the check that stands for it where the server refuses to answer."""
