"""What docs/compare.md tells to do, as a user: fill a region, bring back one that was away, bring one table.

Users write in both regions meanwhile, and nothing that they were told was stored is lost.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID

import pytest
from psycopg import sql

from accountdb.contract.row_contract import ACCOUNT_TABLES
from accountdb.lab import Lab, LabRegion
from accountdb.pg.connect import connect
from proof.history import History, make
from proof.writing import Acknowledged, Player
from tests.acceptance.guarding import Pair
from tests.acceptance.joining import OTHER, exchange, healthy, join
from tests.acceptance.test_merge_histories import played, settled, write
from tests.conftest import eventually, migratectl, rows, run_command, run_sql, value

# More than users play in any of these tests.
ROUNDS = 600
# What users had written before the test joins.
BEFORE = range(8)
LOST = "can no longer get changes from replication slot"


@contextmanager
def users_write(history: History, players: list[Player]) -> Iterator[None]:
    """Both regions, round after round, for as long as it takes."""
    done = threading.Event()

    def writing(player: Player) -> None:
        for one in history.rounds[BEFORE.stop :]:
            player.play(one.transactions[player.region])
            if done.wait(0.1):  # as often as users do, not as often as a server can
                return

    threads = [threading.Thread(target=writing, args=(player,)) for player in players]
    for thread in threads:
        thread.start()
    try:
        yield
        eventually(lambda: all(player.acknowledged.writes for player in players), what="a write of each region")
        assert all(thread.is_alive() for thread in threads), "users write until the end"
    finally:
        done.set()
        for thread in threads:
            thread.join()


def told(players: list[Player]) -> dict[str, Acknowledged]:
    """What users were told was stored, up to now. What they are told from now on is counted anew."""
    found = {player.region: player.acknowledged for player in players}
    for player in players:
        player.acknowledged = Acknowledged()
    return found


def add_apart(players: list[Player], apart: dict[str, Acknowledged]) -> None:
    """Have what was stored while no stream ran count too, but in rows that the other region wrote as well.

    Of such a row the copy with fewer versions goes, and nothing says whether the other one was made on top of it.
    """
    for player, other in (players, players[::-1]):
        theirs = apart[other.region].writes.keys() | other.acknowledged.writes.keys()
        add(player, {row: numbers for row, numbers in apart[player.region].writes.items() if row not in theirs})


def add(player: Player, writes: Mapping[tuple[str, UUID], set[int]]) -> None:
    assert writes
    for row, numbers in writes.items():
        for number in numbers:
            player.acknowledged.wrote(*row, number)


def both_join(lab: Lab) -> None:
    for name in ("cn", "global"):
        found = join(lab, name)
        assert found.returncode == 0, found.stderr
    eventually(lambda: healthy(lab), what="two streams")


def merge_under_way(lab: Lab) -> None:
    """Users write: a row may differ at the end, and then the status says so. It waits for nothing."""
    found = run_command("migratectl", "merge", "--settle", "0", env=lab.env(), timeout_s=120)
    assert found.returncode in (0, 1), found.stderr
    assert ("not equal yet after" in found.stderr) == (found.returncode == 1), found.stderr


def merge_at_rest(lab: Lab) -> None:
    """Nobody writes: one merge makes them equal and diff says so too."""
    found = run_command("migratectl", "merge", env=lab.env(), timeout_s=120)
    assert found.returncode == 0, found.stdout + found.stderr
    assert re.search(r"^equal after", found.stderr, re.MULTILINE), found.stderr
    found = migratectl("diff", env=lab.env())
    assert found.returncode == 0, found.stdout + found.stderr


Content = Callable[[Lab, History, list[Player]], None]


def nothing(lab: Lab, history: History, players: list[Player]) -> None:
    """Both regions are empty."""


def rows_in_one_region(lab: Lab, history: History, players: list[Player]) -> None:
    """CN has been in use, Global is new."""
    rows_of_its_own(lab, players[0], seed=31)


def other_rows(lab: Lab, history: History, players: list[Player]) -> None:
    """Two regions in use that never knew of each other: other keys, and names and addresses that both gave away."""
    for player, seed in zip(players, (31, 32), strict=True):
        rows_of_its_own(lab, player, seed)


def rows_of_its_own(lab: Lab, player: Player, seed: int) -> None:
    own = make(seed, rounds=4)
    stranger = Player(player.region, lab.region(player.region).app_dsn, own)
    stranger.acknowledged = player.acknowledged
    write(own, [stranger], range(4))


def a_copy_that_went_its_own_way(lab: Lab, history: History, players: list[Player]) -> None:
    """Global was restored from a copy of CN; then both changed the same rows, and each deleted some."""
    rows_of_its_own(lab, players[0], seed=31)
    write(history, players[:1], range(4))
    pair = Pair(lab)
    users = [pair.cn.register() for _ in range(4)]
    copy(lab.region("cn"), lab.region("global"))
    for side, user in zip(pair.sides, users, strict=False):
        side.add("sessions", token=str(user), expires_at="2030-01-01", user_uuid=user)
        side.run("DELETE FROM users WHERE uuid = %s", user)
        side.run("UPDATE users SET level = 77 WHERE uuid = %s", users[2])
    write(history, players, range(4, BEFORE.stop))
    assert pair.cn.dead(*users) == {users[0]}
    assert pair.global_.dead(*users) == {users[1]}


def copy(source: LabRegion, target: LabRegion) -> None:
    """All rows, as pg_dump and pg_restore bring them: no trigger fires."""
    with connect(source.admin_dsn) as here, connect(target.admin_dsn) as there:
        there.execute("SET session_replication_role = replica; SET accountdb.judged = on")
        for table in ACCOUNT_TABLES:
            name = sql.Identifier("public", table)
            with (
                here.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(name)) as out,
                there.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(name)) as into,
            ):
                for chunk in out:
                    into.write(chunk)


@pytest.mark.by_hand(plain_lab="pglogical", content=other_rows)
@pytest.mark.parametrize("content", [other_rows, a_copy_that_went_its_own_way], ids=lambda one: one.__name__)
def test_join_then_merge_makes_two_regions_equal_whatever_they_held(apart: Lab, content: Content) -> None:
    joined_and_merged(apart, content)


@pytest.mark.parametrize("plain_lab", ["native"], indirect=True, scope="module")
@pytest.mark.parametrize("content", [nothing, rows_in_one_region], ids=lambda one: one.__name__)
def test_join_then_merge_fills_a_region_that_holds_nothing(apart: Lab, content: Content) -> None:
    joined_and_merged(apart, content)


def joined_and_merged(apart: Lab, content: Content) -> None:
    history, players, offsets = played(apart, seed=30, rounds=ROUNDS)
    content(apart, history, players)
    with users_write(history, players):
        both_join(apart)
        before = told(players)
        merge_under_way(apart)
    merge_at_rest(apart)
    if content is not nothing:
        add_apart(players, before)
    assert settled(apart, players, offsets) == []


@pytest.fixture
def forgetful(apart: Lab) -> Iterator[Lab]:
    """Regions that keep hardly any log for one that is away."""
    for region in apart.regions:
        run_sql(region.admin_dsn, "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        run_sql(region.admin_dsn, "SELECT pg_reload_conf()")
    yield apart
    for region in apart.regions:
        run_sql(region.admin_dsn, "ALTER SYSTEM RESET max_slot_wal_keep_size")
        run_sql(region.admin_dsn, "SELECT pg_reload_conf()")


def outlive_the_slot(region: LabRegion) -> str:
    """Write so much log that the slot of the other region, which is away, is lost. Returns its name."""

    def lost() -> bool:
        run_sql(region.admin_dsn, "SELECT pg_logical_emit_message(true, 'test', 'so that there is a log to switch')")
        run_sql(region.admin_dsn, "SELECT pg_switch_wal()")
        run_sql(region.admin_dsn, "CHECKPOINT")
        return bool(value(region.admin_dsn, "SELECT wal_status FROM pg_replication_slots") == "lost")

    eventually(lost, what=f"a lost slot of {region.name}")
    return str(value(region.admin_dsn, "SELECT slot_name FROM pg_replication_slots"))


def one_row_of_each_table(pair: Pair) -> list[tuple[str, UUID]]:
    """Rows that nobody touches."""
    user = pair.cn.register()
    return [
        ("users", user),
        ("identities", pair.cn.add("identities", provider="p", external_id="untouched", user_uuid=user)),
        ("sessions", pair.cn.add("sessions", token="untouched", expires_at="2030-01-01", user_uuid=user)),
        ("admin_settings", pair.cn.add("admin_settings", module_key="untouched", role="x")),
        (
            "subscriptions",
            pair.cn.add("subscriptions", external_id="u", provider="p", payment_method="p", user_uuid=user),
        ),
    ]


def where_they_lie(lab: Lab, found: list[tuple[str, UUID]]) -> list[tuple[object, ...]]:
    """Which transaction wrote each row, and to which place of its table: a row that was brought anew has another."""
    return [
        row
        for region in lab.regions
        for table, key in found
        for row in rows(region.admin_dsn, f"SELECT ctid::text, xmin::text FROM public.{table} WHERE uuid = %s", key)
    ]


def test_a_region_that_was_away_for_too_long_comes_back(forgetful: Lab) -> None:
    lab = forgetful
    both_join(lab)
    pair = Pair(lab)
    untouched = one_row_of_each_table(pair)
    deleted = pair.shared()
    history, players, _ = played(lab, seed=33, rounds=ROUNDS)
    write(history, players, range(4))
    pair.meet()
    joined = told(players)
    before = where_they_lie(lab, untouched)
    assert len(before) == 2 * len(ACCOUNT_TABLES)
    lab.cut()
    write(history, players, range(4, BEFORE.stop))
    pair.cn.run("DELETE FROM users WHERE uuid = %s", deleted)
    slots = [outlive_the_slot(lab.region(OTHER[name])) for name in ("cn", "global")]
    lab.heal()

    found = migratectl("status", env=lab.env())
    assert found.returncode == 1
    for name, slot in zip(("cn", "global"), slots, strict=True):
        assert re.search(rf'finding: {name}: sub_from_\w+ is down: {LOST} "{slot}"', found.stderr), found.stderr
    with users_write(history, players):
        # Under their hands it may not end equal, and there is no stream to wait for; it puts on record what
        # either region would overwrite unseen.
        assert migratectl("merge", "--settle", "0.1", env=lab.env()).returncode in (0, 1)
        for name in ("cn", "global", "cn"):
            found = migratectl("region", "leave", env={"DB_URL": lab.region(name).admin_dsn})
            assert found.returncode == 0, found.stderr
        assert rows(lab.region("global").admin_dsn, "SELECT FROM pg_replication_slots") == []
        # Before that they had every reason to complain.
        offsets: dict[str, int] = {region.name: region.log_file.stat().st_size for region in lab.regions}
        both_join(lab)
        away = told(players)
        merge_under_way(lab)
    merge_at_rest(lab)
    add_apart(players, away)
    for player in players:
        add(player, joined[player.region].writes)
    assert pair.same("users", deleted) is None
    assert where_they_lie(lab, untouched) == before
    assert settled(lab, players, offsets) == []


@contextmanager
def streamed_to_nobody(region: LabRegion) -> Iterator[Callable[[str], None]]:
    """Statements that the other region never hears of."""
    with connect(region.admin_dsn, autocommit=True) as conn:
        conn.execute("SELECT pg_replication_origin_create('test_first_load')")
        try:
            conn.execute("SELECT pg_replication_origin_session_setup('test_first_load')")

            def run(statement: str) -> None:
                conn.execute(statement.encode())

            yield run
            conn.execute("SELECT pg_replication_origin_session_reset()")
        finally:
            conn.execute("SELECT pg_replication_origin_drop('test_first_load')")


def accounts(lab: Lab, count: int) -> list[UUID]:
    """Users with an identity and a session each, in both regions."""
    pair = Pair(lab)
    users = [pair.cn.register() for _ in range(count)]
    for number, user in enumerate(users):
        pair.cn.add("identities", provider="p", external_id=f"{number}", user_uuid=user)
        pair.cn.add("sessions", token=f"{number}", expires_at="2030-01-01", user_uuid=user)
    pair.meet()
    return users


def table(region: LabRegion, name: str) -> list[tuple[object, ...]]:
    return rows(region.admin_dsn, f"SELECT xmin::text, t.* FROM public.{name} AS t ORDER BY uuid")


@pytest.mark.by_hand(plain_lab="pglogical")
def test_one_table_is_brought_and_the_others_stay_as_they_are(apart: Lab) -> None:
    both_join(apart)
    accounts(apart, 5)
    cn, global_ = apart.regions
    whole = table(cn, "identities")
    with streamed_to_nobody(global_) as run:
        # As a worker that has judged already, or a page that was zeroed: no tombstone says that they are dead.
        run("SET session_replication_role = replica; SET accountdb.judged = on")
        run("DELETE FROM identities WHERE external_id < '3'")
        run("UPDATE sessions SET token = token || 'x' WHERE token > '2'")
    assert value(global_.admin_dsn, "SELECT count(*) FROM accountdb.tombstone") == 0
    sessions = [table(region, "sessions") for region in apart.regions]

    found = migratectl("merge", "--table", "identities", env=apart.env())

    assert found.returncode == 0, found.stderr
    assert found.stdout == "public.identities\tglobal\t3\t0\t0\n"
    assert "merged too, because others refer to them: public.users\nequal after 1 round" in found.stderr
    assert [row[1:] for row in table(global_, "identities")] == [row[1:] for row in whole]
    assert table(cn, "identities") == whole
    assert [table(region, "sessions") for region in apart.regions] == sessions
    assert migratectl("diff", "--table", "identities", env=apart.env()).returncode == 0
    found = migratectl("diff", "--table", "sessions", "--settle", "0", env=apart.env())
    assert found.returncode == 1
    assert "public.sessions\t5\t5\t2\t0" in found.stdout
    exchange(apart)


@pytest.mark.by_hand(plain_lab="pglogical")
def test_a_user_is_not_deleted_where_what_refers_to_it_is_left_out(apart: Lab) -> None:
    both_join(apart)
    user, *_ = accounts(apart, 2)
    pair = Pair(apart)
    with streamed_to_nobody(pair.cn.region) as run:
        run(f"DELETE FROM users WHERE uuid = '{user}'")
    assert pair.cn.dead(user) == {user}

    found = migratectl("merge", "--table", "users", "--settle", "1", env=apart.env())

    assert found.returncode == 1
    assert found.stderr.endswith(
        "rows to be deleted stay in public.users: tables that refer to them were not merged\n"
        "hint: migratectl merge without --table and --exclude\n"
    )
    assert pair.global_.row("users", user)
    assert len(table(pair.global_.region, "sessions")) == 2

    merge_at_rest(apart)
    assert pair.same("users", user) is None
    assert len(table(pair.global_.region, "sessions")) == 1
