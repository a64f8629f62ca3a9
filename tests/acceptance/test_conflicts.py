"""migratectl conflicts on two real regions: what a person sees, and what each way of resolving does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from subprocess import CompletedProcess
from typing import Any
from uuid import UUID, uuid4

import pytest

from accountdb.lab import Lab
from accountdb.setup import join
from tests.conftest import eventually, migratectl, rows, run_sql, value

# What they look at came by a stream, and is the same whichever it was.
on_one_engine = pytest.mark.by_hand(ready_lab="pglogical")

CONTENT = """
    SELECT 'users', u::text FROM users AS u UNION ALL SELECT 'sessions', s::text FROM sessions AS s
    UNION ALL SELECT 'identities', i::text FROM identities AS i
    UNION ALL SELECT 'subscriptions', s::text FROM subscriptions AS s
    UNION ALL SELECT 'resolution', r::text FROM accountdb.resolution AS r ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Pair:
    """Two people who registered the same email in two regions."""

    tag: str
    winner: UUID
    loser: UUID
    secrets: tuple[str, ...]

    @property
    def email(self) -> str:
        return f"{self.tag}@example.cn"


@contextmanager
def cut(lab: Lab) -> Iterator[None]:
    lab.cut()
    try:
        yield
    finally:
        lab.heal()
        for region in lab.regions:
            join.resume(region.admin_dsn)


def register(dsn: str, username: str, email: str, *, secret: str, wechat: str | None = None) -> UUID:
    """A user with a session, a subscription and, where asked, an identity."""
    user = UUID(
        str(
            value(
                dsn,
                "INSERT INTO users (username, email, password, mfa_totp_secret) VALUES (%s, %s, %s, %s) RETURNING uuid",
                username,
                email,
                f"pw-{secret}",
                f"totp-{secret}",
            )
        )
    )
    run_sql(
        dsn,
        "INSERT INTO sessions (token, expires_at, user_uuid) VALUES (%s, now() + interval '1 day', %s)",
        f"tok-{secret}",
        user,
    )
    run_sql(
        dsn,
        "INSERT INTO subscriptions (user_uuid, provider, payment_method, external_id, meta)"
        " VALUES (%s, 'p', 'card', 'plan', %s)",
        user,
        json.dumps({"deep": [{"token": f"meta-{secret}"}]}),
    )
    if wechat:
        run_sql(
            dsn,
            "INSERT INTO identities (provider, external_id, user_uuid) VALUES ('wechat', %s, %s)",
            wechat,
            user,
        )
    return user


def everywhere(lab: Lab, expected: list[tuple[Any, ...]], query: str, *params: Any) -> None:
    """Wait until every region answers ``query`` with ``expected``."""
    for region in lab.regions:
        eventually(partial(_answers, region.admin_dsn, expected, query, *params), what=query)


def _answers(dsn: str, expected: list[tuple[Any, ...]], query: str, *params: Any) -> bool:
    assert rows(dsn, query, *params) == expected
    return True


def collide(lab: Lab, *, same_identity: bool = False) -> Pair:
    """The same email in both regions while the link is cut; back when both regions recorded it."""
    cn, global_ = lab.region("cn"), lab.region("global")
    tag = uuid4().hex[:12]
    wechat = f"wx-{tag}" if same_identity else None
    hidden = (f"{tag}-a-secret", f"{tag}-b-secret")
    with cut(lab):
        winner = register(cn.app_dsn, f"li-{tag}", f"{tag}@example.cn", secret=hidden[0], wechat=wechat)
        loser = register(global_.app_dsn, f"王-{tag}", f"{tag}@Example.cn", secret=hidden[1], wechat=wechat)
    pair = Pair(tag, winner, loser, hidden)
    both = [winner, loser]
    found = "SELECT count(*) FROM accountdb.conflict WHERE state = 'open' AND loser::text LIKE %s"
    everywhere(lab, [(2 if same_identity else 1,)], found, f"%{loser}%")
    everywhere(lab, [(2,)], "SELECT count(*) FROM users WHERE uuid = ANY (%s)", both)
    everywhere(lab, [(2,)], "SELECT count(*) FROM sessions WHERE user_uuid = ANY (%s)", both)
    everywhere(lab, [(2,)], "SELECT count(*) FROM subscriptions WHERE user_uuid = ANY (%s)", both)
    return pair


def conflicts(lab: Lab, *arguments: str) -> CompletedProcess[str]:
    found = migratectl("conflicts", *arguments, env=lab.env())
    assert "Traceback" not in found.stderr or "--debug" in arguments, found.stderr
    return found


def open_of(lab: Lab, pair: Pair, table: str = "users") -> list[dict[str, Any]]:
    document = json.loads(conflicts(lab, "list", "--json").stdout)
    return [c for c in document["conflicts"] if c["table"] == table and pair.tag in json.dumps(c, ensure_ascii=False)]


def id_of(lab: Lab, pair: Pair, table: str = "users") -> str:
    return str(open_of(lab, pair, table)[0]["id"])


def contents(lab: Lab) -> list[list[tuple[Any, ...]]]:
    return [rows(region.admin_dsn, CONTENT) for region in lab.regions]


def equal_everywhere(lab: Lab) -> None:
    def check() -> bool:
        a, b = contents(lab)
        assert a == b
        return True

    eventually(check, what="equal regions")


@pytest.fixture
def pair(ready_lab: Lab) -> Iterator[Pair]:
    """One email, two people; what is left open at the end is dismissed."""
    made = collide(ready_lab)
    yield made
    for conflict in open_of(ready_lab, made):
        conflicts(ready_lab, "resolve", conflict["id"], "--dismiss")


def test_both_people_are_shown_with_what_hangs_on_each(ready_lab: Lab, pair: Pair) -> None:
    listed = conflicts(ready_lab, "list")
    assert listed.returncode == 1
    line = next(line for line in listed.stdout.splitlines() if pair.tag in line)
    assert f"王-{pair.tag} lost email {pair.tag}@Example.cn to li-{pair.tag}" in line
    assert "node_cn" in line
    assert "node_global" in line
    task = open_of(ready_lab, pair)[0]
    assert task["winner"]["uuid"] == str(pair.winner)
    assert task["loser"]["origin_node"] == "node_global"
    assert {seen["region"] for seen in task["recorded"]} == {"cn", "global"}
    shown = conflicts(ready_lab, "show", task["short"])
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("on it: identities 0, sessions 1, subscriptions 1") == 4
    assert "--merge-accounts: moves sessions 1; takes out" in shown.stdout
    assert "--set email=VALUE: gives" in shown.stdout
    document = json.loads(conflicts(ready_lab, "show", task["id"], "--json").stdout)
    assert {"email", "username", "password"} <= set(document["differs"])
    assert [way["possible"] for way in document["ways"]] == [True, True, True]


@on_one_engine
def test_no_output_shows_a_secret(ready_lab: Lab, pair: Pair) -> None:
    key = id_of(ready_lab, pair)
    asked = [
        ("list",),
        ("list", "--all"),
        ("list", "--all", "--json"),
        ("show", key),
        ("show", key, "--json"),
        ("resolve", key, "--merge-accounts", "--plan"),
        ("resolve", key, "--merge-accounts", "--plan", "--json"),
        ("resolve", key, "--set", f"email={pair.email}", "--json"),
        ("--debug", "resolve", key, "--set", "username=", "--set", "email=x@y"),
    ]
    for arguments in asked:
        before = ["--debug"] if arguments[0] == "--debug" else []
        found = migratectl(*before, "conflicts", *arguments[len(before) :], env=ready_lab.env())
        output = found.stdout + found.stderr
        assert output
        for secret in pair.secrets:
            assert secret not in output, arguments
    assert open_of(ready_lab, pair), "the refused ones changed nothing"


@on_one_engine
def test_a_plan_changes_nothing(ready_lab: Lab, pair: Pair) -> None:
    key = id_of(ready_lab, pair)
    equal_everywhere(ready_lab)
    before = contents(ready_lab)
    for option in (("--merge-accounts",), ("--set", f"email=neu-{pair.email}"), ("--dismiss",)):
        found = conflicts(ready_lab, "resolve", key, *option, "--plan")
        assert found.returncode == 0, found.stderr
        assert f"closes conflict {key}" in found.stdout
        assert "nothing was written" in found.stderr
    assert contents(ready_lab) == before


@on_one_engine
def test_a_new_value_closes_the_conflict_on_both_sides(ready_lab: Lab, pair: Pair) -> None:
    key = id_of(ready_lab, pair)
    taken = conflicts(ready_lab, "resolve", key, "--set", f"email={pair.email.upper()}")
    assert taken.returncode == 3
    assert f"email {pair.email.upper()} is taken in cn, by users {pair.winner}" in taken.stderr
    for wrong in ("uuid=1", "email_verified=true", "nosuch=1", "level=3"):
        assert conflicts(ready_lab, "resolve", key, "--set", wrong).returncode == 2
    assert conflicts(ready_lab, "resolve", key).returncode == 2
    done = conflicts(ready_lab, "resolve", key[:10], "--set", f"email=neu-{pair.email}")
    assert done.returncode == 0, done.stderr
    equal_everywhere(ready_lab)
    for region in ready_lab.regions:
        assert value(region.admin_dsn, "SELECT email FROM users WHERE uuid = %s", pair.loser) == f"neu-{pair.email}"
        assert (
            value(region.admin_dsn, "SELECT action FROM accountdb.resolution WHERE conflict_id = %s", key)
            == "set email"
        )
    assert not open_of(ready_lab, pair)
    again = conflicts(ready_lab, "resolve", key, "--set", "email=other@x.cn")
    assert again.returncode == 0
    assert "is settled already (set email by" in again.stderr
    everything = json.loads(conflicts(ready_lab, "list", "--all", "--json").stdout)["conflicts"]
    assert next(c for c in everything if c["id"] == key)["open"] is False


@on_one_engine
def test_dismissing_closes_and_changes_no_row(ready_lab: Lab, pair: Pair) -> None:
    key = id_of(ready_lab, pair)
    before = [[row for row in side if row[0] != "resolution"] for side in contents(ready_lab)]
    assert conflicts(ready_lab, "resolve", key, "--dismiss").returncode == 0
    equal_everywhere(ready_lab)
    assert [[row for row in side if row[0] != "resolution"] for side in contents(ready_lab)] == before
    assert not open_of(ready_lab, pair)


def test_two_accounts_become_one(ready_lab: Lab) -> None:
    """Sessions move, the same plan and the same identity become one, both conflicts are closed."""
    pair = collide(ready_lab, same_identity=True)
    assert len(open_of(ready_lab, pair, "identities")) == 1
    done = conflicts(ready_lab, "resolve", id_of(ready_lab, pair), "--merge-accounts")
    assert done.returncode == 0, done.stderr
    equal_everywhere(ready_lab)
    for region in ready_lab.regions:
        assert not rows(region.admin_dsn, "SELECT FROM users WHERE uuid = %s", pair.loser)
        for table, count in (("sessions", 2), ("subscriptions", 1), ("identities", 1)):
            query = f"SELECT count(*) FROM {table} WHERE user_uuid = %s"
            assert value(region.admin_dsn, query, pair.winner) == count, table
        query = "SELECT table_name, winner FROM accountdb.tombstone WHERE winner IS NOT NULL AND row_key = %s"
        assert rows(region.admin_dsn, query, pair.loser) == [("users", pair.winner)]
    assert not open_of(ready_lab, pair)
    assert not open_of(ready_lab, pair, "identities")
    kept = "SELECT loser ->> 'password' FROM accountdb.conflict WHERE kind = 'merged' AND row_key = %s"
    assert value(ready_lab.region("cn").admin_dsn, kept, pair.loser) == f"pw-{pair.secrets[1]}"


@on_one_engine
def test_the_accounts_of_one_identity_become_one(ready_lab: Lab) -> None:
    pair = collide(ready_lab, same_identity=True)
    key = id_of(ready_lab, pair, "identities")
    done = conflicts(ready_lab, "resolve", key, "--merge-accounts")
    assert done.returncode == 0, done.stderr
    equal_everywhere(ready_lab)
    assert not open_of(ready_lab, pair)
    assert not open_of(ready_lab, pair, "identities")
    for region in ready_lab.regions:
        assert value(region.admin_dsn, "SELECT count(*) FROM sessions WHERE user_uuid = %s", pair.winner) == 2


def test_a_late_child_follows_the_merged_account(ready_lab: Lab, pair: Pair) -> None:
    """Written in the other region while the link was cut, to an account that is merged meanwhile."""
    late = f"late-{pair.tag}"
    equal_everywhere(ready_lab)
    with cut(ready_lab):
        done = conflicts(ready_lab, "resolve", id_of(ready_lab, pair), "--merge-accounts")
        assert done.returncode == 0, done.stderr
        other = next(r for r in ready_lab.regions if rows(r.admin_dsn, "SELECT FROM users WHERE uuid = %s", pair.loser))
        run_sql(
            other.app_dsn,
            "INSERT INTO sessions (token, expires_at, user_uuid) VALUES (%s, now(), %s)",
            late,
            pair.loser,
        )
    everywhere(ready_lab, [(pair.winner,)], "SELECT user_uuid FROM sessions WHERE token = %s", late)
    everywhere(ready_lab, [], "SELECT FROM users WHERE uuid = %s", pair.loser)
    equal_everywhere(ready_lab)


@on_one_engine
def test_a_parked_row_is_brought_back(ready_lab: Lab) -> None:
    pair = collide(ready_lab, same_identity=True)
    key = id_of(ready_lab, pair, "identities")
    done = conflicts(ready_lab, "resolve", key, "--set", f"external_id=neu-{pair.tag}")
    assert done.returncode == 0, done.stderr
    query = "SELECT provider, external_id FROM identities WHERE user_uuid = %s"
    everywhere(ready_lab, [("wechat", f"neu-{pair.tag}")], query, pair.loser)
    equal_everywhere(ready_lab)
    assert not open_of(ready_lab, pair, "identities")
    assert open_of(ready_lab, pair), "the email is another conflict"
    assert conflicts(ready_lab, "resolve", id_of(ready_lab, pair), "--dismiss").returncode == 0


def test_a_region_that_is_down_is_said_and_the_other_is_shown(ready_lab: Lab, pair: Pair) -> None:
    key = id_of(ready_lab, pair)
    ready_lab.stop("global")
    try:
        found = conflicts(ready_lab, "list")
        assert found.returncode == 3
        assert key[:8] in found.stdout
        assert "error: global: cannot connect" in found.stderr
        assert conflicts(ready_lab, "show", key).returncode == 3
        done = conflicts(ready_lab, "resolve", key, "--dismiss")
        assert done.returncode == 0, done.stderr
        assert "global learns this by replication" in done.stderr
    finally:
        ready_lab.start("global")
        for region in ready_lab.regions:
            join.resume(region.admin_dsn)
    everywhere(ready_lab, [(1,)], "SELECT count(*) FROM accountdb.resolution WHERE conflict_id = %s", key)
