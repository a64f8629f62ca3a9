"""Tables that inherit, and tables cut into partitions differently on the two sides: every row once, in its place."""

# ruff: noqa: E501 - a statement stands on one line

from __future__ import annotations

import pytest

from accountdb.lab import Lab
from accountdb.sync.capture import Capture
from accountdb.sync.limit import parse
from tests.conftest import Databases, value
from tests.integration.syncing import Follow, follow

FAMILY = (
    "CREATE TABLE public.thing (id integer PRIMARY KEY, v text)",
    "CREATE TABLE public.child (PRIMARY KEY (id), extra text) INHERITS (public.thing)",
)
ONLY = "SELECT array_agg(id || v ORDER BY id) FROM ONLY {}"


def equal(pair: Follow, *tables: str) -> None:
    """Each table's own rows, without those of tables that inherit."""
    for table in tables:
        query = ONLY.format(table)
        assert value(pair.source, query) == value(pair.target, query), table


@pytest.mark.parametrize("capture", Capture)
def test_rows_of_children_arrive_once(databases: Databases, native_lab: Lab, capture: Capture) -> None:
    pair = follow(databases, native_lab, FAMILY).of("thing", "child")
    if capture is Capture.LOG:
        pair = pair.logged()
    pair.here("INSERT INTO thing SELECT n, 'p' FROM generate_series(1, 9) AS n")
    # The same key in both: keys are a table's own.
    pair.here("INSERT INTO child SELECT n, 'c', 'x' FROM generate_series(1, 12) AS n")
    receipt = pair.sync(verify=True)
    assert receipt.verified
    assert [receipt.tables[f"public.{name}"].inserted for name in ("thing", "child")] == [9, 12]
    equal(pair, "thing", "child")
    # By the parent's name: in both.
    pair.here(
        "UPDATE thing SET v = 'u' WHERE id = 1; DELETE FROM thing WHERE id = 2; UPDATE child SET id = 30 WHERE id = 3"
    )
    pair.here("UPDATE ONLY thing SET v = 'o' WHERE id = 4; INSERT INTO child VALUES (31, 'new', 'y')")
    receipt = pair.sync(verify=True, max_delete=parse("100%"))
    assert (receipt.full, receipt.verified) == (False, True)
    equal(pair, "thing", "child")
    assert value(pair.target, "SELECT count(*) FROM thing") == value(pair.source, "SELECT count(*) FROM thing")
    for _ in range(2):
        assert [counts.written for counts in pair.sync(once=True, verify=True).tables.values()] == [0, 0]


@pytest.mark.parametrize("capture", Capture)
def test_a_parent_alone_brings_its_own_rows(databases: Databases, native_lab: Lab, capture: Capture) -> None:
    """And touches no row of a child that only the destination has."""
    pair = follow(databases, native_lab, FAMILY).of("thing")
    if capture is Capture.LOG:
        pair = pair.logged()
    pair.here("INSERT INTO thing VALUES (1, 'p'), (2, 'p'); INSERT INTO child VALUES (1, 'c', 'x'), (3, 'c', 'x')")
    pair.there("INSERT INTO child VALUES (1, 'own', 'x'), (2, 'own', 'x'), (7, 'own', 'x')")
    own = value(pair.target, "SELECT array_agg(c::text ORDER BY id) FROM child AS c")
    assert pair.counts("thing", verify=True).inserted == 2
    pair.here(
        "UPDATE thing SET v = 'u' WHERE id = 1; DELETE FROM thing WHERE id = 2; TRUNCATE child; INSERT INTO thing VALUES (7, 'new')"
    )
    receipt = pair.sync(verify=True, max_delete=parse("100%"))
    assert receipt.verified
    counts = receipt.tables["public.thing"]
    assert (counts.inserted, counts.updated, counts.deleted) == (1, 1, 1)
    equal(pair, "thing")
    receipt = pair.sync(once=True, verify=True)
    assert (receipt.verified, receipt.tables["public.thing"].written) == (True, 0)
    assert value(pair.target, "SELECT array_agg(c::text ORDER BY id) FROM child AS c") == own


LAYOUTS = {
    "plain": ("CREATE TABLE public.part (id integer PRIMARY KEY, v text)",),
    "ranges": (
        "CREATE TABLE public.part (id integer PRIMARY KEY, v text) PARTITION BY RANGE (id)",
        "CREATE TABLE public.part_low PARTITION OF public.part FOR VALUES FROM (0) TO (20)",
        "CREATE TABLE public.part_rest PARTITION OF public.part DEFAULT",
    ),
    "hashes": (
        "CREATE TABLE public.part (id integer PRIMARY KEY, v text) PARTITION BY HASH (id)",
        *(
            f"CREATE TABLE public.part_{n} PARTITION OF public.part FOR VALUES WITH (MODULUS 3, REMAINDER {n})"
            for n in range(3)
        ),
    ),
    "deep": (
        "CREATE TABLE public.part (id integer PRIMARY KEY, v text) PARTITION BY RANGE (id)",
        "CREATE TABLE public.part_low PARTITION OF public.part FOR VALUES FROM (0) TO (20) PARTITION BY RANGE (id)",
        "CREATE TABLE public.part_lowest PARTITION OF public.part_low FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE public.part_lower PARTITION OF public.part_low FOR VALUES FROM (10) TO (20)",
        "CREATE TABLE public.part_rest PARTITION OF public.part DEFAULT",
    ),
}


@pytest.mark.parametrize(
    ("here", "there", "capture"),
    [("plain", "hashes", Capture.LOG), ("ranges", "plain", Capture.XMIN), ("deep", "hashes", Capture.LOG)],
)
def test_partitions_may_be_cut_differently(
    databases: Databases, native_lab: Lab, here: str, there: str, capture: Capture
) -> None:
    pair = follow(databases, native_lab).of("part")
    for statement in LAYOUTS[here]:
        pair.here(statement)
    for statement in LAYOUTS[there]:
        pair.there(statement)
    if capture is Capture.LOG:
        pair = pair.logged()
    pair.here("INSERT INTO part SELECT n, 'v' FROM generate_series(1, 40) AS n")
    assert pair.counts("part", verify=True).inserted == 40
    pair.here(
        "UPDATE part SET v = 'w' WHERE id IN (5, 15, 25); UPDATE part SET id = id + 100 WHERE id IN (3, 13); DELETE FROM part WHERE id IN (7, 17)"
    )
    receipt = pair.sync(verify=True)
    counts = receipt.tables["public.part"]
    assert (receipt.full, receipt.verified) == (False, True)
    assert (counts.inserted, counts.updated, counts.deleted) == (2, 3, 4)
    pair.assert_equal()
    assert pair.sync().tables["public.part"].written == 0


@pytest.mark.parametrize(
    "how",
    [
        "TRUNCATE part_low",
        "ALTER TABLE part DETACH PARTITION part_low",
        "DROP TABLE part_low",
        "CREATE TABLE more (LIKE part INCLUDING ALL); INSERT INTO more VALUES (1007, 'more');"
        " ALTER TABLE part DETACH PARTITION part_rest; ALTER TABLE part ATTACH PARTITION more FOR VALUES FROM (1000) TO (2000)",
    ],
    ids=["truncate", "detach", "drop", "attach"],
)
def test_a_partition_that_comes_or_goes_whole(databases: Databases, native_lab: Lab, how: str) -> None:
    """The log of the table sees nothing of it."""
    pair = follow(databases, native_lab).of("part")
    for statement in LAYOUTS["ranges"]:
        pair.here(statement)
    for statement in LAYOUTS["plain"]:
        pair.there(statement)
    pair = pair.logged()
    pair.here("INSERT INTO part SELECT n, 'v' FROM generate_series(15, 40) AS n")
    pair.sync()
    pair.here(how)
    assert pair.sync(max_delete=parse("100%")).full
    pair.assert_equal()
    assert not pair.sync().full
