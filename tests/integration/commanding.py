"""``migratectl merge``, ``merge --plan`` and ``migratectl undo`` in the words of their tests."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import typer
from psycopg.conninfo import conninfo_to_dict

from accountdb.cli.region import init
from accountdb.cli.run import run
from tests.integration.comparing import Told, assert_refused
from tests.integration.merging import ACCOUNT, Apart, told
from tests.integration.test_merge_rows import identity_of, register, session_of

ZEROS = {name: {"removed": 0, "restored": 0, "left": 0} for name in ("cn", "global")}


def state(apart: Apart) -> list[Any]:
    """All that a merge could write: rows, tombstones, conflicts, resolutions, and where the rows stand."""
    places = "SELECT uuid, xmin::text, ctid::text FROM {} ORDER BY 1"
    return [
        (
            side.all(*ACCOUNT),
            side.conflicts(),
            side.found("SELECT * FROM accountdb.resolution ORDER BY 1"),
            [side.found(places.format(table)) for table in ACCOUNT],
        )
        for side in apart.sides
    ]


def content(apart: Apart) -> list[Any]:
    """Rows and tombstones of both."""
    return [side.all(*ACCOUNT) for side in apart.sides]


def differ(apart: Apart) -> None:
    """Every kind of difference, but none in which rows want one value."""
    cn, global_ = apart.sides
    for _ in range(7):
        session_of(register(cn), cn)
    for _ in range(2):
        identity_of(register(global_), global_)
    for side, count in ((cn, 3), (global_, 2)):
        for _ in range(count):
            side.run("UPDATE users SET password = 'secret2' WHERE uuid = %s", register(cn, global_))
    for side in apart.sides:
        gone = register(cn, global_)
        session_of(gone, cn, global_)
        side.run("DELETE FROM users WHERE uuid = %s", gone)
    again = register(cn, global_)
    cn.run("DELETE FROM users WHERE uuid = %s", again)
    register(cn, uuid=again)


def nodes(dsns: Mapping[str, str]) -> list[str]:
    return [f"--node={name}={dsn}" for name, dsn in dsns.items()]


def counts(found: dict[str, Any]) -> dict[tuple[str, str], dict[str, int]]:
    """Counts by table and region, where there are any."""
    return {(table, name): one for table, by in found.items() for name, one in by.items() if any(one.values())}


def undone(apart: Apart, path: Path, status: int = 0) -> dict[str, dict[str, int]]:
    """What ``undo --json`` says."""
    outcome = apart.command("undo", str(path), "--json")
    assert outcome.status == status, outcome.err
    found: dict[str, dict[str, int]] = json.loads(outcome.out)
    return found


def merged(apart: Apart, *arguments: str, status: int = 0) -> Told:
    outcome = apart.command(*arguments)
    assert outcome.status == status, outcome.err
    return outcome


def assert_nothing_written(apart: Apart, arguments: list[str], status: int, fact: str, **options: Any) -> Told:
    """Refused in one line with a hint; the rows are where they were; no password is told."""
    before = state(apart)
    outcome = apart.command(*arguments, **options)
    assert_refused(outcome, status, fact)
    assert len(outcome.err.splitlines()) == 2
    assert state(apart) == before
    for dsn in (*apart.dsns.values(), *(options.get("dsns") or {}).values()):
        assert str(conninfo_to_dict(dsn)["password"]) not in outcome.err
    return outcome


def initialised(dsn: str, mode: str, *arguments: str) -> None:
    """``migratectl init`` with this mode."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command("init")(init)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as err:
        status = run(app, "migratectl", [f"--dsn={dsn}", f"--mode={mode}", *arguments])
    assert status == 0, err.getvalue()


def follow(dsns: Mapping[str, str], outcome: Told) -> None:
    """Do what the hint says, and find that it helps."""
    found = re.search(r"hint: migratectl init --mode (\w+)\b.*in both regions", outcome.err)
    assert found, outcome.err
    for dsn in dsns.values():
        initialised(dsn, found[1])
    assert told(*nodes(dsns)).status == 0
