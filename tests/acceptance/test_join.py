"""Joining and leaving, as a user, on both engines: either order, again and again, and with psql alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from accountdb.lab import Lab
from accountdb.pg.connect import connect
from accountdb.pg.dsn import with_params
from accountdb.sql import folder
from tests.acceptance.joining import OTHER, exchange, healthy, join
from tests.conftest import eventually, migratectl, rows, run_sql, value


@pytest.mark.parametrize("first", ["cn", "global"])
def test_joining_works_from_either_side_first(apart: Lab, first: str) -> None:
    one = join(apart, first)
    assert one.returncode == 0, one.stderr
    assert f"sub_from_{OTHER[first]} waits" in one.stderr
    status = migratectl("status", env=apart.env())
    assert f"sub_from_{OTHER[first]} is pending" in status.stderr
    two = join(apart, OTHER[first])
    assert two.returncode == 0, two.stderr
    assert f"sub_from_{OTHER[first]} created" in two.stderr
    eventually(lambda: healthy(apart))
    exchange(apart)


def test_joining_again_is_a_no_op(apart: Lab) -> None:
    for name in ("cn", "global"):
        assert join(apart, name).returncode == 0
    eventually(lambda: healthy(apart))
    before = [rows(r.admin_dsn, "SELECT slot_name, active_pid FROM pg_replication_slots") for r in apart.regions]
    for name in ("cn", "global"):
        again = join(apart, name)
        assert again.returncode == 0
        assert "done:" not in again.stderr, again.stderr
    after = [rows(r.admin_dsn, "SELECT slot_name, active_pid FROM pg_replication_slots") for r in apart.regions]
    assert after == before


def test_a_rotated_password_is_mended_by_joining_again(apart: Lab) -> None:
    for name in ("cn", "global"):
        assert join(apart, name).returncode == 0
    eventually(lambda: healthy(apart))
    provider = apart.region("global")
    run_sql(provider.admin_dsn, "DROP ROLE IF EXISTS link; CREATE ROLE link SUPERUSER LOGIN PASSWORD 'rotated'")
    fresh = with_params(provider.link_dsn, user="link", password="rotated")
    again = join(apart, "cn", **{"provider-dsn": fresh})
    assert again.returncode == 0, again.stderr
    assert "updated" in again.stderr
    assert "rotated" not in again.stdout + again.stderr
    eventually(
        lambda: value(provider.admin_dsn, "SELECT count(*) FROM pg_stat_replication WHERE usename = 'link'") == 1
    )
    exchange(apart)


def test_a_region_is_one_node_only(apart: Lab) -> None:
    for name in ("cn", "global"):
        assert join(apart, name).returncode == 0
    found = join(apart, "cn", node="node_other")
    assert found.returncode == 2
    assert "node_cn" in found.stderr
    assert "hint: " in found.stderr


def test_rows_that_differ_are_told_and_not_copied(apart: Lab) -> None:
    for number in range(3):
        run_sql(
            apart.region("global").app_dsn, "INSERT INTO users (username, password) VALUES (%s, 'x')", f"old{number}"
        )
    assert join(apart, "cn").returncode == 0
    found = join(apart, "global")
    assert found.returncode == 0
    assert "users differs: 3 rows here, 0 on the provider; nothing was copied" in found.stderr
    exchange(apart)
    assert value(apart.region("cn").app_dsn, "SELECT count(*) FROM users WHERE username LIKE 'old%'") == 0


def test_leaving_while_the_provider_is_away(apart: Lab) -> None:
    for name in ("cn", "global"):
        assert join(apart, name).returncode == 0
    eventually(lambda: healthy(apart))
    apart.cut()
    found = migratectl("region", "leave", "--dsn", apart.region("cn").admin_dsn)
    assert found.returncode == 0, found.stderr
    assert "sub_from_global dropped" in found.stderr
    apart.heal()
    slots = "SELECT slot_name FROM pg_replication_slots WHERE NOT active"
    left = [name for (name,) in rows(apart.region("global").admin_dsn, slots)]
    for name in left:
        assert name in found.stderr, "a slot that stays is named"
        run_sql(apart.region("global").admin_dsn, "SELECT pg_drop_replication_slot(%s)", name)


def test_a_crash_between_slot_and_subscription_is_taken_over(apart: Lab) -> None:
    """The slot is made first: a later run uses it, so what was written in between is not lost."""
    if apart.mode != "native":
        pytest.skip("pglogical makes its slot itself, after the subscription")
    assert join(apart, "global").returncode == 0
    run_sql(
        apart.region("global").admin_dsn,
        "SELECT pg_create_logical_replication_slot('node_cn_sub_from_global', 'pgoutput')",
    )
    run_sql(apart.region("global").app_dsn, "INSERT INTO users (username, password) VALUES ('between', 'x')")
    assert join(apart, "cn").returncode == 0
    there = apart.region("cn").app_dsn
    eventually(lambda: rows(there, "SELECT FROM users WHERE username = 'between'"))


def test_a_slot_of_another_follower_is_told_before_anything_is_made(apart: Lab) -> None:
    """With three regions pglogical gives the slots of two followers one name, where their subscriptions have one."""
    if apart.mode != "pglogical":
        pytest.skip("native slots bear the follower's name")
    provider = apart.region("global").admin_dsn
    assert join(apart, "global").returncode == 0
    slot = "pgl_account_node_global_sub_from_global"
    run_sql(provider, "SELECT pg_create_logical_replication_slot(%s, 'pglogical_output')", slot)
    run_sql(provider, "INSERT INTO pglogical.node (node_id, node_name) VALUES (7, 'node_apac')")
    run_sql(provider, "INSERT INTO pglogical.node_interface VALUES (8, 'node_apac', 7, 'dbname=nowhere')")
    run_sql(
        provider,
        "INSERT INTO pglogical.subscription (sub_id, sub_name, sub_origin, sub_target, sub_origin_if, sub_target_if,"
        " sub_enabled, sub_slot_name, sub_replication_sets, sub_forward_origins)"
        " SELECT 9, 'sub_from_apac', 7, node_id, 8, node_local_interface, false, 'x', '{rep_all}', '{}'"
        " FROM pglogical.local_node",
    )
    try:
        found = join(apart, "cn")
        assert found.returncode == 3
        assert (
            f"replication slot {slot} is on the provider already, inactive, and perhaps that of node_apac"
            in found.stderr
        )
        assert "such as sub_node_cn_from_node_global" in found.stderr
        assert rows(apart.region("cn").admin_dsn, "SELECT FROM pglogical.subscription") == []
    finally:
        run_sql(provider, "DELETE FROM pglogical.subscription WHERE sub_id = 9")
        run_sql(provider, "DELETE FROM pglogical.node_interface WHERE if_id = 8")
        run_sql(provider, "DELETE FROM pglogical.node WHERE node_id = 7")
    # Of two regions it can only be one that this region has left behind.
    assert join(apart, "cn").returncode == 0
    eventually(lambda: healthy(apart))


def test_reset_is_refused_while_joined_and_empties_afterwards(apart: Lab) -> None:
    for name in ("cn", "global"):
        assert join(apart, name).returncode == 0
    exchange(apart)
    cn = apart.region("cn").admin_dsn
    refused = migratectl("reset", "--dsn", cn, "--yes")
    assert refused.returncode == 4
    assert "region leave" in refused.stderr
    assert value(cn, "SELECT count(*) FROM users") == 2
    for name in ("cn", "global", "cn"):
        assert migratectl("region", "leave", "--dsn", apart.region(name).admin_dsn).returncode == 0
    assert migratectl("reset", "--dsn", cn).returncode == 4
    assert migratectl("reset", "--dsn", cn, "--yes").returncode == 0
    assert value(cn, "SELECT count(*) FROM users") == 0
    assert value(cn, "SELECT name FROM accountdb.node") == "node_cn"
    if apart.mode == "pglogical":
        assert value(cn, "SELECT count(*) FROM pg_extension WHERE extname = 'pglogical'") == 1
    for name in ("cn", "global"):
        assert join(apart, name).returncode == 0
    eventually(lambda: healthy(apart))


def psql(lab: Lab, dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(lab.bin_dir / "psql"), "-X", "-q", "-d", dsn, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PGAPPNAME": "psql"},
    )


def test_the_region_file_joins_with_plain_psql(apart: Lab) -> None:
    if apart.mode != "pglogical":
        pytest.skip("the file is pglogical's")
    path = Path(str(folder("schema_pglogical_region.sql")))

    def variables(name: str) -> list[str]:
        region, other = apart.region(name), apart.region(OTHER[name])
        given = {
            "NODE_NAME": f"node_{name}",
            "NODE_DSN": region.link_dsn,
            "SUBSCRIPTION_NAME": f"sub_from_{OTHER[name]}",
            "PROVIDER_DSN": other.link_dsn,
        }
        return [part for key, text in given.items() for part in ("-v", f"{key}={text}")]

    for missing in range(4):
        given = variables("cn")
        name = given[2 * missing + 1].split("=")[0]
        del given[2 * missing : 2 * missing + 2]
        found = psql(apart, apart.region("cn").admin_dsn, *given, "-f", str(path))
        assert found.returncode == 3
        assert f"{name} is missing" in found.stderr
    assert value(apart.region("cn").admin_dsn, "SELECT count(*) FROM pglogical.node") == 0

    for name in ("cn", "global", "cn"):
        found = psql(apart, apart.region(name).admin_dsn, *variables(name), "-f", str(path))
        assert found.returncode == 0, found.stderr
    eventually(lambda: healthy(apart))
    workers = "SELECT pid FROM pg_stat_replication"
    before = [rows(region.admin_dsn, workers) for region in apart.regions]
    for name in ("cn", "global"):
        assert psql(apart, apart.region(name).admin_dsn, *variables(name), "-f", str(path)).returncode == 0
    assert [rows(region.admin_dsn, workers) for region in apart.regions] == before
    exchange(apart)
    with connect(apart.region("cn").admin_dsn) as conn:
        settings = conn.execute("SELECT sub_forward_origins FROM pglogical.subscription").fetchall()
    assert settings in ([([],)], [(None,)])
