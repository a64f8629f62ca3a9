"""Rows under the row contract: which copy stands and why, and what is never shown."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from accountdb.compare import spool as spools
from accountdb.compare.busy import Busy
from accountdb.pg.dsn import with_params
from tests.conftest import Databases, run_sql
from tests.integration.comparing import A, B, Two

USER = "00000000-0000-4000-8000-{:012d}"
SECRETS = ("geheim-1", "geheim-2", "GEHEIMNIS")


def put(dsn: str, n: int, **values: Any) -> None:
    """A user, as a replication worker stores it."""
    stamps = {"created_at": "2026-01-01", "updated_at": "2026-01-02", "version": 1, "origin_node": "node_cn"}
    row = {"uuid": USER.format(n), "username": f"user{n}", "email": f"{n}@x.cn", "password": "p", **stamps, **values}
    names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
    update = ", ".join(f"{name} = excluded.{name}" for name in row)
    run_sql(
        f"{dsn} options='-c session_replication_role=replica'",
        f"INSERT INTO users ({names}) VALUES ({marks}) ON CONFLICT (uuid) DO UPDATE SET {update}",
        *row.values(),
    )


def bury(dsn: str, n: int, created_at: str = "2026-01-01") -> None:
    """A tombstone of a user."""
    run_sql(
        dsn,
        "INSERT INTO accountdb.tombstone"
        " (table_schema, table_name, row_key, created_at, version, updated_at, origin_node)"
        " VALUES ('public', 'users', %s, %s, 1, %s, 'node_cn')",
        USER.format(n),
        created_at,
        created_at,
    )


@pytest.fixture(scope="module")
def two(databases: Databases) -> Two:
    """Two migrated regions with a user for every rule. Not to be changed."""
    made = Two(databases.migrated(), databases.migrated())
    for n, here, there in (
        (1, {"version": 3, "level": 1}, {"version": 2, "level": 2, "updated_at": "2026-01-09"}),
        (2, {"level": 1}, {"level": 2, "updated_at": "2026-01-02 00:00:00.000001"}),
        (3, {"level": 1, "origin_node": "node_global"}, {"level": 2}),
        (4, {"level": 1}, {"level": 2}),
        (5, {"level": 1}, None),
        (6, None, {"level": 1}),
        (7, {"level": 1}, None),
        (8, {"level": 1}, {"level": 2, "version": 9}),
        (9, {"level": 1, "created_at": "2026-01-05"}, {"level": 2, "version": 9}),
        (
            10,
            {"password": SECRETS[0], "mfa_totp_secret": None},
            {"password": SECRETS[1], "mfa_totp_secret": SECRETS[2]},
        ),
        (11, {"level": 1}, {"level": 1}),
    ):
        for dsn, values in ((made.a, here), (made.b, there)):
            if values is not None:
                put(dsn, n, **values)
    for n in (7, 8, 9):
        bury(made.b, n)
    return made


def found(two: Two, *arguments: str) -> dict[int, dict[str, Any]]:
    """The rows of a JSON document, by the number of the user."""
    outcome = two.diff("--json", "--table=users", *arguments)
    assert outcome.status == 1, outcome.err
    return {int(row["key"]["uuid"][-12:]): row for row in json.loads(outcome.out)["rows"]}


def test_each_row_says_which_copy_stands_and_why(two: Two) -> None:
    told = {n: (row["winner"], row["why"]) for n, row in found(two).items()}
    for winner, why in (told.pop(4), told.pop(10)):
        assert why == f"all equal but the content: its hash is greater than in {B if winner == A else A}"
    assert told == {
        1: (A, "version 3 over 2"),
        2: (B, "updated 2026-01-02 00:00:00.000001+00:00 over 2026-01-02 00:00:00+00:00"),
        3: (A, "origin_node node_global over node_cn"),
        5: (A, f"only in {A}"),
        6: (B, f"only in {B}"),
        7: (None, "deleted: a tombstone says so"),
        8: (None, "deleted: a tombstone says so"),
        9: (A, "the other copy is of a row that was deleted"),
    }


def test_both_ways_round_the_same_copy_stands(two: Two) -> None:
    other_way = Two(two.b, two.a)
    names = {A: B, B: A, None: None}
    assert {n: row["winner"] for n, row in found(two).items()} == {
        n: names[row["winner"]] for n, row in found(other_way).items()
    }


def test_a_row_names_what_differs_and_where(two: Two) -> None:
    row = found(two)[1]
    assert row["table"] == "public.users"
    assert row["regions"] == [A, B]
    assert row["columns"] == ["level", "updated_at", "version"]
    assert row["values"]["version"] == {A: "3", B: "2"}
    assert row["values"]["updated_at"] == {A: "2026-01-02 00:00:00+00", B: "2026-01-09 00:00:00+00"}
    assert found(two)[5]["regions"] == [A]
    assert found(two)[5]["columns"] == []


def test_the_text_output_says_the_same(two: Two) -> None:
    outcome = two.diff("--table=users")
    assert outcome.status == 1
    key = USER.format(1)
    assert (
        f"public.users uuid={key} differs in level ({A} '1' | {B} '2'), updated_at ({A} '2026-01-02 00:00:00+00'"
        f" | {B} '2026-01-09 00:00:00+00'), version ({A} '3' | {B} '2'); {A} wins: version 3 over 2"
    ) in outcome.lines
    assert f"public.users uuid={USER.format(5)} only in {A}" in outcome.lines
    assert f"public.users uuid={USER.format(7)} only in {A}; deleted: a tombstone says so" in outcome.lines
    assert outcome.lines[-1] == "public.users\t10\t9\t10\t0"
    assert outcome.err.splitlines() == [
        "the regions differ",
        "hint: migratectl merge --plan shows what would make them equal",
    ]


@pytest.mark.parametrize(
    ("moment", "winner"), [("infinity", B), ("-infinity", A), ("0044-03-15 BC", A), ("12000-01-01", B)]
)
def test_moments_that_python_has_no_date_for_are_compared(databases: Databases, moment: str, winner: str) -> None:
    two = Two(databases.migrated(), databases.migrated())
    put(two.a, 1)
    put(two.b, 1, updated_at=moment)
    for dsn in (two.a, two.b):
        put(dsn, 2, updated_at=moment, created_at=moment)
        put(dsn, 3, created_at=moment)
    put(two.a, 3, created_at=moment, level=7)
    bury(two.a, 3, created_at=moment)
    rows = found(two, "--settle=0.1")
    assert {n: (row["columns"], row["winner"]) for n, row in rows.items()} == {
        1: (["updated_at"], winner),
        3: (["level"], None),
    }


def test_equal_regions_are_told_so(two: Two) -> None:
    outcome = two.diff("--exclude=users")
    assert outcome.status == 0
    assert outcome.lines == [
        f"public.{t}\t0\t0\t0\t0" for t in ("admin_settings", "identities", "sessions", "subscriptions")
    ]
    assert outcome.err == "equal\n"


def test_a_role_that_may_only_read_the_tables_gets_the_rows_without_a_winner(two: Two) -> None:
    two.here("CREATE ROLE rows_reader LOGIN PASSWORD 'x'")
    two.both("GRANT SELECT ON ALL TABLES IN SCHEMA public TO rows_reader")
    reader = Two(*(with_params(dsn, user="rows_reader", password="x") for dsn in (two.a, two.b)))
    rows = found(reader, "--settle=0.2")
    assert rows.keys() == found(two).keys()
    assert rows[1]["values"] == found(two)[1]["values"]
    no_policy = "no row order: accountdb is not in both regions, or this role may not use it"
    assert {row["why"] for row in rows.values()} == {no_policy, f"only in {A}", f"only in {B}"}
    assert {row["winner"] for row in rows.values()} == {None}


def test_regions_without_accountdb_can_be_compared(databases: Databases) -> None:
    two = Two(databases.migrated(), databases.migrated())
    for dsn, level in ((two.a, 1), (two.b, 2)):
        put(dsn, 1, level=level)
    two.there("DROP SCHEMA accountdb CASCADE")
    two.there("ALTER TABLE users ALTER COLUMN origin_node SET DEFAULT 'x'")
    (row,) = found(two).values()
    assert row["columns"] == ["level"]
    assert (row["winner"], row["why"][:12]) == (None, "no row order")


# -- secrets --


def assert_no_secret(*texts: str) -> None:
    for text in texts:
        for secret in SECRETS:
            assert secret not in text


def test_secrets_are_masked_and_still_known_to_differ(two: Two) -> None:
    row = found(two)[10]
    assert row["columns"] == ["mfa_totp_secret", "password"]
    assert row["values"]["password"] == {A: "***", B: "***"}
    # That there is none is no secret.
    assert row["values"]["mfa_totp_secret"] == {A: None, B: "***"}
    for arguments in (["--json"], []):
        outcome = two.diff("--table=users", *arguments)
        assert_no_secret(outcome.out, outcome.err)


def test_declared_secrets_are_masked_in_values_keys_and_json(databases: Databases) -> None:
    two = Two(databases.empty(), databases.empty())
    two.both("CREATE TABLE vault (token text, code text, PRIMARY KEY (token, code))")
    two.both('CREATE TABLE notes (id int PRIMARY KEY, pin text, "Token" text, meta jsonb, plain json)')
    two.there("COMMENT ON COLUMN vault.code IS 'One-time code (accountdb: secret)'")
    two.here("COMMENT ON COLUMN notes.pin IS 'accountdb: secret'")
    two.here("INSERT INTO vault VALUES ('geheim-1', 'geheim-2'), ('geheim-2', 'GEHEIMNIS')")
    content = """{"a": [{"password": "geheim-1", "n": 1.50}], "token": null}"""
    two.here("INSERT INTO notes VALUES (1, 'geheim-1', 'geheim-2', %s, %s)", content, content)
    other = content.replace("geheim-1", "geheim-2")
    two.there("INSERT INTO notes VALUES (1, 'geheim-2', NULL, %s, %s)", other, '{"b": 1.50}')
    outcome = two.diff("--json")
    document = json.loads(outcome.out)
    assert [row["key"] for row in document["rows"]] == [{"id": "1"}, *[{"token": "***", "code": "***"}] * 2]
    values = document["rows"][0]["values"]
    assert values["pin"] == {A: "***", B: "***"}
    assert values["Token"] == {A: "***", B: None}
    assert json.loads(values["meta"][A]) == {"a": [{"password": "***", "n": 1.5}], "token": None}
    assert values["plain"][B] == '{"b": 1.50}'
    text = two.diff()
    assert text.lines[1].startswith("public.vault token=*** code=***")
    assert_no_secret(outcome.out, outcome.err, text.out, text.err)


# -- rows that move while diff looks --


def test_any_number_of_rounds_keeps_no_file_open(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows outside the row contract are looked at again for as long as they do not stand still."""
    monkeypatch.setattr(spools, "_BATCH", 1)
    two = Two(databases.empty(), databases.empty())
    two.both("CREATE TABLE hot (id int PRIMARY KEY, n int); INSERT INTO hot VALUES (1, 0), (2, 0), (3, 0)")
    two.there("UPDATE hot SET n = 1")
    files: list[int] = []

    def wait(_: float) -> None:
        if len(files) < 20:
            two.here("UPDATE hot SET n = n + 7 WHERE id < 3")
        files.append(len(os.listdir("/proc/self/fd")))

    compared = two.compare("hot", wait=wait, settle_s=100)
    assert len(files) == 21
    assert max(files) - files[0] <= 2
    result = compared.results["public.hot"]
    assert (result.differing, result.changing) == (3, 0)


def test_what_moves_until_the_time_is_over_is_told_apart(databases: Databases) -> None:
    two = Two(databases.empty(), databases.empty())
    two.both("CREATE TABLE hot (id int PRIMARY KEY, n int); INSERT INTO hot VALUES (1, 0), (2, 0), (3, 0)")
    two.there("UPDATE hot SET n = 1")
    began = time.monotonic()

    def wait(_: float) -> None:
        two.here("UPDATE hot SET n = n + 7 WHERE id < 3")

    result = two.compare("hot", wait=wait, settle_s=0.5).results["public.hot"]
    assert (result.differing, result.changing) == (1, 2)
    assert time.monotonic() - began > 0.5


def test_rows_that_arrive_meanwhile_are_no_difference(databases: Databases) -> None:
    two = Two(databases.empty(), databases.empty())
    two.both(
        "CREATE TABLE late (id int PRIMARY KEY, n int); INSERT INTO late SELECT i, 0 FROM generate_series(1, 9) AS i"
    )
    two.here("UPDATE late SET n = 1 WHERE id <= 3; DELETE FROM late WHERE id = 4; INSERT INTO late VALUES (10, 0)")
    two.there("UPDATE late SET n = 2 WHERE id = 9")

    def wait(_: float) -> None:
        two.there("UPDATE late SET n = 1 WHERE id <= 3; DELETE FROM late WHERE id = 4")
        two.there("INSERT INTO late VALUES (10, 0) ON CONFLICT DO NOTHING")

    assert len(two.compare("late").findings) == 6
    compared = two.compare("late", wait=wait, settle_s=5.0)
    assert [dict(finding.key) for finding in compared.findings] == [{"id": "9"}]
    assert compared.results["public.late"].changing == 0


def test_a_table_that_differs_is_read_to_its_end_and_nothing_is_cancelled(two: Two, monkeypatch: Any) -> None:
    """A cancel may hit the end of its transaction, in which the tables that follow are still to be read."""
    monkeypatch.setattr(Busy, "cancel", lambda _: pytest.fail("cancelled"))
    assert len(two.compare().of("users")) > 5
