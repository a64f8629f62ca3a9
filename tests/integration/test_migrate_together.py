"""Two regions that migrate together: both or neither, whoever dies at whatever step, and the next run finishes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from accountdb.drift.fingerprint import look
from accountdb.lab import Lab
from accountdb.migrations.files import shipped
from accountdb.pg.connect import connect
from accountdb.pg.dsn import with_params
from proof.stepping import Orders
from proof.striking import Striker
from tests.conftest import BIN, Databases, migratectl, rows, run_sql, value
from tests.integration.migrating import APART, FIVE, write

SIX = {**FIVE, "0006_index.up.sql": APART + "CREATE INDEX CONCURRENTLY tags_name_idx ON public.tags (name);"}
STEPS_APART = 53
Pair = tuple[str, str]


@pytest.fixture(scope="module")
def there(native_lab: Lab) -> Databases:
    """Databases on the other server."""
    return Databases(native_lab.region("global").admin_dsn)


@pytest.fixture(scope="module")
def pairs(databases: Databases, there: Databases) -> Callable[[], Pair]:
    return lambda: (databases.migrated(), there.migrated())


@pytest.fixture
def two(pairs: Callable[[], Pair]) -> Pair:
    return pairs()


def words(two: Pair, folder: Path, *more: str) -> tuple[str, ...]:
    return ("migrate", "--cn", two[0], "--global", two[1], "--dir", str(folder), *more)


def migrate(two: Pair, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return migratectl(*words(two, folder, *more))


def stand(dsn: str) -> tuple[list[tuple[int, str]], str]:
    """The folder's ledger and the structure."""
    with connect(dsn) as conn:
        found = conn.execute("SELECT version, checksum FROM accountdb.migration WHERE series = 'folder' ORDER BY 1")
        return found.fetchall(), look(conn)


def newest(two: Pair) -> list[int]:
    return [
        value(dsn, "SELECT coalesce(max(version), 0) FROM accountdb.migration WHERE series = 'folder'") for dsn in two
    ]


def test_both_get_all_files_in_one_transaction_and_the_log_says_so(two: Pair, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", SIX)
    done = migrate(two, folder)
    assert done.returncode == 0, done.stderr
    assert "cn: version 6, 6 applied\nglobal: version 6, 6 applied\n" in done.stderr
    assert stand(two[0]) == stand(two[1])
    log = "SELECT run, position, version, regions FROM accountdb.migration_log WHERE series = 'folder' ORDER BY version"
    assert rows(two[0], log) == rows(two[1], log)
    runs = [run for run, *_ in rows(two[0], log)]
    assert len(set(runs[:5])) == 1
    assert runs[5] != runs[0]
    assert {regions for *_, regions in rows(two[0], log)} == {2}
    again = migrate(two, folder)
    assert again.stderr.count("nothing pending") == 2
    down = migrate(two, folder, "--to", "2", "--allow-down")
    assert down.returncode == 2  # 0006 has no way down
    write(folder, {"0006_index.down.sql": "DROP INDEX public.tags_name_idx"})
    assert migrate(two, folder, "--to", "2", "--allow-down").returncode == 0
    assert newest(two) == [2, 2]
    assert stand(two[0]) == stand(two[1])


def test_a_file_that_fails_in_one_region_leaves_both_as_they_are(two: Pair, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", FIVE)
    assert migrate(two, folder, "--to", "1").returncode == 0
    run_sql(two[1], "INSERT INTO public.tags VALUES (1, 'x'), (2, 'x')")
    write(folder, {"0003_notes.up.sql": "\nALTER TABLE public.tags ADD CONSTRAINT one UNIQUE (name);"})
    before = [stand(dsn) for dsn in two]
    failed = migrate(two, folder)
    assert failed.returncode == 3
    assert "error: global: migration 0003_notes up, line 2: could not create unique index" in failed.stderr
    assert "nothing was done in any region" in failed.stderr
    assert [stand(dsn) for dsn in two] == before


def test_a_syntax_error_in_the_third_of_five_files(two: Pair, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {**FIVE, "0003_notes.up.sql": "CREATE TABEL public.notes ()"})
    before = [stand(dsn) for dsn in two]
    failed = migrate(two, folder)
    assert failed.returncode == 3
    assert 'migration 0003_notes up, line 1: syntax error at or near "TABEL"' in failed.stderr
    assert [stand(dsn) for dsn in two] == before


@pytest.mark.parametrize("region", [0, 1])
def test_a_region_that_has_drifted_stops_both_and_is_named(two: Pair, region: int, tmp_path: Path) -> None:
    run_sql(two[region], "CREATE INDEX mine_idx ON public.users (level)")
    before = [stand(dsn) for dsn in two]
    failed = migrate(two, write(tmp_path / "m", FIVE))
    assert failed.returncode == 3
    assert "the regions differ before the migration, so nothing was done" in failed.stderr
    assert f"index public.users.mine_idx: {'extra' if region else 'missing'}" in failed.stderr
    assert "migratectl check" in failed.stderr
    assert [stand(dsn) for dsn in two] == before


def test_a_region_that_is_behind_is_named_and_the_hint_works(two: Pair, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", FIVE)
    assert migratectl("migrate", "--dsn", two[0], "--dir", str(folder), "--to", "2").returncode == 0
    before = [stand(dsn) for dsn in two]
    failed = migrate(two, folder)
    assert failed.returncode == 3
    assert "stand at different versions: cn at accountdb" in failed.stderr
    assert "folder 2, global at " in failed.stderr
    assert "bring global there first: migratectl migrate --dsn DSN --dir DIR --to 2" in failed.stderr
    assert [stand(dsn) for dsn in two] == before
    assert migratectl("migrate", "--dsn", two[1], "--dir", str(folder), "--to", "2").returncode == 0
    assert migrate(two, folder).returncode == 0
    assert newest(two) == [5, 5]


def test_a_result_that_depends_on_the_region_is_committed_nowhere(two: Pair, tmp_path: Path) -> None:
    text = f"""DO $$ BEGIN IF current_database() = '{conninfo_to_dict(two[0])["dbname"]}' AND inet_server_port() = {
        conninfo_to_dict(two[0])["port"]
    } THEN CREATE TABLE public.here (); END IF; END $$"""
    before = [stand(dsn) for dsn in two]
    failed = migrate(two, write(tmp_path / "m", {"0001_x.up.sql": text}))
    assert failed.returncode == 3
    assert "after the migration the regions would differ, so nothing was done" in failed.stderr
    assert "table public.here: missing" in failed.stderr
    assert [stand(dsn) for dsn in two] == before


def test_one_database_under_two_names_is_refused(two: Pair, tmp_path: Path) -> None:
    refused = migratectl("migrate", "--cn", two[0], "--global", with_params(two[0], host="localhost"))
    assert refused.returncode == 4
    assert "cn and global lead to the same database" in refused.stderr


@pytest.mark.parametrize("region", [0, 1])
def test_a_lock_in_one_region_leaves_both_and_says_where(two: Pair, region: int, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {"0001_x.up.sql": "ALTER TABLE public.users ADD COLUMN x text"})
    before = [stand(dsn) for dsn in two]
    with psycopg.connect(two[region], application_name="report") as other:
        other.execute("SELECT 1 FROM public.users")
        failed = migrate(two, folder, "--lock-timeout", "0.3", "--lock-wait", "2.5")
        assert failed.returncode == 3
        name = ("cn", "global")[region]
        assert f"error: {name}: migration 0001_x up, line 1: canceling statement due to lock timeout" in failed.stderr
        assert (
            f"held by {name}: process {other.info.backend_pid} (postgres, report, idle in transaction" in failed.stderr
        )
    assert [stand(dsn) for dsn in two] == before


def test_two_operators_at_once_one_after_the_other_whatever_the_order_of_regions(two: Pair, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", SIX)
    commands = [words(two, folder), ("migrate", "--node", f"b={two[1]}", "--node", f"a={two[0]}", "--dir", str(folder))]
    both = [
        subprocess.Popen([str(BIN / "migratectl"), *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command in commands * 2
    ]
    told = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0] * 4, told
    assert sorted(text.count("nothing pending") for text in told) == [0, 2, 2, 2]
    assert newest(two) == [6, 6]
    assert stand(two[0]) == stand(two[1])


# --- deaths -------------------------------------------------------------------------------------------------


def died(
    striker: Striker, two: Pair, folder: Path, fault: str, at: int, text: str = "", *more: str
) -> tuple[bool, str]:
    """Run the command with a fault at a step; whether it came to that step, and what it said."""
    ports = {int(str(conninfo_to_dict(dsn)["port"])): name for dsn, name in zip(two, ("cn", "global"), strict=True)}
    ended = striker.run(Orders("migratectl", words(two, folder, *more), fault, at, text, False, ports), lambda _: None)
    return ended.reached is not None, ended.complained


def in_no_doubt(two: Pair, folder: Path, at: object) -> None:
    """Each region stands at a version of the folder, and the same command again finishes in both."""
    again = migrate(two, folder)
    assert again.returncode == 0, (at, again.stderr)
    assert newest(two) == [6, 6], at
    assert stand(two[0]) == stand(two[1]), at
    for dsn in two:
        assert value(dsn, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0, at
        assert value(dsn, "SELECT count(*) FROM accountdb.migration_progress") == 0, at
    log = "SELECT version, direction FROM accountdb.migration_log WHERE series = 'folder' ORDER BY version"
    assert [rows(dsn, log) for dsn in two] == [[(n, "up") for n in range(1, 7)]] * 2, at


@pytest.fixture(scope="module")
def striker(tmp_path_factory: pytest.TempPathFactory) -> Striker:
    return Striker(tmp_path_factory.mktemp("striker"))


@pytest.mark.parametrize("every", [STEPS_APART, pytest.param(1, marks=pytest.mark.by_hand)])
def test_killed_at_every_step_the_next_run_finishes(
    pairs: Callable[[], Pair], striker: Striker, tmp_path: Path, every: int
) -> None:
    folder = write(tmp_path / "m", SIX)
    at = deaths = 0
    while True:
        at += every
        two = pairs()
        reached, _ = died(striker, two, folder, "kill", at)
        in_no_doubt(two, folder, at)
        if not reached:
            break
        deaths += 1
    assert deaths >= 100 // every


@pytest.mark.parametrize("fault", ["kill", "lost"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_commit_that_came_through_in_one_region_only(
    two: Pair, striker: Striker, commits: list[int], tmp_path: Path, fault: str, number: int
) -> None:
    folder = write(tmp_path / "m", SIX)
    reached, said = died(striker, two, folder, fault, commits[number - 1])
    assert reached
    states = newest(two)
    if fault == "kill" and number == 2:
        assert states == [5, 0]
    if fault == "lost":
        assert "the same command again" in said
    if fault == "lost" and number == 2:
        assert "0005_view up is applied in cn; global was lost while committing" in said
    again = migrate(two, folder)
    assert again.returncode == 0, again.stderr
    if states == [5, 0]:
        assert "global: the last run was committed in cn and did not come through here; finishing" in again.stderr
    in_no_doubt(two, folder, (fault, number))


@pytest.fixture(scope="module")
def commits(pairs: Callable[[], Pair], striker: Striker, tmp_path_factory: pytest.TempPathFactory) -> list[int]:
    """The numbers of the steps that commit the joint transaction of SIX in cn and in global."""
    folder = write(tmp_path_factory.mktemp("commits") / "m", SIX)
    ended = striker.run(Orders("migratectl", words(pairs(), folder), "none", 0, "", False, {}), lambda _: None)
    assert ended.status == 0, ended.complained
    # Both regions note five files in it, and then it is committed in each.
    noted = [n for n, label in enumerate(ended.steps, 1) if "INSERT INTO accountdb.migration_log" in label]
    after = [n for n, label in enumerate(ended.steps, 1) if n > noted[9] and "commit_gen" in label]
    return after[:2]


def test_a_region_changed_by_hand_after_the_death_is_not_taken_for_unfinished(
    two: Pair, striker: Striker, commits: list[int], tmp_path: Path
) -> None:
    folder = write(tmp_path / "m", SIX)
    died(striker, two, folder, "kill", commits[1])
    assert newest(two) == [5, 0]
    run_sql(two[1], "CREATE TABLE public.by_hand (id integer)")
    before = [stand(dsn) for dsn in two]
    failed = migrate(two, folder)
    assert failed.returncode == 3
    assert "stand at different versions" in failed.stderr
    assert [stand(dsn) for dsn in two] == before
    run_sql(two[1], "DROP TABLE public.by_hand")
    in_no_doubt(two, folder, "mended")


def test_the_way_down_is_finished_too(two: Pair, striker: Striker, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", FIVE)
    assert migrate(two, folder).returncode == 0
    # Found by its text: the second COMMIT after both have noted the last step.
    ports = {int(str(conninfo_to_dict(dsn)["port"])): name for dsn, name in zip(two, ("cn", "global"), strict=True)}
    for at in range(1, 200):
        down = words(two, folder, "--to", "2", "--allow-down")
        ended = striker.run(Orders("migratectl", down, "kill", at, "global: commit_gen", False, ports), lambda _: None)
        if ended.reached is None or newest(two) == [2, 5]:
            break
    assert newest(two) == [2, 5]
    again = migrate(two, folder, "--to", "2", "--allow-down")
    assert again.returncode == 0, again.stderr
    assert "global: the last run was committed in cn and did not come through here; finishing" in again.stderr
    assert newest(two) == [2, 2]
    assert stand(two[0]) == stand(two[1])


def test_a_fresh_pair_is_made_together(databases: Databases, there: Databases, striker: Striker) -> None:
    """The package's own files, from nothing, killed in the middle."""
    two = (databases.empty(), there.empty())
    ports = {int(str(conninfo_to_dict(dsn)["port"])): name for dsn, name in zip(two, ("cn", "global"), strict=True)}
    own = ("migrate", "--cn", two[0], "--global", two[1])
    for at in range(10, 200, 40):
        striker.run(Orders("migratectl", own, "kill", at, "", False, ports), lambda _: None)
    done = migratectl(*own)
    assert done.returncode == 0, done.stderr
    versions = [value(dsn, "SELECT max(version) FROM accountdb.migration") for dsn in two]
    assert versions == [len(shipped())] * 2
    assert migratectl("verify", "--cn", two[0], "--global", two[1]).returncode == 0
