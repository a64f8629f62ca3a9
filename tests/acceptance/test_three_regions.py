"""Three regions, each streaming to each other: what the commands do with them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from itertools import permutations
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from accountdb.contract.row_contract import ACCOUNT_TABLES
from accountdb.lab import Lab
from accountdb.pg.connect import connect
from accountdb.replication.drain import NotDryError, run_dry
from accountdb.setup import merging
from accountdb.setup.ready import make_ready, subscription_name
from tests.conftest import Labs, eventually, migratectl, rows, run_sql, value

NAMES = ("cn", "global", "apac")
# What differs between the engines is in test_join: how they name their slots.
pytestmark = pytest.mark.by_hand(mesh_lab="pglogical")


@pytest.fixture(scope="module")
def mesh_labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labs]:
    with closing(Labs(tmp_path_factory, "mesh", make_ready, regions=3)) as labs:
        yield labs


@pytest.fixture(scope="module", params=["native", pytest.param("pglogical", marks=pytest.mark.pglogical)])
def mesh_lab(request: pytest.FixtureRequest, mesh_labs: Labs) -> Lab:
    """Three joined regions. Tests leave them joined and healthy."""
    return mesh_labs.of(request.param)


@pytest.fixture
def mesh(mesh_lab: Lab) -> Iterator[Lab]:
    """The same, emptied afterwards."""
    yield mesh_lab
    mesh_lab.heal()
    eventually(lambda: healthy(mesh_lab), what="three healthy regions")
    for region in mesh_lab.regions:
        run_sql(
            region.admin_dsn,
            "SET session_replication_role = replica; SET accountdb.allow_truncate = on;"
            f" TRUNCATE {', '.join(ACCOUNT_TABLES)}, accountdb.tombstone, accountdb.conflict, accountdb.resolution",
        )


def named(lab: Lab, *names: str) -> list[str]:
    """The regions as options, as administrators."""
    return [part for name in names or NAMES for part in ("--node", f"{name}={lab.region(name).admin_dsn}")]


def command(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    return migratectl(*words, *named(lab))


def healthy(lab: Lab) -> bool:
    return command(lab, "status").returncode == 0


def alone(lab: Lab, name: str, statement: str, *params: Any) -> None:
    """A write that only this region gets, and that no guard judges."""
    with connect(lab.region(name).admin_dsn, autocommit=True) as conn:
        conn.execute("SELECT pg_replication_origin_create('alone')")
        conn.execute("SELECT pg_replication_origin_session_setup('alone')")
        conn.execute("SET session_replication_role = replica")
        conn.execute("SET accountdb.judged = on")
        conn.execute(statement.encode(), params or None)
        conn.execute("SELECT pg_replication_origin_session_reset()")
        conn.execute("SELECT pg_replication_origin_drop('alone')")


def register(lab: Lab, name: str, username: str, email: str | None = None) -> UUID:
    """A new account in one region, as the application makes it."""
    query = "INSERT INTO users (username, password, email) VALUES (%s, 'x', %s) RETURNING uuid"
    found: UUID = value(lab.region(name).app_dsn, query, username, email)
    return found


def everywhere(lab: Lab, query: str, *params: Any) -> dict[str, list[tuple[Any, ...]]]:
    return {name: rows(lab.region(name).admin_dsn, query, *params) for name in NAMES}


def same_everywhere(lab: Lab, query: str, expected: list[tuple[Any, ...]], *params: Any) -> None:
    """Wait until every region answers so."""

    def answers() -> bool:
        found = everywhere(lab, query, *params)
        assert found == dict.fromkeys(NAMES, expected)
        return True

    eventually(answers, what=f"{expected} in every region")


def streams_of(lab: Lab, name: str) -> Mapping[str, str]:
    found = json.loads(migratectl("status", "--json", *named(lab)).stdout)
    (region,) = [one for one in found["regions"] if one["name"] == name]
    return {stream["subscription"]: stream["state"] for stream in region["streams"]}


def join(lab: Lab, name: str, other: str) -> subprocess.CompletedProcess[str]:
    here, there = lab.region(name), lab.region(other)
    options = {
        "dsn": here.admin_dsn,
        "node": f"node_{name}",
        "node-dsn": here.link_from(other),
        "subscription": subscription_name(lab, name, other),
        "provider-dsn": there.link_from(name),
    }
    return migratectl("region", "join", *[part for key, text in options.items() for part in (f"--{key}", text)])


# -- streams --


def test_a_change_of_each_region_reaches_both_others_once(mesh: Lab) -> None:
    names = []
    for name in NAMES:
        names.append(("from " + name, 0, f"node_{name}"))
        register(mesh, name, "from " + name)
    query = "SELECT username, version, origin_node FROM users ORDER BY created_at"
    same_everywhere(mesh, query, names)
    run_sql(mesh.region("apac").app_dsn, "UPDATE users SET level = 5 WHERE username = 'from cn'")
    same_everywhere(mesh, "SELECT level, version FROM users WHERE username = 'from cn'", [(5, 1)])
    run_sql(mesh.region("global").app_dsn, "DELETE FROM users WHERE username = 'from cn'")
    same_everywhere(mesh, query, names[1:])
    # Had anything come a second time, by way of the third region, a guard would have noted it.
    assert everywhere(mesh, "SELECT count(*) FROM accountdb.conflict") == {name: [(0,)] for name in NAMES}


def test_one_region_is_cut_off_and_the_two_others_go_on(mesh: Lab) -> None:
    cut = mesh.cut("apac")
    assert (cut.link, cut.between()["cn", "global"], cut.between()["cn", "apac"]) == ("partly", "up", "cut")
    for name in NAMES:
        register(mesh, name, name)
    query = "SELECT username FROM users ORDER BY username"
    for name in ("cn", "global"):
        eventually(lambda n=name: rows(mesh.region(n).app_dsn, query) == [("cn",), ("global",)])  # type: ignore[misc]
    assert rows(mesh.region("apac").app_dsn, query) == [("apac",)]
    found = command(mesh, "status")
    assert found.returncode == 1
    mesh.heal()
    for name in NAMES:
        migratectl("region", "resume", "--dsn", mesh.region(name).admin_dsn)
    same_everywhere(mesh, query, [("apac",), ("cn",), ("global",)])


def test_a_third_region_leaves_and_joins_a_pair_that_streams_on(mesh: Lab) -> None:
    """Each subscription that waits is made for the region that it waits for, whichever joins first."""
    for name in ("apac", "cn", "global"):
        for other in ("cn", "global") if name == "apac" else ("apac",):
            sub = subscription_name(mesh, name, other)
            found = migratectl("region", "leave", "--dsn", mesh.region(name).admin_dsn, "--subscription", sub)
            assert found.returncode == 0, found.stderr
    assert migratectl("region", "leave", "--dsn", mesh.region("apac").admin_dsn).returncode == 0
    found = command(mesh, "status")
    assert (found.returncode, "finding: cn: no subscription to apac" in found.stderr) == (1, True), found.stderr
    short = command(mesh, "merge", "--recent")
    assert (short.returncode, "follows 1 of the 2 other regions" in short.stderr) == (3, True), short.stderr
    pair = named(mesh, "cn", "global")
    assert migratectl("status", *pair).returncode == 0
    before = register(mesh, "cn", "before")
    eventually(lambda: rows(mesh.region("global").app_dsn, "SELECT FROM users WHERE uuid = %s", before))

    for name, other in (("cn", "apac"), ("global", "apac")):
        found = join(mesh, name, other)
        assert (found.returncode, "waits: the provider has not joined yet" in found.stderr) == (0, True), found.stderr
    waiting = "SELECT name, provider_node FROM accountdb.pending_subscription"
    assert rows(mesh.region("cn").app_dsn, waiting) == [(subscription_name(mesh, "cn", "apac"), "node_apac")]
    # A subscription that waits for apac is not made for global, though global joins to cn once more.
    assert join(mesh, "global", "cn").returncode == 0
    assert streams_of(mesh, "cn") == {
        subscription_name(mesh, "cn", "global"): "replicating",
        subscription_name(mesh, "cn", "apac"): "pending",
    }
    for other in ("cn", "global"):
        found = join(mesh, "apac", other)
        assert found.returncode == 0, found.stderr
        assert f"node_{other}: {subscription_name(mesh, other, 'apac')} created" in found.stdout + found.stderr
    eventually(lambda: healthy(mesh), what="three healthy regions")
    assert command(mesh, "merge").returncode == 0
    same_everywhere(mesh, "SELECT username FROM users", [("before",)])
    for name, other in permutations(NAMES, 2):
        again = join(mesh, name, other)
        assert (again.returncode, "created" in again.stdout + again.stderr) == (0, False)
    assert len(rows(mesh.region("cn").admin_dsn, "SELECT FROM pg_replication_slots")) == 2


@pytest.mark.parametrize("mesh_lab", ["pglogical"], indirect=True)
def test_two_followers_never_share_a_slot(mesh: Lab) -> None:
    """Global's subscription to CN has a name, and Apac asks for the same one."""
    apac = mesh.region("apac")
    own, other = (subscription_name(mesh, name, "cn") for name in ("apac", "global"))
    assert migratectl("region", "leave", "--dsn", apac.admin_dsn, "--subscription", own).returncode == 0
    options = ("--node-dsn", apac.link_from("cn"), "--provider-dsn", mesh.region("cn").link_from("apac"))
    wrong = ("region", "join", "--dsn", apac.admin_dsn, "--node", "node_apac", "--subscription", other, *options)
    used = migratectl(*wrong)
    assert (used.returncode, "is on the provider already, in use" in used.stderr) == (3, True), used.stderr
    mesh.cut("cn", "global")
    slots = "SELECT count(*) FROM pg_replication_slots WHERE NOT active"
    eventually(lambda: value(mesh.region("cn").admin_dsn, slots) == 1)
    away = migratectl(*wrong)
    assert (away.returncode, "inactive, and perhaps that of node_global" in away.stderr) == (3, True), away.stderr
    mesh.heal()
    assert join(mesh, "apac", "cn").returncode == 0
    for name in NAMES:
        migratectl("region", "resume", "--dsn", mesh.region(name).admin_dsn)


# -- data --


def test_rows_that_differ_are_told_once_and_merged_everywhere(mesh: Lab, tmp_path: Path) -> None:
    key = uuid4()
    shared = "INSERT INTO users (uuid, username, password, version, created_at, updated_at) VALUES (%s, %s, 'x', %s,"
    shared += " '2026-01-01', '2026-01-02')"
    for name, version in (("cn", 3), ("global", 7), ("apac", 3)):
        alone(mesh, name, shared, key, "shared", version)
    for name in NAMES:
        alone(mesh, name, "INSERT INTO users (username, password) VALUES (%s, 'x')", f"only in {name}")

    found = command(mesh, "diff", "--settle", "0", "--json")
    assert found.returncode == 1
    document = json.loads(found.stdout)
    told = {row["key"]["uuid"]: row for row in document["rows"] if row["table"] == "public.users"}
    assert len(document["rows"]) == len(told) == 4
    assert told[str(key)]["values"]["version"] == {"cn": "3", "global": "7", "apac": "3"}
    assert (told[str(key)]["winner"], told[str(key)]["why"]) == ("global", "version 7 over 3")
    assert sorted(row["why"] for row in told.values())[:3] == [f"only in {name}" for name in sorted(NAMES)]
    (users,) = [one for one in document["tables"] if one["table"] == "public.users"]
    assert (users["rows"], users["differing"]) == (dict.fromkeys(NAMES, 2), 4)

    lines = command(mesh, "diff", "--settle", "0").stdout
    assert "version (cn '3' | global '7' | apac '3'); global wins: version 7 over 3" in lines
    assert all(f"only in {name}\n" in lines for name in NAMES)

    before = everywhere(mesh, "SELECT * FROM users ORDER BY uuid")
    plan = json.loads(command(mesh, "merge", "--plan", "--json").stdout)
    (users,) = [one for one in plan["tables"] if one["table"] == "public.users"]
    assert {name: (one["inserted"], one["updated"], one["deleted"]) for name, one in users["regions"].items()} == {
        "cn": (2, 1, 0),
        "global": (2, 0, 0),
        "apac": (2, 1, 0),
    }
    assert everywhere(mesh, "SELECT * FROM users ORDER BY uuid") == before

    undo = tmp_path / "undo"
    receipt = json.loads(command(mesh, "merge", "--undo", str(undo), "--json").stdout)
    assert (receipt["equal"], receipt["unproved"]) == (True, [])
    assert command(mesh, "diff").returncode == 0
    again = json.loads(command(mesh, "merge", "--json").stdout)
    assert (again["equal"], again["rounds"], again["written"]) == (True, 0, {})

    two = migratectl("undo", str(undo), *named(mesh, "cn", "global"))
    assert (two.returncode, "apac is not given" in two.stderr) == (2, True)
    back = command(mesh, "undo", str(undo))
    assert back.returncode == 0, back.stderr
    assert everywhere(mesh, "SELECT * FROM users ORDER BY uuid") == before


def test_a_row_that_one_of_three_lacks_is_told_so(mesh: Lab) -> None:
    insert = "INSERT INTO users (uuid, username, password, version, created_at, updated_at, origin_node)"
    insert += " VALUES (%s, %s, 'x', %s, '2026-01-01', '2026-01-02', 'node_cn')"
    same, unlike = uuid4(), uuid4()
    for name, version in (("cn", 1), ("apac", 2)):
        alone(mesh, name, insert, same, "same", 0)
        alone(mesh, name, insert, unlike, "unlike", version)
    lines = command(mesh, "diff", "--settle", "0").stdout
    assert f"uuid={same} only in cn, apac\n" in lines
    assert "version (cn '1' | apac '2'); apac wins: version 2 over 1; not in global\n" in lines
    assert command(mesh, "merge").returncode == 0
    same_everywhere(mesh, "SELECT username, version FROM users ORDER BY username", [("same", 0), ("unlike", 2)])


def test_what_only_the_last_pair_brings_reaches_the_first(mesh: Lab) -> None:
    """The parent stands in one region, a child in another, a tombstone in the third."""
    parent, child, gone = uuid4(), uuid4(), uuid4()
    alone(mesh, "apac", "INSERT INTO users (uuid, username, password) VALUES (%s, 'parent', 'x')", parent)
    session = "INSERT INTO sessions (uuid, token, user_uuid, expires_at) VALUES (%s, 't', %s, now())"
    alone(mesh, "global", session, child, parent)
    for name in ("cn", "apac"):
        dead = "INSERT INTO users (uuid, username, password, created_at) VALUES (%s, 'gone', 'x', '2026-01-01')"
        alone(mesh, name, dead, gone)
    alone(mesh, "global", "SELECT accountdb.bury('public', 'users', %s, '2026-01-01', 0, now(), 'node_global')", gone)
    found = command(mesh, "merge")
    assert found.returncode == 0, found.stderr
    same_everywhere(
        mesh, "SELECT u.username, s.token FROM users u JOIN sessions s ON s.user_uuid = u.uuid", [("parent", "t")]
    )
    same_everywhere(mesh, "SELECT count(*) FROM users", [(1,)])
    assert command(mesh, "conflicts", "list").returncode == 0


def test_an_update_that_came_before_its_insert_is_healed(mesh: Lab) -> None:
    """Both engines skip it without a word: nothing names the row but that it was changed lately."""
    mesh.cut("cn", "apac")
    key = register(mesh, "cn", "late")
    there = mesh.region("global").app_dsn
    eventually(lambda: rows(there, "SELECT FROM users WHERE uuid = %s", key))
    run_sql(there, "UPDATE users SET level = 9 WHERE uuid = %s", key)
    mark = register(mesh, "global", "mark")
    eventually(lambda: rows(mesh.region("apac").app_dsn, "SELECT FROM users WHERE uuid = %s", mark))
    mesh.heal()
    migratectl("region", "resume", "--dsn", mesh.region("apac").admin_dsn)
    eventually(lambda: rows(mesh.region("apac").app_dsn, "SELECT FROM users WHERE uuid = %s", key))
    assert value(mesh.region("apac").app_dsn, "SELECT version FROM users WHERE uuid = %s", key) == 0
    eventually(lambda: healthy(mesh), what="three healthy regions")

    two = migratectl("merge", "--recent", *named(mesh, "cn", "apac"))
    assert (two.returncode, "cn follows 2 regions, and 1 of them named" in two.stderr) == (4, True)
    found = command(mesh, "merge", "--recent")
    assert (found.returncode, "1 in apac" in found.stderr) == (0, True), found.stderr
    same_everywhere(mesh, "SELECT level, version FROM users WHERE uuid = %s", [(9, 1)], key)
    again = command(mesh, "merge", "--recent")
    assert "0 in cn, 0 in global, 0 in apac" in again.stderr


def test_a_delete_that_healing_sees_too_early_takes_no_child_along(mesh: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """CN moves a session to another account and deletes the first one, after all streams had run dry."""
    old, new = register(mesh, "cn", "old"), register(mesh, "cn", "new")
    session = uuid4()
    insert = "INSERT INTO sessions (uuid, token, user_uuid, expires_at) VALUES (%s, 't', %s, now())"
    run_sql(mesh.region("cn").app_dsn, insert, session, old)
    owner = "SELECT user_uuid FROM sessions WHERE uuid = %s"
    same_everywhere(mesh, owner, [(old,)], session)
    # Looked at, because it differs and was changed lately.
    alone(mesh, "global", "UPDATE users SET level = 3, version = 1, updated_at = now() WHERE uuid = %s", old)

    calls: list[int] = []

    def delete_afterwards(*args: Any, **options: Any) -> None:
        if len(calls) == 2:
            raise NotDryError("the links are cut")
        run_dry(*args, **options)
        calls.append(1)
        # The first one is before the look for rows that were changed lately.
        if len(calls) == 2:
            mesh.cut()
            with connect(mesh.region("cn").app_dsn) as conn:
                conn.execute("UPDATE sessions SET user_uuid = %s WHERE uuid = %s", (new, session))
                conn.execute("DELETE FROM users WHERE uuid = %s", (old,))

    monkeypatch.setattr(merging, "run_dry", delete_afterwards)
    with suppress(NotDryError):
        merging.heal_regions({name: mesh.region(name).admin_dsn for name in NAMES}, within_s=3600)
    assert len(calls) == 2
    monkeypatch.undo()
    mesh.heal()
    for name in NAMES:
        migratectl("region", "resume", "--dsn", mesh.region(name).admin_dsn)
    same_everywhere(mesh, owner, [(new,)], session)
    assert command(mesh, "merge", "--recent").returncode == 0
    same_everywhere(mesh, owner, [(new,)], session)
    same_everywhere(mesh, "SELECT username FROM users", [("new",)])


def test_one_email_in_three_regions_is_settled_and_resolved_everywhere(mesh: Lab) -> None:
    mesh.cut()
    for name in NAMES:
        register(mesh, name, f"wang.{name}", "wang@example.com")
    mesh.heal()
    for name in NAMES:
        migratectl("region", "resume", "--dsn", mesh.region(name).admin_dsn)
    same_everywhere(mesh, "SELECT count(*) FROM users", [(3,)])
    healed = command(mesh, "merge", "--recent")
    assert healed.returncode == 0, healed.stderr
    kept = "SELECT username FROM users WHERE email IS NOT NULL"
    same_everywhere(mesh, kept, [("wang.cn",)])
    tasks = json.loads(command(mesh, "conflicts", "list", "--json").stdout)["conflicts"]
    losers = {task["loser"]["uuid"] for task in tasks}
    assert len(losers) == 2
    shown = command(mesh, "conflicts", "show", tasks[0]["short"])
    assert all(f"now in {name}, lost" in shown.stdout for name in NAMES), shown.stdout
    for username in ("wang.global", "wang.apac"):
        tasks = json.loads(command(mesh, "conflicts", "list", "--json").stdout)["conflicts"]
        (task, *_) = [one for one in tasks if one["sentence"].startswith(username)]
        done = command(mesh, "conflicts", "resolve", task["id"], "--set", f"email={username}@example.com")
        assert done.returncode == 0, done.stderr
        same_everywhere(mesh, "SELECT email FROM users WHERE username = %s", [(f"{username}@example.com",)], username)
    eventually(lambda: command(mesh, "conflicts", "list").returncode == 0, what="no open conflict")
    assert json.loads(command(mesh, "status", "--json").stdout)["healthy"]
    assert command(mesh, "diff").returncode == 0


# -- structure and retention --


def test_three_regions_are_checked_and_migrated_as_one(mesh: Lab, tmp_path: Path) -> None:
    assert command(mesh, "check").returncode == 0
    assert command(mesh, "verify").returncode == 0
    (tmp_path / "0001_nick.up.sql").write_text("ALTER TABLE public.users ADD COLUMN nick text;")
    (tmp_path / "0001_nick.down.sql").write_text("ALTER TABLE public.users DROP COLUMN nick;")
    done = command(mesh, "migrate", "--dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    key = register(mesh, "apac", "named")
    run_sql(mesh.region("apac").app_dsn, "UPDATE users SET nick = 'n' WHERE uuid = %s", key)
    same_everywhere(mesh, "SELECT nick FROM users WHERE uuid = %s", [("n",)], key)
    assert healthy(mesh)
    back = command(mesh, "migrate", "--dir", str(tmp_path), "--to", "0", "--allow-down")
    assert back.returncode == 0, back.stderr
    assert command(mesh, "check").returncode == 0


def test_a_table_more_streams_between_all_three(mesh: Lab) -> None:
    try:
        for region in mesh.regions:
            run_sql(region.app_dsn, "CREATE TABLE devices (uuid uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text)")
        added = command(mesh, "table", "add", "devices")
        assert added.returncode == 0, added.stderr
        for name in NAMES:
            run_sql(mesh.region(name).app_dsn, "INSERT INTO devices (name) VALUES (%s)", name)
        same_everywhere(mesh, "SELECT name FROM devices ORDER BY name", [("apac",), ("cn",), ("global",)])
        assert healthy(mesh)
        removed = command(mesh, "table", "remove", "devices")
        assert removed.returncode == 0, removed.stderr
    finally:
        for region in mesh.regions:
            run_sql(region.admin_dsn, "DROP TABLE IF EXISTS devices")


def test_old_tombstones_go_from_every_region(mesh: Lab) -> None:
    key = register(mesh, "cn", "old")
    same_everywhere(mesh, "SELECT count(*) FROM users", [(1,)])
    run_sql(mesh.region("global").app_dsn, "DELETE FROM users WHERE uuid = %s", key)
    same_everywhere(mesh, "SELECT count(*) FROM accountdb.tombstone", [(1,)])
    for name in NAMES:
        alone(mesh, name, "UPDATE accountdb.tombstone SET deleted_at = now() - interval '40 days'")
    planned = command(mesh, "purge", "--plan")
    assert (planned.returncode, planned.stdout.count("1 tombstones")) == (0, 3), planned.stdout
    done = command(mesh, "purge")
    assert (done.returncode, "cn: 1 tombstones" in done.stdout) == (0, True), done.stdout
    same_everywhere(mesh, "SELECT count(*) FROM accountdb.tombstone", [(0,)])


def test_a_dropped_slot_of_three(mesh: Lab) -> None:
    """Which region a subscription comes from is found out by asking."""
    there = mesh.region("global").admin_dsn
    mesh.cut()
    slot = "SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE '%%cn%%' AND NOT active"
    dropped = eventually(lambda: value(there, slot.replace("%%", "%")))
    run_sql(there, "SELECT pg_drop_replication_slot(%s)", dropped)
    missed = register(mesh, "global", "missed")
    mesh.heal()
    done = command(mesh, "region", "resync")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("made anew") == 1
    assert "cn: " in done.stderr
    for name in NAMES:
        assert rows(mesh.region(name).admin_dsn, "SELECT FROM users WHERE uuid = %s", missed)
        migratectl("region", "resume", "--dsn", mesh.region(name).admin_dsn)
    assert command(mesh, "region", "resync").returncode == 0


def test_one_of_three_is_gone_for_good(mesh: Lab) -> None:
    """The other two go on, and it can join again when it comes back after all."""
    mesh.cut("apac")
    for name in ("cn", "global"):
        dsn = mesh.region(name).admin_dsn
        eventually(lambda d=dsn: value(d, "SELECT count(*) FROM pg_replication_slots WHERE active") == 1)  # type: ignore[misc]
        gone = migratectl("region", "leave", "--gone", "node_apac", "--dsn", dsn)
        assert gone.returncode == 0, gone.stderr
        assert "node: goes on" in gone.stderr
        assert value(dsn, "SELECT count(*) FROM pg_replication_origin") == 1
        assert value(dsn, "SELECT count(*) FROM pg_replication_slots") == 1
        again = migratectl("region", "leave", "--gone", "node_apac", "--dsn", dsn)
        assert again.returncode == 0, again.stderr
        assert "none here has to do with node_apac" in again.stderr
    key = register(mesh, "cn", "two-go-on")
    eventually(lambda: rows(mesh.region("global").admin_dsn, "SELECT FROM users WHERE uuid = %s", key))
    mesh.heal()
    for words in ((), ("--gone",)):
        left = migratectl("region", "leave", *words, "--dsn", mesh.region("apac").admin_dsn)
        assert left.returncode == 0, left.stderr
    make_ready(mesh)
    assert command(mesh, "merge").returncode == 0
