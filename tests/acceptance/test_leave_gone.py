"""``region leave`` when the other side is gone for good, and what a leave takes along on the other side."""

from __future__ import annotations

import socket
import time

import pytest

from accountdb.lab import Lab
from accountdb.pg.connect import connect
from accountdb.replication.engine import standing
from tests.acceptance.joining import OTHER, exchange, join
from tests.conftest import eventually, migratectl, rows, run_sql, value

ORIGINS = "SELECT roname FROM pg_replication_origin"
SLOTS = "SELECT slot_name FROM pg_replication_slots"
GUARDS = "SELECT count(*) FROM pg_trigger WHERE tgname ~ '^accountdb_'"
FUNCTIONS = "SELECT proname FROM pg_proc WHERE pronamespace = 'accountdb'::regnamespace AND proname ~ '^(guard|bury)_'"


def offers(lab: Lab, name: str) -> bool:
    dsn = lab.region(name).admin_dsn
    if lab.mode == "native":
        return bool(rows(dsn, "SELECT FROM pg_publication"))
    return bool(rows(dsn, "SELECT FROM pglogical.local_node"))


def away(lab: Lab) -> None:
    for region in lab.regions:
        eventually(
            lambda dsn=region.admin_dsn: value(dsn, "SELECT NOT bool_or(active) FROM pg_replication_slots")  # type: ignore[misc]
        )


def test_a_region_that_is_gone_for_good(joined: Lab) -> None:
    cn = joined.region("cn").admin_dsn
    slot = value(cn, SLOTS)
    there = migratectl("region", "leave", "--gone", "--dsn", cn)
    assert there.returncode == 4, there.stderr
    assert f"slot {slot} is active: its follower is there, not gone" in there.stderr
    joined.cut()
    away(joined)
    began = time.monotonic()
    done = migratectl("region", "leave", "--gone", "node_global", "--dsn", cn)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 40
    assert "sub_from_global dropped; its provider was not asked" in done.stderr
    assert f"{slot} dropped" in done.stderr
    assert "offers nothing any more" in done.stderr
    assert "guards: of 5 tables stay" in done.stderr
    assert (rows(cn, SLOTS), rows(cn, ORIGINS), offers(joined, "cn")) == ([], [], False)
    again = migratectl("region", "leave", "--gone", "--dsn", cn, "--drop-guards")
    assert again.returncode == 0, again.stderr
    assert "guards: of 5 tables dropped" in again.stderr
    assert (value(cn, GUARDS), rows(cn, FUNCTIONS)) == (0, [])
    for _ in range(2):
        assert migratectl("region", "leave", "--gone", "--dsn", cn, "--drop-guards").returncode == 0
    # It was not gone after all: both can join again.
    joined.heal()
    back = migratectl("region", "leave", "--dsn", joined.region("global").admin_dsn)
    assert back.returncode == 0, back.stderr
    assert "not reached" not in back.stderr, "the slot is gone, the provider is there"
    assert rows(joined.region("global").admin_dsn, SLOTS) != []
    forgotten = migratectl("region", "leave", "--gone", "--dsn", joined.region("global").admin_dsn)
    assert forgotten.returncode == 0, forgotten.stderr
    for name in ("cn", "global"):
        assert join(joined, name).returncode == 0
    exchange(joined)


@pytest.mark.by_hand(plain_lab="pglogical")
def test_a_provider_that_accepts_and_never_answers(joined: Lab) -> None:
    """A host that is hung: nothing waits for it for minutes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        cn = joined.region("cn").admin_dsn
        lead_to(joined, f"host=127.0.0.1 port={port} dbname=account user=postgres password=x")
        eventually(
            lambda: not value(joined.region("global").admin_dsn, "SELECT bool_or(active) FROM pg_replication_slots")
        )
        run_sql(cn, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
        joined.cut()
        away(joined)
        began = time.monotonic()
        done = migratectl("region", "leave", "--gone", "--dsn", cn)
        assert done.returncode == 0, done.stderr
        assert time.monotonic() - began < 45
        assert (rows(cn, SLOTS), rows(cn, ORIGINS)) == ([], [])
    joined.heal()
    assert migratectl("region", "leave", "--gone", "--dsn", joined.region("global").admin_dsn).returncode == 4
    for words in ((), ("--gone",)):
        left = migratectl("region", "leave", *words, "--dsn", joined.region("global").admin_dsn)
        assert left.returncode == 0, left.stderr


def lead_to(lab: Lab, dsn: str) -> None:
    """Have CN look for its provider elsewhere."""
    cn = lab.region("cn").admin_dsn
    if lab.mode == "native":
        run_sql(cn, f"ALTER SUBSCRIPTION sub_from_global CONNECTION '{dsn}'")
        return
    run_sql(cn, "SELECT pglogical.alter_node_add_interface('node_global', 'elsewhere', %s)", dsn)
    run_sql(cn, "SELECT pglogical.alter_subscription_interface('sub_from_global', 'elsewhere')")
    run_sql(cn, "SELECT pglogical.alter_subscription_disable('sub_from_global', true)")
    run_sql(cn, "SELECT pglogical.alter_subscription_enable('sub_from_global', true)")


def test_the_last_one_takes_along_what_the_other_left(joined: Lab) -> None:
    first = migratectl("region", "leave", "--dsn", joined.region("cn").admin_dsn)
    assert first.returncode == 0
    assert "still followed through" in first.stderr
    assert offers(joined, "cn")
    last = migratectl("region", "leave", "--dsn", joined.region("global").admin_dsn)
    assert last.returncode == 0, last.stderr
    assert "node_cn: had left and was followed by nobody else, offers nothing any more" in last.stderr
    for name in OTHER:
        dsn = joined.region(name).admin_dsn
        assert not offers(joined, name)
        assert (rows(dsn, SLOTS), rows(dsn, ORIGINS)) == ([], [])
        with connect(dsn, autocommit=True) as conn:
            assert not standing(conn).joined
