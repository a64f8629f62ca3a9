"""Unique claims are one rule: accountdb.claim_wins and released_value say what contract.claims says in Python."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from accountdb.contract.claims import Claimant, keeps, released_value
from accountdb.pg.connect import Connection

pytest_plugins = ("tests.integration.conftest_asking", "tests.integration.conftest_drift")

# All cases of an example travel in one statement, as arrays.
ASK_WINS = """
    SELECT array_agg(accountdb.claim_wins(ta, ua, tb, ub) ORDER BY position)
    FROM unnest(%s::timestamptz[], %s::uuid[], %s::timestamptz[], %s::uuid[])
         WITH ORDINALITY AS pair (ta, ua, tb, ub, position)
"""
ASK_RELEASED = """
    SELECT array_agg(accountdb.released_value(v, u, l, w) ORDER BY position)
    FROM unnest(%s::text[], %s::uuid[], %s::integer[], %s::boolean[])
         WITH ORDINALITY AS released (v, u, l, w, position)
"""
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SIGNED = UUID("80000000-0000-4000-8000-000000000000")

Pair = tuple[Claimant, Claimant]
Release = tuple[str, UUID, int | None, bool]

times = st.one_of(
    st.sampled_from([NOON, NOON + timedelta(microseconds=1), NOON.astimezone(timezone(timedelta(hours=8)))]),
    st.datetimes(datetime(1900, 1, 1), datetime(9000, 1, 1), timezones=st.sampled_from([UTC])),
)
uuids = st.one_of(st.sampled_from([UUID(int=0), UUID(int=SIGNED.int - 1), SIGNED, UUID(int=2**128 - 1)]), st.uuids())
claimants = st.builds(Claimant, times, uuids)
texts = st.one_of(
    st.sampled_from(["", "ann", "ann~12345678", "节点@例子.cn", "👩‍👩‍👧‍👦", "e\u0301cole", "a" * 300]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60),
)
limits = st.one_of(st.none(), st.integers(0, 50))
pairs = st.lists(st.tuples(claimants, claimants), min_size=20, max_size=60)
releases = st.lists(st.tuples(texts, uuids, limits, st.booleans()), min_size=20, max_size=60)
patient = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def assert_agree_on_keepers(conn: Connection, asked: list[Pair]) -> None:
    both_ways = asked + [(b, a) for a, b in asked] + [(a, a) for a, _ in asked]
    columns = [[getattr(pair[side], name) for pair in both_ways] for side in (0, 1) for name in ("created_at", "uuid")]
    row = conn.execute(ASK_WINS, columns).fetchone()
    assert row is not None
    assert row[0] == [keeps(a, b) for a, b in both_ways]


def assert_agree_on_released(conn: Connection, asked: list[Release]) -> None:
    row = conn.execute(ASK_RELEASED, [list(column) for column in zip(*asked, strict=True)]).fetchone()
    assert row is not None
    assert row[0] == [released_value(value, uuid, limit, whole=whole) for value, uuid, limit, whole in asked]


@patient
@given(asked=pairs)
@example(asked=[(Claimant(NOON, SIGNED), Claimant(NOON, UUID(int=SIGNED.int - 1)))])
@example(asked=[(Claimant(NOON + timedelta(microseconds=1), UUID(int=0)), Claimant(NOON, SIGNED))])
def test_sql_and_python_give_the_value_to_the_same_row(conn: Connection, asked: list[Pair]) -> None:
    assert_agree_on_keepers(conn, asked)


@patient
@given(asked=releases)
@example(asked=[("ann", SIGNED, 9, False), ("ann", SIGNED, 8, False), ("ann", SIGNED, 0, True)])
def test_sql_and_python_release_to_the_same_value(conn: Connection, asked: list[Release]) -> None:
    assert_agree_on_released(conn, asked)


@pytest.mark.pglogical
@settings(patient, max_examples=10)
@given(claimed=pairs, released=releases)
def test_the_same_on_postgresql_15(conn_15: Connection, claimed: list[Pair], released: list[Release]) -> None:
    assert_agree_on_keepers(conn_15, claimed)
    assert_agree_on_released(conn_15, released)
