"""Remedies as commands that a shell takes as they stand; see ``accountdb.health.commands``. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from accountdb.health.advice import Remedy
from accountdb.pg.dsn import options, variable
from accountdb.replication.facts import Problem

_TWO = ("cn", "global")


def psql(region: str, *statements: str) -> tuple[str, ...]:
    """Statements in one region, each by itself."""
    return tuple(f"psql {variable(region)} -c {word(one)}" for one in statements)


def on_one(region: str, command: str) -> str:
    """A command of migratectl on one region."""
    return f"migratectl {command} --dsn {variable(region)}"


def on_all(regions: Sequence[str], command: str) -> tuple[str, ...]:
    """A command of migratectl on all regions; none where one alone was named, and nobody knows the other's name."""
    named = tuple(_TWO) if len(regions) == 1 and regions[0] in _TWO else tuple(regions)
    return (f"migratectl {command} {options(named)}",) if len(named) > 1 else ()


def word(value: str) -> str:
    """An argument of a command. Easier to read in double quotes where SQL has single ones and nothing else to mind."""
    return f'"{value}"' if "'" in value and not set(value) & set('"$`\\!') else shlex.quote(value)


def plain(name: str) -> str:
    """A region's name as a part of the name of a node or a subscription."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in name.lower())


def set_parameter(region: str, name: str, value: str, *, says: str = "a superuser runs it") -> Remedy:
    """A parameter of a server, in force at once and for good."""
    return Remedy(says, psql(region, f"ALTER SYSTEM SET {name} = {value}", "SELECT pg_reload_conf()"))


def of_problem(region: str, problem: Problem) -> Remedy:
    """What mends a problem of a server that has to take a stream."""
    if not problem.statements:
        return Remedy(problem.mend)
    restart = f"; then restart the server of {region}" if problem.restart else ""
    return Remedy(f"a superuser runs it{restart}", psql(region, *problem.statements))
