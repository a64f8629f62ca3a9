"""The row order is one order: accountdb.row_wins in SQL says what contract.row_order says in Python."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from accountdb.contract.row_order import RowStamp, wins
from accountdb.pg.connect import Connection

pytest_plugins = ("tests.integration.conftest_asking", "tests.integration.conftest_drift")

Pair = tuple[RowStamp, RowStamp]

# All pairs of an example travel in one statement, as arrays.
ASK = """
    SELECT array_agg(accountdb.row_wins(va, ta, oa, ha, vb, tb, ob, hb) ORDER BY position)
    FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[], %s::text[],
                %s::bigint[], %s::timestamptz[], %s::text[], %s::text[])
         WITH ORDINALITY AS pair (va, ta, oa, ha, vb, tb, ob, hb, position)
"""
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

times = st.one_of(
    st.sampled_from([NOON, NOON + MICROSECOND, NOON - MICROSECOND, NOON.astimezone(timezone(timedelta(hours=8)))]),
    st.datetimes(
        datetime(1900, 1, 1), datetime(9000, 1, 1), timezones=st.sampled_from([UTC, timezone(-timedelta(hours=11))])
    ),
)
nodes = st.one_of(
    st.sampled_from(["node_cn", "Node_cn", "node_CN", "node-cn", "node cn", "节点_cn", "節點", "nöde", "no\u0308de"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4),
)
hashes = st.one_of(st.sampled_from(["a", "b", "B"]), st.text("0123456789abcdef", min_size=32, max_size=32))
versions = st.one_of(st.integers(0, 1), st.integers(-(2**63), 2**63 - 1))
stamps = st.builds(RowStamp, versions, times, nodes, hashes)
pairs = st.lists(st.tuples(stamps, stamps), min_size=20, max_size=60)


def said_by_sql(conn: Connection, asked: list[Pair], ask: str = ASK) -> list[bool]:
    columns = [
        [getattr(pair[side], name) for pair in asked]
        for side in (0, 1)
        for name in ("version", "updated_at", "origin_node", "content_hash")
    ]
    row = conn.execute(ask.encode(), columns).fetchone()
    assert row is not None
    found: list[bool] = row[0]
    return found


def assert_agree(conn: Connection, asked: list[Pair], ask: str = ASK) -> None:
    both_ways = asked + [(b, a) for a, b in asked] + [(a, a) for a, _ in asked]
    assert said_by_sql(conn, both_ways, ask) == [wins(a, b) for a, b in both_ways]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(asked=pairs)
@example(asked=[(RowStamp(1, NOON, "节点", "a"), RowStamp(1, NOON, "zzz", "b"))])
@example(asked=[(RowStamp(1, NOON, "\U00020000", "a"), RowStamp(1, NOON, "\uffee", "b"))])
@example(asked=[(RowStamp(1, NOON + MICROSECOND, "a", "a"), RowStamp(1, NOON, "b", "b"))])
def test_sql_and_python_pick_the_same_winner(conn: Connection, asked: list[Pair]) -> None:
    assert_agree(conn, asked)


@pytest.mark.pglogical
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(asked=pairs)
@example(asked=[(RowStamp(1, NOON, "node_cn", "a"), RowStamp(1, NOON, "Node_cn", "b"))])
def test_the_collation_of_a_region_does_not_matter(conn_15: Connection, asked: list[Pair]) -> None:
    for collation in ("en-x-icu", "zh-x-icu"):
        asking = ASK.replace("(va, ta, oa, ha,", f'(va, ta, oa COLLATE "{collation}", ha COLLATE "{collation}",', 1)
        assert_agree(conn_15, asked, asking)
