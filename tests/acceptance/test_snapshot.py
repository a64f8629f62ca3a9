"""A snapshot that is imported into one of two joined regions: the other one, which follows, ends equal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from accountdb.lab import Lab
from tests.conftest import eventually, migratectl, rows, run_sql, value
from tests.integration.snapshots import bring, brought, content, export

STRATEGIES = ("replace", "append", "timestamp")
TAG = "snapshot-"


@pytest.fixture
def lab(ready_lab: Lab) -> Iterator[Lab]:
    """A joined lab, left equal and healed."""
    yield ready_lab
    ready_lab.heal()
    run_sql(ready_lab.region("cn").app_dsn, f"DELETE FROM users WHERE username LIKE '{TAG}%'")
    eventually(lambda: equal(ready_lab), what="equal regions after the test")


def equal(lab: Lab) -> bool:
    return content(lab.region("cn").admin_dsn) == content(lab.region("global").admin_dsn)


def settled(lab: Lab) -> None:
    """Both hold the same, by their hashes and by the command."""
    eventually(lambda: equal(lab), what="the same rows in both regions")
    found = migratectl("diff", env=lab.env())
    assert found.returncode == 0, found.stdout + found.stderr


def users(dsn: str, columns: str = "level") -> dict[str, Any]:
    """By the number in their name."""
    found = rows(dsn, f"SELECT username, {columns} FROM users WHERE username LIKE '{TAG}%' ORDER BY 1")
    return {name.removeprefix(TAG): tuple(more) if len(more) > 1 else more[0] for name, *more in found}


def make_users(lab: Lab, count: int) -> None:
    """On CN, each with an identity and a session, and seen on Global."""
    cn = lab.region("cn").app_dsn
    run_sql(
        cn,
        f"INSERT INTO users (username, password, email, level) SELECT '{TAG}' || n, 'x', '{TAG}' || n || '@x.com', 30"
        f" FROM generate_series(1, {count}) AS n",
    )
    for table, columns in (
        ("identities (provider, external_id", "'p', uuid"),
        ("sessions (token, expires_at", "uuid, now()"),
    ):
        run_sql(cn, f"INSERT INTO {table}, user_uuid) SELECT {columns}, uuid FROM users WHERE username LIKE '{TAG}%'")
    eventually(lambda: equal(lab), what="the new users in both regions")


@pytest.fixture
def imported(lab: Lab, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Import the snapshot ``s.yaml`` into CN as the owner; again, nothing moves."""

    def run(strategy: str, *, status: int = 0) -> dict[str, Any]:
        dsn = lab.region("cn").app_dsn
        words = ["--merge", "--merge-strategy", strategy]
        found = brought(dsn, tmp_path / "s.yaml", *words, status=status)
        again = brought(dsn, tmp_path / "s.yaml", *words, status=status)
        assert all(one["inserted"] == one["updated"] == 0 for one in again["tables"].values())
        return found

    return run


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_other_region_ends_equal(lab: Lab, tmp_path: Path, imported: Any, strategy: str) -> None:
    """Rows changed here, there and in both since the snapshot, deleted here and there, and new ones."""
    cn, there = (lab.region(name).app_dsn for name in ("cn", "global"))
    make_users(lab, 9)
    export(cn, tmp_path / "s.yaml", "--email", TAG)
    change = "UPDATE users SET level = {} WHERE username IN ({})"
    run_sql(cn, change.format(40, f"'{TAG}1', '{TAG}2'"))
    eventually(lambda: equal(lab))
    run_sql(there, change.format(50, f"'{TAG}2', '{TAG}3'"))
    run_sql(there, f"DELETE FROM users WHERE username = '{TAG}4'")
    run_sql(cn, f"DELETE FROM users WHERE username = '{TAG}5'")
    # The email of one that was deleted has been registered again.
    run_sql(cn, f"DELETE FROM users WHERE username = '{TAG}6'")
    run_sql(cn, f"INSERT INTO users (username, password, email, level) VALUES ('{TAG}new', 'x', '{TAG}6@x.com', 60)")
    settled(lab)
    before = rows(cn, "SELECT id FROM accountdb.conflict WHERE state = 'open'")
    found = imported(strategy, status=0 if strategy == "timestamp" else 1)
    settled(lab)
    expected = {"1": 40, "2": 50, "3": 50, "7": 30, "8": 30, "9": 30, "new": 60}
    if strategy == "replace":
        expected |= {"1": 30, "2": 30, "3": 30}
    if strategy != "timestamp":
        expected |= {"4": 30, "5": 30}
        assert found["revived"]["users"] == 2
    for dsn in (cn, there):
        assert users(dsn) == expected
        assert value(dsn, "SELECT count(*) FROM sessions WHERE user_uuid NOT IN (SELECT uuid FROM users)") == 0
    assert rows(cn, "SELECT id FROM accountdb.conflict WHERE state = 'open'") == before
    # An ordinary change goes on from there, in both directions.
    run_sql(there, change.format(70, f"'{TAG}1'"))
    eventually(lambda: users(cn)["1"] == 70)
    run_sql(cn, change.format(80, f"'{TAG}1'"))
    eventually(lambda: users(there)["1"] == 80)
    settled(lab)


def test_values_that_change_places_do_so_in_both(lab: Lab, tmp_path: Path, imported: Any) -> None:
    cn = lab.region("cn").app_dsn
    make_users(lab, 3)
    export(cn, tmp_path / "s.yaml", "--email", TAG)
    emails = users(cn, "email")
    for number, email in (("1", "t"), ("2", "1"), ("3", "2"), ("1", "3")):
        run_sql(cn, f"UPDATE users SET email = '{TAG}{email}@x.com' WHERE username = '{TAG}{number}'")
    settled(lab)
    before = rows(cn, "SELECT id FROM accountdb.conflict")
    imported("replace")
    settled(lab)
    assert users(lab.region("global").app_dsn, "email") == emails
    assert rows(cn, "SELECT id FROM accountdb.conflict") == before


@pytest.mark.by_hand(strategy="append")
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_import_while_the_link_is_cut(lab: Lab, tmp_path: Path, imported: Any, strategy: str) -> None:
    """What the other region does meanwhile is settled by the row order, as with any other change."""
    cn, there = (lab.region(name).app_dsn for name in ("cn", "global"))
    make_users(lab, 4)
    export(cn, tmp_path / "s.yaml", "--email", TAG)
    run_sql(cn, f"UPDATE users SET level = 40 WHERE username IN ('{TAG}1', '{TAG}2')")
    settled(lab)
    lab.cut()
    run_sql(there, f"UPDATE users SET level = 50 WHERE username IN ('{TAG}2', '{TAG}3')")
    run_sql(there, f"UPDATE users SET level = level + 1 WHERE username = '{TAG}3'")
    run_sql(there, f"DELETE FROM users WHERE username = '{TAG}4'")
    imported(strategy)
    lab.heal()
    settled(lab)
    found = users(cn)
    assert found["3"] == 51
    assert "4" not in found
    assert found["1"] == (30 if strategy == "replace" else 40)


def test_a_plain_import_into_a_joined_region_is_refused_while_it_holds_rows(lab: Lab, tmp_path: Path) -> None:
    cn = lab.region("cn").app_dsn
    make_users(lab, 2)
    export(cn, tmp_path / "s.yaml", "--email", TAG)
    run_sql(cn, f"UPDATE users SET level = 40 WHERE username = '{TAG}1'")
    assert "--merge brings the snapshot in" in bring(cn, tmp_path / "s.yaml", status=4).stderr
    settled(lab)


def test_users_that_were_deleted_in_both_regions_come_back_in_both(lab: Lab, tmp_path: Path) -> None:
    cn, there = (lab.region(name).app_dsn for name in ("cn", "global"))
    make_users(lab, 3)
    export(there, tmp_path / "s.jsonl.zst", "--email", TAG)
    run_sql(cn, f"DELETE FROM users WHERE username LIKE '{TAG}%'")
    settled(lab)
    found = brought(cn, tmp_path / "s.jsonl.zst", "--merge", "--merge-strategy", "append")
    assert found["revived"] == {"users": 3, "identities": 3, "sessions": 3}
    settled(lab)
    assert users(there) == {"1": 30, "2": 30, "3": 30}
