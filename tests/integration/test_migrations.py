"""Migrations on real servers: one schema by two ways, all regions or none, and re-runs that change nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from accountdb.catalog.tables import read_tables
from accountdb.contract.row_contract import ACCOUNT_TABLES, violations
from accountdb.drift.verify import compare_regions
from accountdb.lab import Lab
from accountdb.migrations.files import shipped
from accountdb.pg.connect import connect
from accountdb.pg.dsn import with_params
from tests.conftest import BIN, Databases, as_role, migratectl, rows, run_sql, value

pytest_plugins = ("tests.integration.conftest_drift",)

SQL = Path(__file__).parents[2] / "account" / "sql"
NEWEST = len(shipped())
UNREACHABLE = "postgresql://account:x@127.0.0.1:1/account"

FILL = """
    INSERT INTO public.users (username, password, email)
        SELECT '用户' || n, 'x', n || '@example.cn' FROM generate_series(1, 5) AS n;
    UPDATE public.users SET level = 3;
    INSERT INTO public.identities (provider, external_id, user_uuid) SELECT 'github', username, uuid FROM public.users;
    INSERT INTO public.sessions (token, expires_at, user_uuid) SELECT username, now(), uuid FROM public.users;
    INSERT INTO public.admin_settings (module_key, role) VALUES ('billing', 'admin');
    INSERT INTO public.subscriptions (user_uuid, provider, payment_method, external_id)
        SELECT uuid, 'stripe', 'card', username FROM public.users;
"""
FILL_OWN = """
    INSERT INTO accountdb.node (name, mode) VALUES ('node_cn', 'native');
    INSERT INTO accountdb.conflict (id, kind, table_schema, table_name, row_key, rule)
        VALUES (gen_random_uuid(), 'update_update', 'public', 'users', gen_random_uuid(), 'row_order');
    INSERT INTO accountdb.pending_subscription (name, mode) VALUES ('sub', 'native');
"""
# What the account tables were before the row contract.
MAKE_OLD = (
    "".join(
        f"ALTER TABLE public.{t} DROP COLUMN version, DROP COLUMN origin_node;"
        f"DROP TRIGGER trg_{t}_bump_version ON public.{t}; DROP TRIGGER trg_{t}_set_updated_at ON public.{t};"
        for t in ACCOUNT_TABLES
    )
    + "DROP FUNCTION public.bump_version(), public.set_updated_at(); DROP SCHEMA accountdb CASCADE"
)
OBJECTS = """
    SELECT 'class', c.oid, c.relname, c.relfilenode::text FROM pg_class AS c
        WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'accountdb'))
    UNION ALL SELECT 'column', a.attrelid, a.attname, a.attnum::text FROM pg_attribute AS a
        JOIN pg_class AS c ON c.oid = a.attrelid
        WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'accountdb'))
    UNION ALL SELECT 'function', p.oid, p.proname, p.prosrc FROM pg_proc AS p
        WHERE p.pronamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'accountdb'))
    UNION ALL SELECT 'trigger', t.oid, t.tgname, t.tgenabled::text FROM pg_trigger AS t WHERE NOT t.tgisinternal
    UNION ALL SELECT 'schema', n.oid, n.nspname, n.nspacl::text FROM pg_namespace AS n
    ORDER BY 1, 2, 3, 4
"""


def objects(dsn: str) -> list[tuple[Any, ...]]:
    """Everything that a migration could make, drop or rewrite, by identity."""
    return rows(dsn, OBJECTS)


def content(dsn: str, columns: str = "t.*") -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, with the transaction that wrote it and its place."""
    names = rows(
        dsn, "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('public', 'accountdb')"
    )
    return {name: rows(dsn, f"SELECT t.ctid, t.xmin, {columns} FROM {name} AS t ORDER BY t.ctid") for (name,) in names}


@pytest.fixture
def psql(native_lab: Lab) -> Callable[..., str]:
    """Runs a file of account/sql as the guide says; returns what psql said on stderr."""

    def run(dsn: str, name: str, *options: str) -> str:
        command = [
            str(native_lab.bin_dir / "psql"),
            dsn,
            "-X",
            "-v",
            "ON_ERROR_STOP=1",
            *options,
            "-f",
            str(SQL / name),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stderr

    return run


@pytest.fixture
def two(database: str, native_lab: Lab) -> tuple[str, str]:
    """Two empty databases on two servers, owned by the ordinary role."""
    there = with_params(native_lab.region("global").admin_dsn, dbname=f"there_{conninfo_to_dict(database)['dbname']}")
    with connect(native_lab.region("global").admin_dsn, autocommit=True) as conn:
        name = sql.Identifier(str(conninfo_to_dict(there)["dbname"]))
        conn.execute(sql.SQL("CREATE DATABASE {} OWNER account").format(name))
    return database, there


@pytest.mark.parametrize("server", ["database", pytest.param("database_15", marks=pytest.mark.pglogical)])
def test_schema_sql_equals_all_migrations(
    request: pytest.FixtureRequest, server: str, database: str, native_lab: Lab, psql: Callable[..., str]
) -> None:
    by_file = request.getfixturevalue(server)
    by_migrations = request.getfixturevalue("second_database") if server == "database" else database
    said = psql(as_role(by_file, native_lab.region("cn").app_dsn) if server == "database" else by_file, "schema.sql")
    assert said == ""
    assert migratectl("migrate", "--dsn", by_migrations).returncode == 0
    with connect(by_file) as a, connect(by_migrations) as b:
        assert compare_regions(a, b) == []
    if server == "database":
        assert dumped(native_lab, by_file) == dumped(native_lab, by_migrations)


def dumped(lab: Lab, dsn: str) -> list[str]:
    """The structure as pg_dump tells it, with owners, rights and comments; pg_dump's own key left out."""
    command = [str(lab.bin_dir / "pg_dump"), "--schema-only", dsn]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return sorted(line for line in said.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))


@pytest.mark.parametrize("role", ["superuser", "ordinary"])
def test_every_file_can_be_run_again_on_a_full_database(
    migrated: str, native_lab: Lab, psql: Callable[..., str], role: str
) -> None:
    dsn = migrated if role == "superuser" else as_role(migrated, native_lab.region("cn").app_dsn)
    run_sql(dsn, FILL + FILL_OWN)
    structure, data = objects(migrated), content(migrated)
    assert all(data[f"public.{table}"] for table in ACCOUNT_TABLES)
    assert all(data[f"accountdb.{table}"] for table in ("migration", "node", "conflict", "pending_subscription"))
    for name in ("schema.sql", "schema_pglogical_patch.sql", "schema_pglogical_init.sql") * 2:
        said = psql(dsn, name)
        assert ("WARNING" in said) == (name == "schema_pglogical_init.sql"), said  # pglogical is not on this server
        assert objects(migrated) == structure, name
        assert content(migrated) == data, name
    for migration in shipped():
        run_sql(dsn, migration.up)
    assert (objects(migrated), content(migrated)) == (structure, data)


@pytest.mark.pglogical
def test_every_file_can_be_run_again_where_pglogical_is(
    databases_15: Databases, psql: Callable[..., str], pglogical_lab: Lab
) -> None:
    dsn = databases_15.migrated()
    run_sql(dsn, FILL + FILL_OWN)
    run_sql(dsn, "DROP ROLE IF EXISTS business; CREATE ROLE business")
    data = content(dsn)
    files = ("schema_pglogical_init.sql", "schema.sql", "schema_pglogical_patch.sql")
    for name in files:
        assert psql(dsn, name, "-v", "GRANT_TO=business") == ""
    structure = objects(dsn)
    for name in files:
        assert psql(dsn, name, "-v", "GRANT_TO=business") == ""
        assert (objects(dsn), content(dsn)) == (structure, data)
    run_sql(dsn, "DROP EXTENSION pglogical")  # its manager takes a worker process


def assert_patched(dsn: str, old: dict[str, list[tuple[Any, ...]]]) -> None:
    with connect(dsn) as conn:
        assert {t.name: violations(t) for t in read_tables(conn)} == dict.fromkeys(ACCOUNT_TABLES, ())
    found = content(dsn)
    for table in (f"public.{name}" for name in ACCOUNT_TABLES):
        assert found[table] == [(*row, 0, "local") for row in old[table]], table
    run_sql(dsn, "UPDATE public.users SET level = 9")
    assert rows(dsn, "SELECT DISTINCT version FROM public.users") == [(1,)]


@pytest.mark.parametrize("way", ["psql", "init"])
def test_a_schema_from_before_the_row_contract_is_brought_under_it(
    migrated: str, native_lab: Lab, psql: Callable[..., str], way: str
) -> None:
    dsn = as_role(migrated, native_lab.region("cn").app_dsn)
    run_sql(dsn, FILL)
    run_sql(dsn, MAKE_OLD)
    old = content(migrated)
    if way == "psql":
        psql(dsn, "schema.sql")
        psql(dsn, "schema_pglogical_patch.sql")
    else:
        assert migratectl("init", "--dsn", dsn).returncode == 0
    assert_patched(dsn, old)
    structure, data = objects(dsn), content(dsn)
    psql(dsn, "schema_pglogical_patch.sql")
    assert (objects(dsn), content(dsn)) == (structure, data)


def test_the_patch_passes_over_tables_that_are_not_there(migrated: str, psql: Callable[..., str]) -> None:
    run_sql(migrated, "DROP TABLE public.subscriptions, public.admin_settings")
    assert psql(migrated, "schema_pglogical_patch.sql") == ""


def test_two_regions_are_migrated_together(two: tuple[str, str]) -> None:
    done = migratectl("migrate", "--cn", two[0], "--global", two[1])
    assert done.returncode == 0, done.stderr
    assert f"cn: version {NEWEST}, {NEWEST} applied" in done.stderr
    assert f"global: version {NEWEST}, {NEWEST} applied" in done.stderr
    with connect(two[0]) as a, connect(two[1]) as b:
        assert compare_regions(a, b) == []
    again = migratectl("migrate", env={"CN_DSN": two[0], "GLOBAL_DSN": two[1]})
    assert again.returncode == 0
    assert again.stderr.count("nothing pending") == 2


def test_explicit_regions_win_over_a_database_in_the_environment(two: tuple[str, str], databases: Databases) -> None:
    other = databases.empty()
    done = migratectl("migrate", "--cn", two[0], "--global", two[1], env={"DB_URL": other})
    assert done.returncode == 0
    assert [value(dsn, "SELECT to_regclass('public.users') IS NOT NULL") for dsn in (*two, other)] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("broken", ["cn", "global"])
@pytest.mark.parametrize("how", ["unreachable", "broken"])
def test_both_regions_or_neither(two: tuple[str, str], broken: str, how: str) -> None:
    regions = dict(zip(("cn", "global"), two, strict=True))
    if how == "broken":
        run_sql(regions[broken], "CREATE VIEW public.sessions AS SELECT 'mine' AS token")
    before = [objects(dsn) for dsn in two]
    if how == "unreachable":
        regions[broken] = UNREACHABLE
    failed = migratectl("migrate", "--cn", regions["cn"], "--global", regions["global"])
    assert failed.returncode == 3
    assert "error: " in failed.stderr
    assert [objects(dsn) for dsn in two] == before


def test_a_region_that_is_locked_leaves_both_as_they_are(two: tuple[str, str]) -> None:
    before = [objects(dsn) for dsn in two]
    with psycopg.connect(two[1]) as other:
        other.execute("CREATE SCHEMA accountdb")  # not committed: who wants it too has to wait
        failed = migratectl("migrate", "--cn", two[0], "--global", two[1])
        assert failed.returncode == 3
        assert "lock timeout" in failed.stderr
        other.rollback()
    assert [objects(dsn) for dsn in two] == before


def test_two_processes_migrate_at_the_same_time(two: tuple[str, str]) -> None:
    command = [str(BIN / "migratectl"), "migrate", "--cn", two[0], "--global", two[1]]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert sorted("nothing pending" in text for text in told) == [False, True]
    for dsn in two:
        assert rows(dsn, "SELECT version FROM accountdb.migration ORDER BY 1") == [(n + 1,) for n in range(NEWEST)]


@pytest.mark.parametrize("role", ["superuser", "owner"])
def test_the_ledger_tells_what_was_applied_and_everything_belongs_to_the_owner(
    database: str, native_lab: Lab, role: str
) -> None:
    dsn = database if role == "superuser" else as_role(database, native_lab.region("cn").app_dsn)
    assert migratectl("migrate", "--dsn", dsn).returncode == 0
    by = "postgres" if role == "superuser" else "account"
    assert rows(dsn, "SELECT version, name, checksum, applied_by FROM accountdb.migration ORDER BY version") == [
        (m.version, m.name, m.checksum, by) for m in shipped()
    ]
    recent = (
        "SELECT bool_and(seconds >= 0 AND seconds < 60 AND now() - applied_at < '1 minute') FROM accountdb.migration"
    )
    assert value(dsn, recent) is True
    owners = """
        SELECT DISTINCT pg_get_userbyid(o.owner) FROM (
            SELECT relowner, relnamespace FROM pg_class UNION ALL SELECT proowner, pronamespace FROM pg_proc
            UNION ALL SELECT nspowner, oid FROM pg_namespace WHERE nspname = 'accountdb') AS o (owner, schema)
        WHERE o.schema IN ('accountdb'::regnamespace, 'public'::regnamespace)
    """
    assert rows(dsn, owners) == [("account",)]


def test_version_and_plan_print_data_on_stdout_and_change_nothing(database: str) -> None:
    nothing = objects(database)
    version = migratectl("version", "--dsn", database)
    assert (version.returncode, version.stdout, version.stderr) == (0, "0\n", "")
    plan = migratectl("migrate", "--dsn", database, "--plan")
    assert (plan.returncode, plan.stdout) == (1, "".join(f"{m.title} up\n" for m in shipped()))
    assert objects(database) == nothing
    done = migratectl("migrate", "--dsn", database)
    assert (done.returncode, done.stdout) == (0, "")
    plan = migratectl("migrate", "--dsn", database, "--plan")
    assert (plan.returncode, plan.stdout, plan.stderr) == (0, "", "nothing is pending\n")
    plan = migratectl("migrate", "--dsn", database, "--plan", "--to", str(NEWEST - 1))
    assert (plan.returncode, plan.stdout) == (1, f"{shipped()[-1].title} down\n")
    version = migratectl("version", "--cn", database, "--global", database)
    assert (version.returncode, version.stdout) == (0, f"cn: {NEWEST}\nglobal: {NEWEST}\n")


def test_going_down_takes_leave_and_goes_back_up(migrated: str) -> None:
    full = objects(migrated)
    for arguments, status in ((("--to", "1"), 4), (("--to", "99"), 2), (("--to", "one"), 2)):
        assert migratectl("migrate", "--dsn", migrated, *arguments).returncode == status
    assert objects(migrated) == full
    assert migratectl("migrate", "--dsn", migrated, "--to", "1", "--allow-down").returncode == 0
    assert value(migrated, "SELECT to_regclass('public.users')") is None
    assert migratectl("version", "--dsn", migrated).stdout == "1\n"
    assert migratectl("migrate", "--dsn", migrated).returncode == 0
    assert migratectl("verify", "--dsn", migrated).returncode == 0


@pytest.mark.parametrize("way", ["down", "reset"])
@pytest.mark.parametrize("role", ["superuser", "ordinary"])
def test_down_and_reset_keep_the_node_name(migrated: str, native_lab: Lab, role: str, way: str) -> None:
    dsn = migrated if role == "superuser" else as_role(migrated, native_lab.region("cn").app_dsn)
    assert migratectl("init", "--dsn", dsn, "--mode", "native", "--node", "node_cn").returncode == 0
    run_sql(dsn, FILL)
    steps = [["reset", "--yes"]] if way == "reset" else [["migrate", "--to", "0", "--allow-down"], ["migrate"]]
    for step in steps:
        done = migratectl(*step, "--dsn", dsn)
        assert done.returncode == 0, done.stderr
    run_sql(dsn, "INSERT INTO public.admin_settings (module_key, role) VALUES ('new', 'admin')")
    assert rows(dsn, "SELECT origin_node FROM public.admin_settings") == [("node_cn",)]
    assert rows(dsn, "SELECT name, mode FROM accountdb.node") == [("node_cn", "native")]
    if way == "reset":
        assert value(dsn, "SELECT count(*) FROM pg_trigger WHERE tgname = 'accountdb_guard'") == len(ACCOUNT_TABLES)


def test_a_reset_that_fails_leaves_everything(migrated: str) -> None:
    run_sql(migrated, FILL)
    run_sql(migrated, "CREATE VIEW public.mine AS SELECT username FROM public.users")
    before = (objects(migrated), content(migrated))
    failed = migratectl("reset", "--dsn", with_params(migrated), "--yes")
    assert failed.returncode == 3
    assert "cannot drop table users because other objects depend on it" in failed.stderr
    assert (objects(migrated), content(migrated)) == before
