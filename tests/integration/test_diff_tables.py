"""Tables of every shape: what differs is found once, and what is equal stays equal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from accountdb.compare import parts
from accountdb.compare.columns import HashKind
from tests.conftest import Databases, value
from tests.integration.comparing import A, B, Two, assert_refused, keys

pytest_plugins = ("tests.integration.conftest_drift",)


@pytest.fixture(scope="module")
def two(databases: Databases) -> Two:
    """Two databases; each test brings tables of its own."""
    made = Two(databases.empty(), databases.empty())
    made.both("CREATE EXTENSION citext")
    return made


def found(two: Two, *tables: str, **options: Any) -> list[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]]:
    """Key, regions and columns of each row that differs."""
    findings = two.compare(*tables, **options).findings
    return [(tuple(f.key.values()), f.regions, f.columns) for f in findings]


# -- what a difference is --


@pytest.mark.parametrize("kind", HashKind)
def test_values_that_change_places_are_found(two: Two, kind: HashKind) -> None:
    table = f"swapped_{kind}"
    two.both(f"CREATE TABLE {table} (id int PRIMARY KEY, a text, b text, n int, m int)")
    two.both(f"INSERT INTO {table} SELECT i, 'a' || i, 'b' || i, i, -i FROM generate_series(1, 20) AS i")
    two.there(f"UPDATE {table} SET a = b, b = a WHERE id = 1")
    two.there(f"UPDATE {table} SET n = m, m = n WHERE id = 2")
    two.there(f"UPDATE {table} SET a = 'a' || 7 - id WHERE id IN (3, 4)")
    two.there(f"UPDATE {table} SET n = 13 - id, m = id - 13 WHERE id IN (6, 7)")
    two.there(f"UPDATE {table} SET id = 17 - id + 100 WHERE id IN (8, 9)")
    two.there(f"UPDATE {table} SET id = id - 100 WHERE id > 100")
    expected = {1: ("a", "b"), 2: ("m", "n"), 3: ("a",), 4: ("a",), 6: ("m", "n"), 7: ("m", "n")}
    expected |= dict.fromkeys((8, 9), ("a", "b", "m", "n"))
    assert found(two, table, hash_kind=kind) == [((str(n),), (A, B), names) for n, names in expected.items()]


def test_a_row_that_exists_twice_by_its_hash_does_not_vanish(two: Two) -> None:
    two.both("CREATE TABLE pairs (id int PRIMARY KEY, v text)")
    two.here("INSERT INTO pairs VALUES (1, 'x'), (2, 'x'), (3, 'x')")
    two.there("INSERT INTO pairs VALUES (3, 'x')")
    assert found(two, "pairs") == [(("1",), (A,), ()), (("2",), (A,), ())]


def test_a_numeric_key_of_another_scale_is_one_row(two: Two) -> None:
    two.both("CREATE TABLE scaled (id numeric PRIMARY KEY, v text)")
    two.here("INSERT INTO scaled VALUES (1.0, 'x'), (2.50, 'x'), ('NaN', 'x'), (100, 'x')")
    two.there("INSERT INTO scaled VALUES (1.00, 'x'), (2.50, 'y'), ('NaN', 'x'), (100, 'x')")
    assert sorted(found(two, "scaled")) == [(("1",), (A, B), ("id",)), (("2.5",), (A, B), ("v",))]


def test_keys_that_only_the_type_calls_equal_are_two_rows(two: Two) -> None:
    two.both("CREATE TABLE folded (id citext, f float8, v text, PRIMARY KEY (id, f))")
    two.here("INSERT INTO folded VALUES ('A', 0, 'x'), ('b', '-0', 'x'), ('c', 1, 'x')")
    two.there("INSERT INTO folded VALUES ('a', 0, 'x'), ('b', '0', 'x'), ('c', 1, 'x')")
    one_sided = [(("A", "0"), (A,), ()), (("a", "0"), (B,), ()), (("b", "-0"), (A,), ()), (("b", "0"), (B,), ())]
    assert found(two, "folded") == one_sided


def test_a_column_that_the_key_only_includes_is_none_of_the_key(two: Two) -> None:
    two.both(
        "CREATE TABLE including (id int, v text, PRIMARY KEY (id) INCLUDE (v)); INSERT INTO including VALUES (1, 'x')"
    )
    two.there("UPDATE including SET v = 'y'")
    assert found(two, "including") == [(("1",), (A, B), ("v",))]


# -- structure that may differ --


def test_the_order_of_columns_and_dropped_ones_are_no_difference(two: Two) -> None:
    two.here("CREATE TABLE moved (id int PRIMARY KEY, a text, b text, gone int)")
    two.there("CREATE TABLE moved (b text, other int, id int PRIMARY KEY, a text)")
    two.here("ALTER TABLE moved DROP COLUMN gone")
    two.there("ALTER TABLE moved DROP COLUMN other")
    two.both("INSERT INTO moved (id, a, b) SELECT i, 'a' || i, 'b' || i FROM generate_series(1, 9) AS i")
    assert found(two, "moved") == []
    two.there("UPDATE moved SET a = b, b = a WHERE id = 5")
    assert found(two, "moved") == [(("5",), (A, B), ("a", "b"))]


def test_generated_columns_are_compared_too(two: Two) -> None:
    two.here("CREATE TABLE made (id int PRIMARY KEY, n int, g int GENERATED ALWAYS AS (n * 2) STORED)")
    two.there("CREATE TABLE made (id int PRIMARY KEY, n int, g int GENERATED ALWAYS AS (abs(n) * 2) STORED)")
    two.both("INSERT INTO made VALUES (1, 1), (2, 2)")
    assert found(two, "made") == []
    two.both("INSERT INTO made VALUES (3, -3)")
    assert found(two, "made") == [(("3",), (A, B), ("g",))]


ODD_NAMES = (
    "100%",
    "%s %(x)s",
    'a"b',
    "a.b",
    "表 é",
    "{x}",
    "A b",
    "select",
    "t",
    "w",
    "n",
    "k0",
    "x\\y",
    "$1",
    "x\ty",
)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_may_be_anything(two: Two, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    schema = '"' + f"schema {name}".replace('"', '""') + '"'
    for table, key in ((f"{schema}.t", quoted), (f"public.{quoted}", '"id"')):
        if not table.startswith("public."):
            two.both(f"CREATE SCHEMA {schema}")
        two.both(f"CREATE TABLE {table} ({key} text PRIMARY KEY, v text, part int, n_ int DEFAULT 0)")
        two.both(f"INSERT INTO {table} VALUES ('{{}}%''s', 'x'), ('b', 'x')")
        two.there(f"UPDATE {table} SET v = 'y' WHERE {key} = 'b'")
    chosen = (f"public.{name}",) if "." in f"schema {name}" else (f"public.{name}", f"schema {name}.t")
    assert found(two, *chosen) == [(("b",), (A, B), ("v",))] * len(chosen)


def test_a_name_with_dots_is_told_by_its_schema(two: Two) -> None:
    two.both('CREATE TABLE "x.y.z" (id int PRIMARY KEY)')
    two.here('INSERT INTO "x.y.z" VALUES (1)')
    assert found(two, "public.x.y.z") == [(("1",), (A,), ())]


# -- partitions and inheritance --


def test_partitions_count_with_their_table_however_they_are_cut(two: Two) -> None:
    two.both("CREATE TABLE cut (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)")
    two.here("CREATE TABLE cut_1 PARTITION OF cut FOR VALUES FROM (0) TO (500)")
    two.here("CREATE TABLE cut_2 PARTITION OF cut FOR VALUES FROM (500) TO (2000) PARTITION BY HASH (id)")
    two.here("CREATE TABLE cut_3 PARTITION OF cut_2 FOR VALUES WITH (MODULUS 1, REMAINDER 0)")
    two.there("CREATE TABLE cut_all PARTITION OF cut DEFAULT")
    two.both("INSERT INTO cut SELECT i, repeat('x', 400) FROM generate_series(1, 1500) AS i")
    assert found(two, "cut") == []
    two.there("UPDATE cut SET v = 'y' WHERE id IN (1, 700)")
    two.there("DELETE FROM cut WHERE id = 1500")
    one_sided = (("1500",), (A,), ())
    assert found(two, "cut") == [(("1",), (A, B), ("v",)), one_sided, (("700",), (A, B), ("v",))]


def test_a_partition_is_no_table_of_its_own(two: Two) -> None:
    two.both("CREATE TABLE whole (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    two.both("CREATE TABLE leaf PARTITION OF whole DEFAULT")
    outcome = two.diff("--table=leaf")
    assert_refused(outcome, 2, "no such table in here and there: leaf")


def test_a_partitioned_table_and_a_plain_one_hold_the_same(two: Two) -> None:
    two.here("CREATE TABLE either (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)")
    two.here("CREATE TABLE either_all PARTITION OF either DEFAULT")
    two.there("CREATE TABLE either (id int PRIMARY KEY, v text)")
    two.both("INSERT INTO either SELECT i, repeat('x', 400) FROM generate_series(1, 1500) AS i")
    assert found(two, "either") == []
    two.there("UPDATE either SET v = 'y' WHERE id = 3")
    assert found(two, "either") == [(("3",), (A, B), ("v",))]


def test_tables_that_inherit_are_tables_of_their_own(two: Two) -> None:
    two.both("CREATE TABLE parent (id int PRIMARY KEY, v text)")
    two.both("CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent)")
    # One key in both tables: the parent's key says nothing of its children.
    two.both("INSERT INTO parent VALUES (1, 'x'), (2, 'x')")
    two.both("INSERT INTO child VALUES (1, 'child'), (3, 'child')")
    assert found(two, "parent", "child") == []
    two.there("UPDATE ONLY parent SET v = 'y' WHERE id = 1")
    two.there("UPDATE child SET v = 'y' WHERE id = 3")
    compared = two.compare("parent", "child")
    assert keys(compared.of("parent")) == [("1",)]
    assert keys(compared.of("child")) == [("3",)]
    assert compared.results["public.parent"].rows == {A: 2, B: 2}


# -- sizes --


@pytest.fixture(scope="module")
def large(two: Two) -> Two:
    """40,000 users in both; what a test changes is put back by ``as_before``."""
    two.both("CREATE TABLE large (id uuid PRIMARY KEY, n int, v text)")
    two.both("INSERT INTO large SELECT md5(i::text)::uuid, i, 'user' || i FROM generate_series(1, 40000) AS i")
    two.both("ANALYZE large")
    return two


@pytest.fixture
def as_before(large: Two) -> Iterator[Two]:
    yield large
    large.there("DELETE FROM large WHERE n > 40000")
    large.there(
        "INSERT INTO large SELECT md5(i::text)::uuid, i FROM generate_series(1, 40000) AS i ON CONFLICT DO NOTHING"
    )
    large.there("UPDATE large SET v = 'user' || n WHERE v IS DISTINCT FROM 'user' || n")


@pytest.mark.parametrize("jobs", [1, 3])
def test_few_differences_in_many_rows(as_before: Two, jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    two = as_before
    # Several stretches of blocks, as in a table of gigabytes.
    monkeypatch.setattr(parts, "_STRETCH_BLOCKS", 50)
    monkeypatch.setattr(parts, "_SAMPLE_BLOCKS", 100)
    assert found(two, "large", jobs=jobs) == []
    first, last = (value(two.a, f"SELECT id::text FROM large ORDER BY id {way} LIMIT 1") for way in ("ASC", "DESC"))
    two.there("DELETE FROM large WHERE id = %s", first)
    two.there("UPDATE large SET v = NULL WHERE id = %s", last)
    two.there("INSERT INTO large VALUES ('ffffffff-ffff-ffff-ffff-ffffffffffff', 40001)")
    beyond = "ffffffff-ffff-ffff-ffff-ffffffffffff"
    expected = [((first,), (A,), ()), ((last,), (A, B), ("v",)), ((beyond,), (B,), ())]
    assert found(two, "large", jobs=jobs) == expected
    assert two.compare("large").results["public.large"].rows == {A: 40000, B: 40000}


def test_many_differences_in_many_rows(as_before: Two) -> None:
    as_before.there("UPDATE large SET v = '' WHERE n % 5 = 0")
    as_before.there("DELETE FROM large WHERE n % 50 = 1")
    compared = as_before.compare("large")
    assert len(set(keys(compared.findings))) == len(compared.findings) == 8000 + 800
    assert compared.results["public.large"].differing == 8800


@pytest.mark.parametrize("analyzed", [True, False])
def test_a_table_that_one_region_has_to_itself(two: Two, analyzed: bool) -> None:
    table = f"alone_{analyzed}".lower()
    two.both(f"CREATE TABLE {table} (id int PRIMARY KEY, v text)")
    two.there(f"INSERT INTO {table} SELECT i, repeat('x', 300) FROM generate_series(1, 4000) AS i")
    if analyzed:
        two.both(f"ANALYZE {table}")
    for way in (two, Two(two.b, two.a)):
        compared = way.compare(table)
        assert compared.results[f"public.{table}"].differing == 4000
        assert sorted(int(key) for (key,) in keys(compared.findings)) == list(range(1, 4001))
        assert {f.regions for f in compared.findings} == {(B,) if way is two else (A,)}


def test_two_empty_tables_are_equal(two: Two) -> None:
    two.both("CREATE TABLE nothing (a int, b text, PRIMARY KEY (a, b))")
    assert found(two, "nothing") == []


# -- collations --


@pytest.mark.pglogical
def test_texts_that_a_collation_calls_equal_are_different(databases_15: Databases) -> None:
    two = Two(databases_15.empty(), databases_15.empty())
    two.both("CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level1', deterministic = false)")
    two.both("CREATE COLLATION german (provider = icu, locale = 'de-DE')")
    two.both("CREATE TABLE words (id text COLLATE folded PRIMARY KEY, a text COLLATE folded, b text COLLATE german)")
    two.both("INSERT INTO words SELECT 'w' || i, 'é', 'straße' FROM generate_series(1, 20) AS i")
    assert found(two, "words") == []
    two.there("UPDATE words SET a = 'E' WHERE id = 'w1'")
    two.there("UPDATE words SET b = 'strasse' WHERE id = 'w2'")
    two.there("UPDATE words SET id = 'W3' WHERE id = 'w3'")
    changed = [(("w1",), (A, B), ("a",)), (("w2",), (A, B), ("b",))]
    assert found(two, "words") == [(("W3",), (B,), ()), *changed, (("w3",), (A,), ())]
