"""migratectl check of two joined regions: what replication needs, changed on one side, is seen and nothing besides."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from accountdb.lab import Lab
from tests.acceptance.joining import healthy
from tests.conftest import Labs, eventually, migratectl, run_sql


def check(lab: Lab, *options: str, ordinary: bool = False) -> subprocess.CompletedProcess[str]:
    dsns = [region.app_dsn if ordinary else region.admin_dsn for region in lab.regions]
    return migratectl("check", "--cn", dsns[0], "--global", dsns[1], *options)


def findings(lab: Lab) -> list[tuple[str, str, dict[str, Any]]]:
    """Kind, name and, of each attribute that differs, the values in cn and global."""
    found = json.loads(check(lab, "--json").stdout)["findings"]
    return [
        (
            each["kind"],
            each["name"],
            {one["attribute"]: tuple(one["values"].values()) for one in each["attributes"]},
        )
        for each in found
    ]


@contextmanager
def changed(lab: Lab, do: str, undo: str) -> Iterator[None]:
    """``do`` in CN, and ``undo`` afterwards whatever happens, until streams run again."""
    run_sql(lab.region("cn").admin_dsn, do)
    try:
        yield
    finally:
        for statement in undo.split(";"):
            run_sql(lab.region("cn").admin_dsn, statement)
        eventually(lambda: healthy(lab), what="both streams")


@pytest.fixture
def native(ready_labs: Labs) -> Lab:
    return ready_labs.of("native")


@pytest.fixture
def pglogical(ready_labs: Labs) -> Lab:
    return ready_labs.of("pglogical")


def test_a_ready_lab_is_equal_for_the_administrator_and_for_the_owner(ready_lab: Lab) -> None:
    everything = check(ready_lab)
    assert (everything.returncode, everything.stdout) == (0, ""), everything.stderr
    assert "5 guards" in everything.stderr
    assert "5 row contracts" in everything.stderr
    assert "1 subscription" in everything.stderr
    owner = check(ready_lab, ordinary=True)
    assert (owner.returncode, owner.stdout) == (0, ""), owner.stderr
    unread = "replication sets: global: this role may not read the tables of pglogical" in owner.stderr
    assert unread == (ready_lab.mode == "pglogical")


@pytest.mark.parametrize(
    ("do", "undo", "expected"),
    [
        (
            "ALTER TABLE users DISABLE TRIGGER accountdb_guard",
            "ALTER TABLE users ENABLE REPLICA TRIGGER accountdb_guard",
            ("guard", "users", {"state": ("disabled", "installed")}),
        ),
        (
            "COMMENT ON TRIGGER accountdb_guard ON users IS 'accountdb: 0'",
            "DROP TRIGGER accountdb_guard ON users",
            ("guard", "users", {"state": ("outdated", "installed")}),
        ),
        (
            "DROP TRIGGER accountdb_guard ON users",
            "SELECT 1",
            ("guard", "users", {"state": ("missing", "installed")}),
        ),
        (
            "ALTER TABLE sessions ENABLE ALWAYS TRIGGER trg_sessions_set_updated_at",
            "ALTER TABLE sessions ENABLE TRIGGER trg_sessions_set_updated_at",
            ("trigger", "sessions.trg_sessions_set_updated_at", {"mode": ("A", "O")}),
        ),
        (
            "ALTER TABLE sessions REPLICA IDENTITY FULL",
            "ALTER TABLE sessions REPLICA IDENTITY DEFAULT",
            ("table", "sessions", {"replica_identity": ("full", None)}),
        ),
    ],
)
def test_what_guards_a_table(
    ready_lab: Lab, do: str, undo: str, expected: tuple[str, str, dict[str, tuple[str, str | None]]]
) -> None:
    kind, name, values = expected
    region = ready_lab.region("cn")
    try:
        with changed(ready_lab, do, undo) if kind != "guard" else _repaired(ready_lab, do, undo):
            told = findings(ready_lab)
            assert (kind, name, values) in told
            # A trigger in another mode is outside the row contract too, and its guard another one.
            assert {each[0] for each in told} <= {kind, "row_contract", "guard"}
    finally:
        assert migratectl("init", "--dsn", region.app_dsn, "--mode", ready_lab.mode).returncode == 0
    assert findings(ready_lab) == []


@contextmanager
def _repaired(lab: Lab, do: str, undo: str) -> Iterator[None]:
    run_sql(lab.region("cn").admin_dsn, do)
    try:
        yield
    finally:
        run_sql(lab.region("cn").admin_dsn, undo)


@pytest.mark.parametrize(
    ("do", "undo", "expected"),
    [
        (
            "ALTER PUBLICATION rep_all SET (publish = 'insert, update, delete, truncate')",
            "ALTER PUBLICATION rep_all SET (publish = 'insert, update, delete')",
            ("publication", "rep_all", {"operations": ("insert, update, delete, truncate", "insert, update, delete")}),
        ),
        (
            "ALTER PUBLICATION rep_all DROP TABLE admin_settings",
            "ALTER PUBLICATION rep_all ADD TABLE admin_settings",
            ("publication", "rep_all", {"table public.admin_settings": (None, "")}),
        ),
        (
            "ALTER PUBLICATION rep_all DROP TABLE admin_settings; ALTER PUBLICATION rep_all ADD TABLE admin_settings"
            " (uuid, module_key) WHERE (uuid IS NOT NULL)",
            "ALTER PUBLICATION rep_all DROP TABLE admin_settings; ALTER PUBLICATION rep_all ADD TABLE admin_settings",
            (
                "publication",
                "rep_all",
                {"table public.admin_settings": ("(module_key, uuid) WHERE (uuid IS NOT NULL)", "")},
            ),
        ),
        (
            "ALTER SUBSCRIPTION sub_from_global DISABLE",
            "ALTER SUBSCRIPTION sub_from_global ENABLE",
            ("subscription", "to rep_all", {"enabled": (False, True)}),
        ),
        (
            "ALTER SUBSCRIPTION sub_from_global SET (disable_on_error = true)",
            "ALTER SUBSCRIPTION sub_from_global SET (disable_on_error = false)",
            ("subscription", "to rep_all", {"disable_on_error": (True, False)}),
        ),
        (
            "ALTER SUBSCRIPTION sub_from_global SET (origin = any)",
            "ALTER SUBSCRIPTION sub_from_global SET (origin = none)",
            ("subscription", "to rep_all", {"origin": ("any", "none")}),
        ),
    ],
)
def test_native_replication(
    native: Lab, do: str, undo: str, expected: tuple[str, str, dict[str, tuple[object, object]]]
) -> None:
    with changed(native, do, undo):
        assert findings(native) == [expected]
    assert findings(native) == []


@pytest.mark.pglogical
@pytest.mark.parametrize(
    ("do", "undo", "expected"),
    [
        (
            "SELECT pglogical.replication_set_remove_table('rep_all', 'public.admin_settings')",
            "SELECT pglogical.replication_set_add_table('rep_all', 'public.admin_settings', false)",
            ("replication_set", "rep_all", {"table public.admin_settings": (None, "")}),
        ),
        (
            "SELECT pglogical.replication_set_remove_table('rep_all', 'public.admin_settings'),"
            " pglogical.replication_set_add_table('rep_all', 'public.admin_settings', false,"
            " ARRAY['uuid', 'module_key'], 'uuid IS NOT NULL')",
            "SELECT pglogical.replication_set_remove_table('rep_all', 'public.admin_settings'),"
            " pglogical.replication_set_add_table('rep_all', 'public.admin_settings', false)",
            (
                "replication_set",
                "rep_all",
                {"table public.admin_settings": ("(module_key, uuid) WHERE (uuid IS NOT NULL)", "")},
            ),
        ),
        (
            "SELECT pglogical.alter_replication_set('rep_all', replicate_truncate := true)",
            "SELECT pglogical.alter_replication_set('rep_all', replicate_truncate := false)",
            (
                "replication_set",
                "rep_all",
                {"operations": ("insert, update, delete, truncate", "insert, update, delete")},
            ),
        ),
        (
            "SELECT pglogical.alter_subscription_disable('sub_from_global', true)",
            "SELECT pglogical.alter_subscription_enable('sub_from_global', true)",
            ("subscription", "to rep_all", {"enabled": (False, True)}),
        ),
    ],
)
def test_pglogical_replication(
    pglogical: Lab, do: str, undo: str, expected: tuple[str, str, dict[str, tuple[object, object]]]
) -> None:
    with changed(pglogical, do, undo):
        assert findings(pglogical) == [expected]
    assert findings(pglogical) == []


def test_a_server_parameter(native: Lab) -> None:
    name = "cn"
    with changed(
        native, "ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'", "ALTER SYSTEM RESET max_slot_wal_keep_size"
    ):
        run_sql(native.region(name).admin_dsn, "SELECT pg_reload_conf()")
        eventually(lambda: "max_slot_wal_keep_size is 10240 in cn, -1 in global" in check(native).stderr)
        assert check(native).returncode == 0
    run_sql(native.region(name).admin_dsn, "SELECT pg_reload_conf()")
