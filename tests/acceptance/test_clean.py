"""migratectl clean of two regions, one of which has left while the link was cut."""

from __future__ import annotations

import pytest

from accountdb.lab import Lab
from accountdb.setup.cleaning import run, streams
from accountdb.setup.cleaning.model import Action
from tests.acceptance.joining import exchange, healthy, join
from tests.conftest import eventually, migratectl, rows, run_sql, value

SLOTS = "SELECT slot_name FROM pg_replication_slots ORDER BY 1"


@pytest.fixture
def left(apart: Lab) -> Lab:
    """Two regions that were joined; CN left when it could not reach Global, whose slot for it stays."""
    for name in ("cn", "global"):
        assert join(apart, name).returncode == 0
    eventually(lambda: healthy(apart))
    apart.cut()
    away(apart)
    assert migratectl("region", "leave", "--dsn", apart.region("cn").admin_dsn).returncode == 0
    apart.heal()
    resume(apart, "global")
    # CN's slot for Global is in use again.
    eventually(lambda: value(apart.region("cn").admin_dsn, "SELECT bool_and(active) FROM pg_replication_slots"))
    return apart


def away(lab: Lab) -> None:
    """Wait until both sides know that the link is cut."""
    for region in lab.regions:
        eventually(
            lambda dsn=region.admin_dsn: value(dsn, "SELECT NOT bool_or(active) FROM pg_replication_slots")  # type: ignore[misc]
        )


def resume(lab: Lab, *names: str) -> None:
    """Have workers try at once: after a failure one waits up to minutes."""
    for name in names:
        assert migratectl("region", "resume", "--dsn", lab.region(name).admin_dsn).returncode == 0


def slot_of_cn(lab: Lab) -> str:
    ours = {"native": "node_cn_sub_from_global", "pglogical": "pgl_account_node_global_sub_from_global"}
    return ours[lab.mode]


def test_a_cut_link_is_no_left_over(apart: Lab) -> None:
    for name in ("cn", "global"):
        assert join(apart, name).returncode == 0
    eventually(lambda: healthy(apart))
    apart.cut()
    away(apart)
    slots = [rows(region.admin_dsn, SLOTS) for region in apart.regions]
    both = migratectl("clean", "--yes", env=apart.env())
    assert both.returncode == 0, both.stderr
    assert both.stdout.count("uses it (its link is cut, or it is paused)") == 2
    for region in apart.regions:
        one = migratectl("clean", "--yes", "--dsn", region.admin_dsn)
        assert one.returncode == 0, one.stderr
        assert "its subscriber may only be away" in one.stdout
    named = migratectl("clean", "--yes", "--slot", slot_of_cn(apart), env=apart.env())
    assert named.returncode == 4, named.stderr
    assert "used by subscription sub_from_global of cn" in named.stderr
    assert [rows(region.admin_dsn, SLOTS) for region in apart.regions] == slots
    apart.heal()
    resume(apart, "cn", "global")
    exchange(apart)


@pytest.mark.parametrize("plain_lab", ["native"], indirect=True)
def test_the_slot_of_a_region_that_left_goes(left: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    slot = slot_of_cn(left)
    told = migratectl("clean", "--yes", env=left.env())
    assert told.returncode == 0, told.stderr
    assert f"global: replication slot {slot}: keep: " in told.stdout
    assert "a region join may have made it just now" in told.stdout, "it has been inactive for a moment only"
    regions = {str(region.name): region.admin_dsn for region in left.regions}
    monkeypatch.setattr(streams, "SETTLED_S", 0)
    ordinary = run.clean({str(region.name): region.app_dsn for region in left.regions}, confirmed=True)
    assert [(one.name, one.result) for one in ordinary.leftovers if one.action is Action.BY_HAND] == [(slot, "listed")]
    done = run.clean(regions, confirmed=True)
    assert [(one.region, one.name) for one in done.leftovers if one.result == "done"] == [("global", slot)]
    assert value(regions["global"], "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s", slot) == 0
    assert value(regions["cn"], "SELECT count(*) FROM pg_replication_slots WHERE active") == 1, "the other way stays"
    again = run.clean(regions, confirmed=True)
    assert (again.left, again.failed) == (0, 0)
    # And the region can join once more.
    assert join(left, "cn").returncode == 0
    exchange(left)


@pytest.mark.parametrize("plain_lab", ["native"], indirect=True)
def test_a_lost_slot_goes_but_for_a_subscription_that_is_seen(apart: Lab) -> None:
    for name in ("cn", "global"):
        assert join(apart, name).returncode == 0
    eventually(lambda: healthy(apart))
    apart.cut()
    away(apart)
    there = apart.region("global").admin_dsn
    run_sql(there, "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    try:
        run_sql(there, "SELECT pg_reload_conf()")
        eventually(lambda: value(there, "SHOW max_slot_wal_keep_size") == "1MB")
        for _ in range(2):
            run_sql(
                there, "SELECT pg_logical_emit_message(true, 'x', repeat('x', 1000000)) FROM generate_series(1, 20)"
            )
            run_sql(there, "SELECT pg_switch_wal()")
        run_sql(there, "CHECKPOINT")
        eventually(lambda: value(there, "SELECT wal_status FROM pg_replication_slots") == "lost")
        both = migratectl("clean", "--yes", env=apart.env())
        assert both.returncode == 0, both.stderr
        assert "lost, but sub_from_global of cn still uses it" in both.stdout
        assert len(rows(there, SLOTS)) == 1
        one = migratectl("clean", "--yes", "--dsn", there)
        assert one.returncode == 0, one.stderr
        assert rows(there, SLOTS) == []
    finally:
        run_sql(there, "ALTER SYSTEM RESET max_slot_wal_keep_size")
        run_sql(there, "SELECT pg_reload_conf()")
    apart.heal()
    # A region whose slot is gone can still leave, and join again.
    assert migratectl("region", "leave", "--dsn", apart.region("cn").admin_dsn).returncode == 0
    assert join(apart, "cn").returncode == 0
    resume(apart, "global")
    exchange(apart)


def test_a_slot_goes_by_name_and_not_while_it_is_active(left: Lab) -> None:
    slot = slot_of_cn(left)
    busy = value(left.region("cn").admin_dsn, "SELECT slot_name FROM pg_replication_slots WHERE active")
    refused = migratectl("clean", "--yes", "--slot", busy, env=left.env())
    assert refused.returncode == 4
    assert "is active" in refused.stderr
    there = left.region("global").admin_dsn
    asked = migratectl("clean", "--dsn", there, "--slot", slot)
    assert asked.returncode == 1
    assert value(there, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s", slot) == 1
    done = migratectl("clean", "--dsn", there, "--slot", slot, "--yes")
    assert done.returncode == 0, done.stderr
    assert f"removed: replication slot {slot}" in done.stderr
    assert value(there, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s", slot) == 0
    assert value(left.region("cn").admin_dsn, "SELECT active FROM pg_replication_slots WHERE slot_name = %s", busy)


def test_origins_and_nodes_that_no_subscription_has(left: Lab) -> None:
    cn, app = left.region("cn").admin_dsn, left.region("cn").app_dsn
    origin = "pg_4000000000" if left.mode == "native" else "pgl_account_node_old_sub"
    run_sql(cn, "SELECT pg_replication_origin_create('clean_x')")
    run_sql(cn, "UPDATE pg_replication_origin SET roname = %s WHERE roname = 'clean_x'", origin)
    expected = {f"replication origin {origin}"}
    if left.mode == "pglogical":
        # What is left when a subscription is deleted from the catalog by hand.
        run_sql(cn, "INSERT INTO pglogical.node (node_id, node_name) VALUES (77, 'it''s %')")
        run_sql(cn, "INSERT INTO pglogical.node_interface VALUES (78, 'i', 77, 'host=nowhere password=secret')")
        expected.add('pglogical node "it\'s %"')
    origins = "SELECT roname FROM pg_replication_origin ORDER BY 1"
    nodes = "SELECT count(*) FROM pglogical.node" if left.mode == "pglogical" else "SELECT 0"
    ordinary = migratectl("clean", "--dsn", app, "--yes")
    assert rows(cn, origins) == [(origin,)], "an ordinary role may not"
    if left.mode == "native":
        assert ordinary.returncode == 1
        assert f"replication origin {origin}: by hand: " in ordinary.stdout
    else:
        assert "not looked at, this role may not: the nodes of pglogical" in ordinary.stderr
    told = migratectl("clean", "--dsn", cn)
    assert told.returncode == 1
    assert {line.partition(": remove: ")[0] for line in told.stdout.splitlines() if ": remove: " in line} == expected
    before = value(cn, nodes)
    done = migratectl("clean", "--dsn", cn, "--yes")
    assert done.returncode == 0, done.stderr
    assert "secret" not in told.stdout + done.stdout + done.stderr
    assert rows(cn, origins) == []
    assert value(cn, nodes) == before - (left.mode == "pglogical")
    exchange_one_way(left)


@pytest.mark.parametrize("plain_lab", [pytest.param("pglogical", marks=pytest.mark.pglogical)], indirect=True)
def test_where_the_server_cannot_say_since_when_a_slot_is_watched(left: Lab) -> None:
    """Before PostgreSQL 17. A slot by which somebody reads meanwhile stays."""
    there = left.region("global").admin_dsn
    regions = {str(region.name): region.admin_dsn for region in left.regions}
    run_sql(there, "SELECT pg_create_logical_replication_slot('node_cn_sub', 'pgoutput')")

    def read(plan: run.Plan) -> None:
        assert [one.name for one in plan.leftovers if one.to_do] == ["node_cn_sub"]
        run_sql(there, "INSERT INTO users (username, password) VALUES ('meanwhile', 'x')")
        run_sql(there, "SELECT pg_replication_slot_advance('node_cn_sub', pg_current_wal_lsn())")

    used = run.clean(regions, confirmed=True, on_found=read, watch_s=1)
    assert (used.left, used.failed) == (1, 1)
    assert value(there, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'node_cn_sub'") == 1
    gone = run.clean(regions, confirmed=True, watch_s=1)
    assert (gone.left, gone.failed) == (0, 0)
    assert value(there, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'node_cn_sub'") == 0


def exchange_one_way(lab: Lab) -> None:
    """Global still follows CN."""
    run_sql(lab.region("cn").app_dsn, "INSERT INTO users (username, password) VALUES ('after', 'x')")
    there = lab.region("global").app_dsn
    eventually(lambda: rows(there, "SELECT FROM users WHERE username = 'after'"))
