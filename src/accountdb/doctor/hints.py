"""The commands of remedies, written so that a shell takes them as they stand. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from accountdb.health.advice import Remedy
from accountdb.pg.dsn import variable
from accountdb.replication.facts import Problem

_TWO = {"cn": "--cn", "global": "--global"}


def psql(region: str, *statements: str) -> str:
    """Statements in one region, each committed by itself."""
    return " ".join(["psql", variable(region), *(f"-c {shlex.quote(one)}" for one in statements)])


def on_one(region: str, command: str) -> str:
    """A command of migratectl on one region."""
    return f"migratectl {command} --dsn {variable(region)}"


def on_all(regions: Sequence[str], command: str) -> str:
    """A command of migratectl on all regions."""
    words = ["migratectl", command]
    for name in regions:
        if set(regions) == set(_TWO):
            words += [_TWO[name], variable(name)]
        else:
            words += ["--node", f"{shlex.quote(name)}={variable(name)}"]
    return " ".join(words)


def set_parameter(region: str, name: str, value: str, *, restart: bool) -> Remedy:
    """A parameter of a server, for good."""
    setting = f"ALTER SYSTEM SET {name} = {value}"
    if restart:
        return Remedy(f"a superuser runs it; then restart the server of {region}", (psql(region, setting),))
    return Remedy("a superuser runs it", (psql(region, setting, "SELECT pg_reload_conf()"),))


def of_problem(region: str, problem: Problem) -> Remedy:
    """What mends a problem of a server that has to take a stream."""
    if not problem.statements:
        return Remedy(problem.mend)
    who = "a superuser runs it"
    restart = f"; then restart the server of {region}" if problem.restart else ""
    return Remedy(who + restart, (psql(region, *problem.statements),))
