"""Who may merge and undo, and the guards that must stand before anything is merged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from accountdb.pg.connect import connect
from tests.conftest import Databases, as_role, rows, run_sql
from tests.integration.commanding import (
    assert_nothing_written,
    content,
    differ,
    follow,
    initialised,
    merged,
    nodes,
    undone,
)
from tests.integration.comparing import assert_refused
from tests.integration.merging import Apart, told
from tests.integration.test_merge_rows import register

pytest_plugins = ("tests.integration.conftest_merge",)

ECHO = "what was written is streamed once more"
BUSINESS = "merge business"


def test_the_owner_merges_and_is_told_of_the_echo_where_something_was_written(apart: Apart) -> None:
    user = register(apart.cn)
    owner = apart.by("owner")
    assert ECHO not in merged(owner, "--plan", status=1).err
    assert ECHO in merged(owner).err
    assert apart.same("users", user)
    assert ECHO not in merged(owner).err
    assert json.loads(merged(owner, "--json").out)["echo"] is True
    register(apart.cn)
    assert ECHO not in merged(apart).err


def test_an_owner_may_not_undo_until_it_has_the_rights_that_the_hint_names(apart: Apart, tmp_path: Path) -> None:
    differ(apart)
    before = content(apart)
    owner, file = apart.by("owner"), tmp_path / "undo"
    refused = "role account may not set session_replication_role"
    outcome = assert_nothing_written(owner, [f"--undo={file}"], 3, refused)
    assert not file.exists()
    merged(apart, f"--undo={file}")
    assert_nothing_written(owner, ["undo", str(file)], 3, refused)
    undone(apart, file)
    file.unlink()
    grants = outcome.err.partition("have one run in both regions: ")[2]
    assert grants.count("GRANT ") == 2
    try:
        for side in apart.sides:
            run_sql(side.dsn, grants)
        told_so = merged(owner, f"--undo={file}")
        assert ECHO not in told_so.err
        assert content(apart) != before
        undone(owner, file)
        assert content(apart) == before
    finally:
        for side in apart.sides:
            run_sql(side.dsn, grants.replace("GRANT ", "REVOKE ").replace(" TO ", " FROM "))
    assert_nothing_written(owner, ["undo", str(file)], 3, refused)


@pytest.fixture
def business(own: Apart) -> Iterator[dict[str, str]]:
    """Two regions by the role of the application, which may read and write the tables."""
    run_sql(own.cn.dsn, f"CREATE ROLE \"{BUSINESS}\" LOGIN PASSWORD 'geheim-QXZW'")
    role = f"user='{BUSINESS}' password=geheim-QXZW"
    for side in own.sides:
        initialised(side.dsn, "native", f"--grant-to={BUSINESS}")
    yield {side.name: as_role(side.dsn, role) for side in own.sides}
    for side in own.sides:
        run_sql(side.dsn, f'DROP OWNED BY "{BUSINESS}"')
    run_sql(own.cn.dsn, f'DROP ROLE "{BUSINESS}"')


def test_the_business_role_is_refused(own: Apart, business: dict[str, str], tmp_path: Path) -> None:
    with connect(business["cn"], autocommit=True) as conn:
        conn.execute("INSERT INTO users (username, password) VALUES ('ann', 'x')")
    for arguments in ([], ["--plan"], [f"--undo={tmp_path / 'undo'}"]):
        assert_nothing_written(own, arguments, 4, "this role may not read", dsns=business)
    merged(own, f"--undo={tmp_path / 'undo'}")
    assert_nothing_written(own, ["undo", str(tmp_path / "undo")], 3, "may not set", dsns=business)


# -- guards --


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("DROP TRIGGER accountdb_guard ON users", "users (missing)"),
        ("ALTER TABLE users DISABLE TRIGGER accountdb_guard", "users (disabled)"),
        ("COMMENT ON TRIGGER accountdb_guard ON users IS 'of another version'", "users (outdated)"),
    ],
)
def test_a_guard_that_is_not_current_is_named_and_init_helps(own: Apart, statement: str, why: str) -> None:
    for side in own.sides:
        initialised(side.dsn, "native")
    own.global_.run(statement)
    register(own.cn)
    outcome = assert_nothing_written(own, [], 4, f"global: guards are not current: {why}\n")
    follow(own.dsns, outcome)


def test_databases_of_mode_pgsync_have_no_guards_and_the_hint_says_which_mode_has(databases: Databases) -> None:
    dsns = {name: databases.empty() for name in ("cn", "global")}
    for name, dsn in dsns.items():
        initialised(dsn, "pgsync")
        run_sql(dsn, f"INSERT INTO users (username, password) VALUES ('{name}', 'x')")
    outcome = told(*nodes(dsns))
    assert_refused(outcome, 4, "cn: guards are not current: admin_settings (missing), identities (missing)")
    follow(dsns, outcome)
    for dsn in dsns.values():
        assert rows(dsn, "SELECT username FROM users ORDER BY 1") == [("cn",), ("global",)]
