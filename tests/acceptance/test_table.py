"""migratectl table and the healing pass, as a user, on both engines."""

from __future__ import annotations

import json
from uuid import uuid4

from accountdb.lab import Lab
from accountdb.setup import join
from tests.conftest import eventually, migratectl, rows, run_sql, value

NOTES = """
    CREATE TABLE public.notes (
        uuid uuid PRIMARY KEY DEFAULT gen_random_uuid(), body text UNIQUE,
        user_uuid uuid REFERENCES public.users (uuid) ON DELETE CASCADE)
"""
ALL = "SELECT uuid, body, version, origin_node, created_at FROM public.notes ORDER BY body"


def test_a_table_is_added_guarded_streamed_and_removed(ready_lab: Lab) -> None:
    cn, global_ = ready_lab.region("cn"), ready_lab.region("global")
    for region in (cn, global_):
        run_sql(region.app_dsn, NOTES)
        run_sql(region.app_dsn, "INSERT INTO notes (uuid, body) VALUES ('00000000-0000-4000-8000-000000000001', 'old')")
    added = migratectl("table", "add", "notes", env=ready_lab.env())
    assert added.returncode == 0, added.stderr
    run_sql(cn.app_dsn, "INSERT INTO notes (body) VALUES ('from cn')")
    run_sql(global_.app_dsn, "INSERT INTO notes (body) VALUES ('from global')")
    run_sql(global_.app_dsn, "UPDATE notes SET body = 'older' WHERE body = 'old'")
    eventually(lambda: rows(cn.app_dsn, ALL) == rows(global_.app_dsn, ALL) and len(rows(cn.app_dsn, ALL)) == 3)
    ready_lab.cut()
    try:
        for region in (cn, global_):
            run_sql(region.app_dsn, "INSERT INTO notes (body) VALUES ('taken twice')")
    finally:
        ready_lab.heal()
        for region in ready_lab.regions:
            join.resume(region.admin_dsn)
    eventually(lambda: rows(cn.app_dsn, ALL) == rows(global_.app_dsn, ALL) and len(rows(cn.app_dsn, ALL)) == 4)

    listed = json.loads(migratectl("table", "list", "--json", env=ready_lab.env()).stdout)
    notes = [one for one in listed if one["table"] == "notes"]
    assert [(one["replicated"], one["guard"], one["lacks"]) for one in notes] == [(True, "installed", [])] * 2
    again = migratectl("table", "add", "notes", env=ready_lab.env())
    assert again.returncode == 0, again.stderr

    assert migratectl("table", "remove", "notes", env=ready_lab.env()).returncode == 0
    run_sql(cn.app_dsn, "INSERT INTO notes (body) VALUES ('alone')")
    status = migratectl("status", env=ready_lab.env())
    assert status.returncode == 0, status.stderr
    name = uuid4().hex
    user = value(cn.app_dsn, "INSERT INTO users (username, password) VALUES (%s, 'x') RETURNING uuid", name)
    eventually(lambda: rows(global_.app_dsn, "SELECT FROM users WHERE uuid = %s", user))
    for region in (cn, global_):
        run_sql(region.admin_dsn, "DROP TABLE notes")
    # The guard on users still knows of the table: a delete must not stop for it.
    run_sql(global_.admin_dsn, "ALTER TABLE users DISABLE TRIGGER accountdb_bury; DELETE FROM users WHERE uuid = "
            f"'{user}'; ALTER TABLE users ENABLE TRIGGER accountdb_bury")  # fmt: skip
    eventually(lambda: not rows(cn.app_dsn, "SELECT FROM users WHERE uuid = %s", user))
    said = migratectl("status", env=ready_lab.env()).stderr
    assert 'finding: cn: guard on users is outdated\nhint: migratectl init --dsn "$CN_DSN"' in said
    for region in (cn, global_):
        assert migratectl("init", "--dsn", region.admin_dsn, "--mode", ready_lab.mode).returncode == 0
    assert migratectl("status", env=ready_lab.env()).returncode == 0
    assert migratectl("table", "add", "notes", env=ready_lab.env()).returncode == 3


def test_a_table_that_cannot_come_under_the_row_contract_is_refused(ready_lab: Lab) -> None:
    for region in ready_lab.regions:
        run_sql(region.app_dsn, "CREATE TABLE public.counted (id serial PRIMARY KEY, body text)")
    try:
        found = migratectl("table", "add", "counted", env=ready_lab.env())
        assert found.returncode == 4
        assert "primary key" in found.stderr
        assert "hint: " in found.stderr
        for region in ready_lab.regions:
            columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'counted'"
            assert value(region.admin_dsn, columns) == 2
    finally:
        for region in ready_lab.regions:
            run_sql(region.admin_dsn, "DROP TABLE counted")


def test_an_orphan_comes_back_when_its_parent_does_and_its_conflict_closes(ready_lab: Lab) -> None:
    """A region that lost a user to hands that went around replication."""
    cn, global_ = ready_lab.region("cn"), ready_lab.region("global")
    name = uuid4().hex
    query = "INSERT INTO users (username, password) VALUES (%s, 'x') RETURNING uuid"
    user = value(cn.app_dsn, query, name)
    eventually(lambda: rows(global_.app_dsn, "SELECT FROM users WHERE uuid = %s", user))
    behind = f"""
        SET session_replication_role = replica;
        ALTER TABLE users DISABLE TRIGGER accountdb_guard;
        DELETE FROM users WHERE username = '{name}';
        ALTER TABLE users ENABLE REPLICA TRIGGER accountdb_guard
    """
    # Under an origin of their own, so that what the hands do is not sent on.
    run_sql(
        global_.admin_dsn,
        "SELECT pg_replication_origin_create('hands') WHERE NOT EXISTS"
        " (SELECT FROM pg_replication_origin WHERE roname = 'hands')",
    )
    run_sql(global_.admin_dsn, f"SELECT pg_replication_origin_session_setup('hands'); {behind}")
    run_sql(cn.app_dsn, "INSERT INTO sessions (token, expires_at, user_uuid) VALUES (%s, now(), %s)", name, user)
    orphan = (
        "SELECT count(*) FROM accountdb.conflict WHERE kind = 'orphan' AND state = 'open' AND loser ->> 'token' = %s"
    )
    eventually(lambda: value(global_.admin_dsn, orphan, name) == 1)
    assert migratectl("conflicts", "list", env=ready_lab.env()).returncode == 1
    # The parent comes back as an ordinary change of it does: by its next update the row is not there, so by hand.
    copy = rows(cn.admin_dsn, "SELECT username, password, created_at, updated_at FROM users WHERE uuid = %s", user)[0]
    run_sql(
        global_.admin_dsn,
        "INSERT INTO users (uuid, username, password, created_at, updated_at, origin_node)"
        " VALUES (%s, %s, %s, %s, %s, 'node_cn')",
        user,
        *copy,
    )
    healed = migratectl("merge", "--recent", env=ready_lab.env())
    assert healed.returncode == 0, healed.stdout + healed.stderr
    token = "SELECT count(*) FROM sessions WHERE token = %s"
    eventually(lambda: value(global_.app_dsn, token, name) == value(cn.app_dsn, token, name) == 1)
    resolved = "SELECT count(*) FROM accountdb.resolution WHERE action = 'healed'"
    eventually(lambda: all(value(region.admin_dsn, resolved) >= 1 for region in ready_lab.regions))


def test_purge_removes_what_is_old_and_only_while_the_streams_run(ready_lab: Lab) -> None:
    cn = ready_lab.region("cn").admin_dsn
    old = """
        INSERT INTO accountdb.tombstone
            (row_key, table_schema, table_name, created_at, version, updated_at, origin_node, deleted_at)
        VALUES (gen_random_uuid(), 'public', 'purged', now(), 0, now(), 'node_cn', now() - %s * interval '1 day')
    """
    count = "SELECT count(*) FROM accountdb.tombstone WHERE table_name = 'purged'"
    for days in (40, 10):
        run_sql(cn, old, days)
    eventually(lambda: value(ready_lab.region("global").admin_dsn, count) == 2)
    planned = migratectl("purge", "--plan", env=ready_lab.env())
    assert planned.returncode == 0
    assert "cn: 1 tombstones" in planned.stdout
    assert value(cn, count) == 2
    assert migratectl("region", "pause", "--dsn", cn).returncode == 0
    try:
        refused = migratectl("purge", env=ready_lab.env())
        assert refused.returncode == 4
        assert value(cn, count) == 2
    finally:
        assert migratectl("region", "resume", "--dsn", cn).returncode == 0
    eventually(lambda: migratectl("purge", env=ready_lab.env()).returncode == 0)
    for region in ready_lab.regions:
        eventually(lambda d=region.admin_dsn: value(d, count) == 1)  # type: ignore[misc]
