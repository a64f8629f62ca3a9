"""The server: its version, its parameters, the extension, what this role may do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from accountdb.doctor.hints import of_problem, on_all, on_one, plain, psql, set_parameter
from accountdb.doctor.model import Look
from accountdb.doctor.region import FILE, Here, Subject
from accountdb.errors import AccountdbError
from accountdb.health.advice import Finding, Remedy
from accountdb.migrations.runner import plan_for
from accountdb.pg.connect import Connection
from accountdb.replication import common
from accountdb.replication.facts import Problem, problems
from accountdb.replication.model import Mode
from accountdb.sql import block

# What is said of a parameter that is as it should be.
_PASSED = {
    "wal_level": lambda f: f.wal_level,
    "max_replication_slots": lambda f: f"{f.max_slots}, {max(f.used_slots, f.used_origins)} in use",
    "max_wal_senders": lambda f: f"{f.max_senders}, {f.used_senders} in use",
    "max_worker_processes": lambda f: str(f.max_workers),
}
_PASSED_NATIVE = {"max_logical_replication_workers": lambda f: str(f.max_apply_workers)}
_PASSED_PGLOGICAL = {
    "shared_preload_libraries": lambda f: "pglogical is preloaded",
    "track_commit_timestamp": lambda f: f.track_commit_timestamp,
}


def _writable(conn: Connection, here: Here) -> Iterator[Finding]:
    yield here.look.passed("server", f"PostgreSQL {here.version}")
    if here.standby:
        yield here.look.failed(
            "region",
            "the server is in recovery, a standby that cannot write",
            remedy=Remedy(f"name the primary of {here.name}, or promote this server"),
        )
    else:
        yield here.look.passed("region", f"answers, as role {here.facts.role.name}")
    if here.read_only:
        reset = "ALTER SYSTEM RESET default_transaction_read_only"
        yield here.look.failed(
            "read_only",
            "default_transaction_read_only is on: nothing can be written, no change of the other side applied",
            remedy=Remedy(
                "a superuser runs it; where it was set for a database or a role, ALTER DATABASE, ALTER ROLE ... RESET",
                psql(here.name, reset, "SELECT pg_reload_conf()"),
            ),
        )
    else:
        yield here.look.passed("read_only", "transactions may write")


def _prepared(conn: Connection, here: Here) -> Iterator[Finding]:
    """Whether init was run, and in which mode."""
    if not here.prepared:
        yield here.look.failed(
            "init",
            "not prepared for accountdb",
            remedy=Remedy("", (on_one(here.name, f"init --mode {here.mode} --node node_{plain(here.name)}"),)),
        )
        return
    if here.noted is not here.mode:
        # A joined region has to leave first; init says so itself.
        yield here.look.failed(
            "init",
            f"prepared for mode {here.noted}, not {here.mode}" + (", and joined in it" if here.joined else ""),
            remedy=Remedy("", (on_one(here.name, f"init --mode {here.mode}"),)),
        )
    else:
        yield here.look.passed("init", f"prepared for mode {here.noted}")


def _node(conn: Connection, here: Here) -> Iterator[Finding]:
    if not here.prepared:
        return
    setting = common.node_setting(conn)
    again = Remedy("", (on_one(here.name, f"init --mode {here.noted} --node node_{plain(here.name)}"),))
    if here.node is None:
        if here.streams:
            # A join gives it one.
            make = here.look.failed if here.joined else here.look.warn
            yield make("node", "no node name yet: rows that are written here name the node local", remedy=again)
        else:
            yield here.look.info("node", "no node name: it is needed for merge jobs only", remedy=again)
    elif setting not in (None, here.node):
        yield here.look.failed(
            "node",
            f"accountdb.node says {here.node}, and the setting pglogical.node_name = {setting} comes first",
            remedy=Remedy(
                "an administrator runs it", (on_one(here.name, f"init --mode {here.noted} --node {here.node}"),)
            ),
        )
    else:
        yield here.look.passed("node", here.node)


def _schema(conn: Connection, here: Here) -> Iterator[Finding]:
    if not here.prepared:
        return
    try:
        plan = plan_for(conn)
    except AccountdbError as error:
        yield here.look.failed("schema", error.message, remedy=Remedy(error.hint or ""))
        return
    if plan.steps:
        alone = len(here.everyone) == 1
        command = (on_one(here.name, "migrate"),) if alone else on_all(here.everyone, "migrate")
        pending = len(plan.steps)
        what = f"version {plan.from_version}, {pending} migration{'s' if pending > 1 else ''} pending"
        yield here.look.failed("schema", what, remedy=Remedy("", command))
    else:
        yield here.look.passed("schema", f"version {plan.to_version}")


def _parameters(conn: Connection, here: Here) -> Iterator[Finding]:
    if here.streams:
        yield from judge_parameters(here)
        yield judge_keep(here)
    else:
        yield here.look.passed("role", f"{here.facts.role.name}; mode pgsync needs no special right")


def _extension(conn: Connection, here: Here) -> Iterator[Finding]:
    if here.mode is Mode.PGLOGICAL:
        row = conn.execute(block(FILE, "extension")).fetchone()
        yield judge_extension(here, *(row or (None, None)))


def judge_parameters(here: Here) -> Iterator[Finding]:
    """What streams need of the server, and of the role. Pure."""
    found = problems(here.facts, here.mode, provides=True, receives=True)
    wrong = [one for one in found if one.parameter not in ("pglogical.conflict_resolution", "pglogical")]
    passed = _PASSED | (_PASSED_PGLOGICAL if here.mode is Mode.PGLOGICAL else _PASSED_NATIVE)
    for name, says in passed.items():
        faults = [one for one in wrong if one.parameter == name]
        if not faults:
            yield here.look.passed(name, says(here.facts))
        for fault in faults:
            yield _problem(here, name, fault)
    rights = [one for one in wrong if one.parameter == "role"]
    if not rights:
        yield here.look.passed("role", f"{here.facts.role.name} may join")
    for fault in rights:
        yield _problem(here, "role", fault)
    for fault in [one for one in wrong if one.parameter == "version"]:
        yield here.look.failed("server", fault.fact, remedy=Remedy(fault.mend))


def _problem(here: Here, check: str, fault: Problem) -> Finding:
    if check == "role" and (here.joined or here.standing is None):
        # Another role joined, or may have.
        return here.look.info(check, fault.fact, cause="only a region join would need it")
    remedy = of_problem(here.name, fault)
    if here.joined and fault.full:
        return here.look.warn(check, fault.fact, cause="a resync or another region would find none", remedy=remedy)
    return here.look.failed(check, fault.fact, remedy=remedy)


def judge_keep(here: Here) -> Finding:
    """Whether a dead peer can fill the disk. Pure."""
    if here.keep_bytes >= 0:
        return here.look.passed("max_slot_wal_keep_size", here.keep)
    says = "a superuser runs it, with a size that the disk has room for"
    return here.look.warn(
        "max_slot_wal_keep_size",
        "no limit: while a peer is away its slot keeps log until the disk is full",
        remedy=set_parameter(here.name, "max_slot_wal_keep_size", "'10GB'", says=says),
    )


def judge_extension(here: Here, installed: str | None, newest: str | None) -> Finding:
    """The extension pglogical: installed, and of the version of its library. Pure."""
    if installed is None:
        command = on_one(here.name, "init --mode pglogical")
        after = "a superuser runs it" + ("; then both regions join again" if here.noted is Mode.PGLOGICAL else "")
        return here.look.failed("extension", "extension pglogical is missing", remedy=Remedy(after, (command,)))
    if newest is not None and newest != installed:
        remedy = Remedy("a superuser runs it", psql(here.name, "ALTER EXTENSION pglogical UPDATE"))
        return here.look.warn("extension", f"pglogical {installed}, the host has {newest}", remedy=remedy)
    return here.look.passed("extension", f"pglogical {installed}")


def across(regions: Sequence[Here]) -> Iterator[Finding]:
    """What must differ between regions, and what must not: nodes, modes, versions. Pure."""
    look_at_all = Look(None)
    nodes = [here.node for here in regions if here.node is not None]
    twice = sorted({node for node in nodes if nodes.count(node) > 1})
    modes = {here.noted for here in regions if here.prepared}
    if twice:
        remedy = Remedy("region leave, then init with another --node, in one of them")
        yield look_at_all.failed("node", f"several regions are node {', '.join(twice)}", remedy=remedy)
    elif len(modes) > 1:
        told = ", ".join(f"{here.noted} in {here.name}" for here in regions if here.prepared)
        yield look_at_all.failed("node", f"the modes differ: {told}", remedy=Remedy("init all with one --mode"))
    elif len(nodes) > 1:
        yield look_at_all.passed("node", f"{', '.join(nodes)}: all different, one mode")
    versions = {here.version.split()[0] for here in regions}
    if len(versions) > 1:
        told = ", ".join(f"{here.version.split()[0]} in {here.name}" for here in regions)
        majors = {here.facts.version for here in regions}
        cause = (
            "another major version: fine while one region is upgraded" if len(majors) > 1 else "another minor release"
        )
        yield look_at_all.info("server", f"PostgreSQL {told}", cause=cause)
    elif len(regions) > 1:
        yield look_at_all.passed("server", f"PostgreSQL {versions.pop()} in all")


SUBJECTS: tuple[tuple[str, Subject], ...] = (
    ("region", _writable),
    ("init", _prepared),
    ("node", _node),
    ("schema", _schema),
    ("wal_level", _parameters),
    ("extension", _extension),
)
"""Each with the check that stands for it where the server refuses to answer."""
