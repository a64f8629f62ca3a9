"""The options that commands share, and how their values become regions and modes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from accountdb.errors import UsageError
from accountdb.pg import dsn as dsns
from accountdb.replication.model import Mode

REGIONS = "ACCOUNTDB_REGIONS"

Dsn = Annotated[
    str | None,
    typer.Option("--dsn", metavar="DSN", help="The database: a libpq URL or key=value string. [env: DB_URL]"),
]
CnDsn = Annotated[str | None, typer.Option("--cn", metavar="DSN", help="The region CN. [env: CN_DSN]")]
GlobalDsn = Annotated[str | None, typer.Option("--global", metavar="DSN", help="The region Global. [env: GLOBAL_DSN]")]
Nodes = Annotated[
    list[str] | None,
    typer.Option(
        "--node",
        metavar="NAME=DSN",
        help="A region by name, two or more times, instead of --cn and --global.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
Subscription = Annotated[
    str | None,
    typer.Option("--subscription", metavar="NAME", help="One subscription; all of the region when left out."),
]


def one(dsn: str | None) -> str:
    """The DSN of a command on one region. Raises UsageError where there is none or it is unreadable."""
    dsn = dsn or os.environ.get("DB_URL")
    if not dsn:
        raise UsageError(
            "no database given",
            hint="--dsn postgresql://user@host/database, or the environment variable DB_URL",
        )
    dsns.parse(dsn, name="--dsn")
    return dsn


def regions(cn: str | None, global_: str | None, nodes: Sequence[str] | None, *, least: int = 2) -> dict[str, str]:
    """The regions of a command on several, by name: ``--node`` where given, else ``--cn``, ``--global``.

    Where none of them is given the environment names the regions: ACCOUNTDB_REGIONS, with the DSN of each in a
    variable of its own (``eu`` in EU_DSN), else CN_DSN and GLOBAL_DSN.
    """
    found: dict[str, str] = {}
    for entry in nodes or ():
        name, separator, dsn = entry.partition("=")
        if not separator or not name or "://" in name or " " in name:
            raise UsageError("--node takes NAME=DSN", hint="--node node_cn=postgresql://user@host/database")
        if name in found:
            raise UsageError(f"--node names {name} twice", hint="each region once: --node NAME=DSN --node OTHER=DSN")
        found[name] = dsn
    if not (nodes or cn or global_) and os.environ.get(REGIONS):
        found = _of_environment(os.environ[REGIONS])
    elif not nodes:
        named = (("cn", cn or os.environ.get("CN_DSN")), ("global", global_ or os.environ.get("GLOBAL_DSN")))
        found = {name: dsn for name, dsn in named if dsn}
    if len(found) < least:
        raise UsageError(
            "no region given" if not found else f"{least} regions are needed, {len(found)} given",
            hint="--cn DSN --global DSN (or CN_DSN and GLOBAL_DSN), or --node NAME=DSN for each",
        )
    for name, dsn in found.items():
        dsns.parse(dsn, name=f"--node {name}" if nodes else f"--{name}")
    return found


def _of_environment(names: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names.replace(",", " ").split():
        variable = dsns.variable(name).strip('"$')
        if not os.environ.get(variable):
            raise UsageError(
                f"{REGIONS} names {name}, and {variable} is not set",
                hint=f"export {variable}=DSN, or --node {name}=DSN",
            )
        found[name] = os.environ[variable]
    return found


def some(dsn: str | None, cn: str | None, global_: str | None, nodes: Sequence[str] | None = None) -> dict[str, str]:
    """The one region of ``--dsn``, else those of ``--node``, else those of ``--cn`` and ``--global``.

    What is on the command line comes before the environment, and there DB_URL before the two.
    """
    if nodes and not dsn:
        return regions(None, None, nodes)
    two = cn or global_ or not os.environ.get("DB_URL")
    if not dsn and two and (cn or global_ or any(map(os.environ.get, (REGIONS, "CN_DSN", "GLOBAL_DSN")))):
        return regions(cn, global_, None)
    return {"": one(dsn)}


def mode(text: str) -> Mode:
    """``text`` as a mode. Raises UsageError, which names the three."""
    try:
        return Mode(text)
    except ValueError:
        raise UsageError(f"unknown mode {text!r}", hint=f"one of {', '.join(Mode)}") from None
