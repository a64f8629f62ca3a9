"""The row contract on real rows, written by an ordinary role: what a local change does, what a synced one keeps."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from psycopg import sql

from accountdb.contract.row_contract import ACCOUNT_TABLES
from accountdb.lab import Lab
from accountdb.pg.connect import Connection, connect
from accountdb.replication import common
from accountdb.replication.model import Mode
from tests.conftest import as_role, rows, run_sql, value

MICROSECOND = timedelta(microseconds=1)
FUTURE = datetime(2099, 1, 1, tzinfo=UTC)
PAST = datetime(2001, 1, 1, tzinfo=UTC)

USER = "(SELECT u.uuid FROM public.users AS u LIMIT 1)"
INSERTS = {
    "users": "INSERT INTO public.users (username, password, email) VALUES ('李雷', 'x', 'lilei@example.cn')",
    "identities": f"INSERT INTO public.identities (provider, external_id, user_uuid) VALUES ('github', '7', {USER})",
    "sessions": f"INSERT INTO public.sessions (token, expires_at, user_uuid) VALUES ('t', now(), {USER})",
    "admin_settings": "INSERT INTO public.admin_settings (module_key, role) VALUES ('billing', 'admin')",
    "subscriptions": "INSERT INTO public.subscriptions (user_uuid, provider, payment_method, external_id)"
    f" VALUES ({USER}, 'stripe', 'card', 's-1')",
}
# What a business update of each table looks like.
EDITS = {
    "users": "level = level + 1",
    "identities": "external_id = external_id || '7'",
    "sessions": "expires_at = expires_at + interval '1 hour'",
    "admin_settings": "enabled = NOT enabled",
    "subscriptions": "status = 'cancelled'",
}


@pytest.fixture
def ordinary(migrated: str, native_lab: Lab) -> str:
    """The migrated database as the ordinary role that owns it."""
    return as_role(migrated, native_lab.region("cn").app_dsn)


@pytest.fixture
def conn(ordinary: str) -> Iterator[Connection]:
    """A connection of that role, in autocommit, to a database with a row in every table."""
    with connect(ordinary, autocommit=True) as opened:
        for statement in INSERTS.values():
            opened.execute(statement.encode())
        yield opened


def row(conn: Connection, table: str = "users") -> dict[str, Any]:
    cursor = conn.cursor(row_factory=psycopg.rows.dict_row)
    found = cursor.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier("public", table))).fetchone()
    assert found is not None
    return found


def update(conn: Connection, assignments: str, table: str = "users") -> None:
    assert conn.execute(f"UPDATE public.{table} SET {assignments}".encode()).rowcount == 1


@pytest.mark.parametrize("table", ACCOUNT_TABLES)
def test_a_local_update_raises_version_by_one_and_moves_updated_at(conn: Connection, table: str) -> None:
    seen = [row(conn, table)]
    assert seen[0]["version"] == 0
    for _ in range(3):
        update(conn, EDITS[table], table)
        seen.append(row(conn, table))
    assert [one["version"] for one in seen] == [0, 1, 2, 3]
    times = [one["updated_at"] for one in seen]
    assert all(later > earlier for earlier, later in pairwise(times))
    assert len({(one["uuid"], one["created_at"]) for one in seen}) == 1


def test_every_update_counts_also_of_one_statement_or_transaction_and_without_a_change(conn: Connection) -> None:
    conn.execute("INSERT INTO public.users (username, password) SELECT 'u' || n, 'x' FROM generate_series(1, 9) AS n")
    with conn.transaction():
        conn.execute("UPDATE public.users SET level = 3")
        conn.execute("UPDATE public.users SET level = level")
    assert conn.execute("SELECT DISTINCT version FROM public.users").fetchall() == [(2,)]


def test_an_upsert_counts_as_an_update(conn: Connection) -> None:
    conn.execute(
        "INSERT INTO public.admin_settings (module_key, role) VALUES ('billing', 'admin')"
        " ON CONFLICT (module_key, role) DO UPDATE SET enabled = false"
    )
    assert row(conn, "admin_settings")["version"] == 1


@pytest.mark.parametrize("table", ACCOUNT_TABLES)
def test_a_writer_cannot_set_what_the_contract_keeps(conn: Connection, table: str) -> None:
    before = row(conn, table)
    forged = (
        "uuid = gen_random_uuid(), created_at = '2001-01-01', updated_at = '2001-01-01', version = 99,"
        " origin_node = 'node_evil'"
    )
    update(conn, forged, table)
    after = row(conn, table)
    assert (after["uuid"], after["created_at"]) == (before["uuid"], before["created_at"])
    assert (after["version"], after["origin_node"]) == (1, "local")
    assert after["updated_at"] > before["updated_at"]


def test_updated_at_never_goes_backwards(conn: Connection) -> None:
    with conn.transaction():
        conn.execute("SET LOCAL accountdb.apply = 'on'")
        update(conn, f"updated_at = '{FUTURE.isoformat()}'")
    assert row(conn)["updated_at"] == FUTURE
    for step in (1, 2, 3):
        update(conn, "level = level + 1, updated_at = now()")
        assert row(conn)["updated_at"] == FUTURE + step * MICROSECOND


def test_updated_at_is_the_time_of_the_write_not_of_the_transaction(conn: Connection) -> None:
    with conn.transaction():
        began = value_of(conn, "SELECT now()")
        update(conn, "level = 5")
        assert began < row(conn)["updated_at"] <= value_of(conn, "SELECT clock_timestamp()")


def value_of(conn: Connection, query: str) -> Any:
    found = conn.execute(query.encode()).fetchone()
    assert found is not None
    return found[0]


CARRIED = (
    f"version = 41, updated_at = '{PAST.isoformat()}', created_at = '{PAST.isoformat()}', origin_node = 'node_other'"
)


def is_carried(one: dict[str, Any]) -> bool:
    return (one["version"], one["updated_at"], one["created_at"], one["origin_node"]) == (41, PAST, PAST, "node_other")


@pytest.mark.parametrize("table", ACCOUNT_TABLES)
def test_a_synced_change_keeps_the_values_that_it_carries(conn: Connection, table: str) -> None:
    with conn.transaction():
        conn.execute("SET LOCAL accountdb.apply = 'on'")
        update(conn, CARRIED, table)
    assert is_carried(row(conn, table))
    update(conn, EDITS[table], table)  # the setting ended with its transaction
    after = row(conn, table)
    assert (after["version"], after["origin_node"], after["created_at"]) == (42, "local", PAST)
    assert after["updated_at"] > PAST


def test_an_insert_keeps_what_it_carries(conn: Connection) -> None:
    conn.execute("DELETE FROM public.users")
    conn.execute(
        "INSERT INTO public.users (username, password, version, updated_at, created_at, origin_node)"
        " VALUES ('ann', 'x', 41, %(past)s, %(past)s, 'node_other')",
        {"past": PAST},
    )
    assert is_carried(row(conn))


@pytest.mark.parametrize("setting", ["off", "", "true", "1", "ON"])
def test_nothing_but_on_carries(conn: Connection, setting: str) -> None:
    with conn.transaction():
        conn.execute("SELECT set_config('accountdb.apply', %s, true)", (setting,))
        update(conn, CARRIED)
    assert row(conn)["version"] == 1


def test_a_change_that_a_worker_applies_keeps_its_values(conn: Connection, migrated: str) -> None:
    with connect(migrated, autocommit=True) as worker:  # only a superuser may be a replica
        worker.execute("SET session_replication_role = 'replica'")
        update(worker, CARRIED)
        assert is_carried(row(worker))


def test_the_node_name_is_local_until_the_region_has_one(conn: Connection) -> None:
    assert {row(conn, table)["origin_node"] for table in ACCOUNT_TABLES} == {"local"}


def test_the_node_name_comes_from_the_table_where_no_superuser_could_set_it(ordinary: str, conn: Connection) -> None:
    with connect(ordinary) as owner:
        common.set_node(owner, "node_cn", Mode.NATIVE)
    update(conn, "level = 5")
    assert row(conn)["origin_node"] == "node_cn"
    assert row(conn, "sessions")["origin_node"] == "local"
    conn.execute("INSERT INTO public.admin_settings (module_key, role) VALUES ('new', 'admin')")
    assert rows(ordinary, "SELECT origin_node FROM public.admin_settings WHERE module_key = 'new'") == [("node_cn",)]


def test_the_setting_of_the_database_wins_over_the_table(ordinary: str, migrated: str, conn: Connection) -> None:
    with connect(ordinary) as owner:
        common.set_node(owner, "node_table", Mode.NATIVE)
    with connect(migrated, autocommit=True) as admin:
        assert common.set_node_setting(admin, "节点 'cn'")
    run_sql(ordinary, "UPDATE public.users SET level = 5")
    assert row(conn)["origin_node"] == "节点 'cn'"
    run_sql(ordinary, "INSERT INTO public.admin_settings (module_key, role) VALUES ('new', 'admin')")
    assert value(ordinary, "SELECT origin_node FROM public.admin_settings WHERE module_key = 'new'") == "节点 'cn'"


def test_an_ordinary_role_may_not_set_the_node_name_for_the_database(ordinary: str) -> None:
    with connect(ordinary, autocommit=True) as owner:
        assert not common.set_node_setting(owner, "node_cn")


def test_a_role_with_nothing_but_dml_writes_under_the_contract(migrated: str) -> None:
    with connect(migrated, autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS contract_writer")
        admin.execute("CREATE ROLE contract_writer")
        admin.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO contract_writer")
        common.set_node(admin, "node_cn", Mode.PGSYNC)
        admin.execute("SET ROLE contract_writer; SET search_path = ''")
        admin.execute(INSERTS["users"].encode())
        update(admin, "level = 5")
        assert (row(admin)["version"], row(admin)["origin_node"]) == (1, "node_cn")
        admin.execute("RESET ROLE; DROP OWNED BY contract_writer; DROP ROLE contract_writer")


def test_email_verified_follows_its_time_and_children_follow_their_user(conn: Connection) -> None:
    assert row(conn)["email_verified"] is False
    update(conn, "email_verified_at = now()")
    assert row(conn)["email_verified"] is True
    conn.execute("DELETE FROM public.users")
    left = {table: value_of(conn, f"SELECT count(*) FROM public.{table}") for table in ACCOUNT_TABLES}
    assert left == {"users": 0, "identities": 0, "sessions": 0, "admin_settings": 1, "subscriptions": 0}
