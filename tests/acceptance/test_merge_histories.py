"""Random histories, written in both regions while merges go on: over a cut link, over running streams, by either role.

Whatever was acknowledged is there in the end, in both regions, or it is on record, or lawfully deleted.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from accountdb.catalog.tables import read_tables
from accountdb.compare.model import Unwatched
from accountdb.contract.row_contract import ACCOUNT_TABLES
from accountdb.demo.watch import take
from accountdb.lab import Lab
from accountdb.merge.model import Receipt
from accountdb.pg.connect import connect
from accountdb.setup.merging import MergeOptions, heal_regions, merge_regions
from proof import checking
from proof.history import History, make
from proof.writing import Player
from tests.acceptance.guarding import Pair
from tests.conftest import run_sql

TABLES = ", ".join(f"public.{name}" for name in ACCOUNT_TABLES)
by_either_role = pytest.mark.parametrize("role", ["admin", "owner"])


@pytest.fixture
def emptied(ready_lab: Lab) -> Iterator[Lab]:
    """The joined lab without a row, before and after."""
    for _ in range(2):
        Pair(ready_lab).meet()
        for region in ready_lab.regions:
            run_sql(
                region.admin_dsn,
                "SET session_replication_role = replica; SET accountdb.allow_truncate = on;"
                f" TRUNCATE {TABLES}, accountdb.tombstone, accountdb.conflict, accountdb.resolution",
            )
        if not _:
            yield ready_lab


def merge(lab: Lab, role: str, **options: object) -> Receipt:
    dsns = {region.name: region.admin_dsn if role == "admin" else region.app_dsn for region in lab.regions}
    return merge_regions(dsns, MergeOptions(jobs=1, **options), Unwatched())  # type: ignore[arg-type]


def constraints(lab: Lab) -> list[str]:
    found = []
    for region in lab.regions:
        with connect(region.admin_dsn, autocommit=True) as conn:
            tables = [table for table in read_tables(conn) if table.name in ACCOUNT_TABLES]
            found += checking.constraints(conn, tables)
    return found


def settled(lab: Lab, players: list[Player], offsets: dict[str, int]) -> list[str]:
    """What is wrong when all has come to rest."""
    pair = Pair(lab)
    pair.meet(within_s=120)
    for _ in range(4):
        healed = heal_regions({region.name: region.admin_dsn for region in lab.regions}, within_s=3600)
        if not sum(healed.written.values()):
            break
    return checking.everything(lab, {player.region: player.acknowledged for player in players}, offsets)


def played(lab: Lab, seed: int, rounds: int) -> tuple[History, list[Player], dict[str, int]]:
    history = make(seed, rounds)
    players = [Player(region.name, region.app_dsn, history) for region in lab.regions]
    return history, players, {region.name: region.log_file.stat().st_size for region in lab.regions}


def write(history: History, players: list[Player], rounds: range) -> None:
    """The rounds, both regions at the same time."""

    def writing(player: Player) -> None:
        for number in rounds:
            player.play(history.rounds[number].transactions.get(player.region, ()))

    threads = [threading.Thread(target=writing, args=(player,)) for player in players]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# The engine does not know who merges.
@pytest.mark.by_hand(ready_lab="native", role="admin")
@pytest.mark.by_hand(ready_lab="pglogical", role="owner")
@by_either_role
def test_regions_that_were_apart_are_equal_before_the_link_heals_and_after(emptied: Lab, role: str) -> None:
    over_a_cut_link(emptied, role, seed=1)


def over_a_cut_link(lab: Lab, role: str, seed: int) -> None:
    history, players, offsets = played(lab, seed, rounds=8)
    write(history, players, range(2))
    lab.cut()
    try:
        for rounds in (range(2, 4), range(4, 6)):
            write(history, players, rounds)
            receipt = merge(lab, role, settle_s=0)
            assert receipt.equal, receipt.different
            picture = take(lab, "merged")
            assert picture.different == ()
            assert constraints(lab) == []
        write(history, players, range(6, 8))
    finally:
        lab.heal()
    assert settled(lab, players, offsets) == []


@pytest.mark.parametrize(
    ("ready_lab", "role"),
    [("native", "owner"), pytest.param("pglogical", "admin", marks=pytest.mark.pglogical)],
    indirect=["ready_lab"],
    scope="session",
)
def test_what_users_write_during_merges_is_never_lost(emptied: Lab, role: str) -> None:
    over_running_streams(emptied, role, seed=2)


def over_running_streams(lab: Lab, role: str, seed: int) -> None:
    history, players, offsets = played(lab, seed, rounds=30)
    lab.cut()
    write(history, players, range(3))
    lab.heal()
    done = threading.Event()

    def merging() -> None:
        while not done.is_set():
            merge(lab, role, settle_s=1)

    errors: list[BaseException] = []

    def watched() -> None:
        try:
            merging()
        except BaseException as error:  # noqa: BLE001 - told by the test
            errors.append(error)

    thread = threading.Thread(target=watched)
    thread.start()
    write(history, players, range(3, 30))
    done.set()
    thread.join()
    assert errors == []
    Pair(lab).meet(within_s=120)
    assert merge(lab, role).equal
    assert settled(lab, players, offsets) == []
