"""``migratectl merge``, ``merge --plan`` and ``migratectl undo`` as a user gets them."""

from __future__ import annotations

import io
import json
import re
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import typer
from psycopg.conninfo import conninfo_to_dict

from accountdb.cli.region import init
from accountdb.cli.run import run
from accountdb.lab import Lab
from accountdb.merge.run import FILL_FROM
from accountdb.pg.connect import connect
from tests.conftest import BIN, Databases, as_role, rows, run_sql
from tests.integration.comparing import Told, assert_refused
from tests.integration.merging import ACCOUNT, CONTRACT, Apart, Side, regions_apart, told
from tests.integration.test_merge_rows import identity_of, register, session_of

ZEROS = {name: {"removed": 0, "restored": 0, "left": 0} for name in ("cn", "global")}
ECHO = "what was written is streamed once more"
BUSINESS = "merge business"

BIG = (
    "CREATE TABLE public.big (name text NOT NULL UNIQUE, n integer CHECK (n >= 0),"
    f" up uuid REFERENCES public.big, {CONTRACT})",
    "CREATE INDEX big_plain ON public.big (n DESC NULLS LAST) INCLUDE (name) WITH (fillfactor = 70)",
    "COMMENT ON INDEX public.big_plain IS 'it''s of use, 100 %'",
    "CREATE UNIQUE INDEX big_unique ON public.big (lower(name)) WHERE n > 0",
    "COMMENT ON INDEX public.big_unique IS 'who is who'",
    "CREATE INDEX big_unmeasured ON public.big ((n + 1))",
    "ALTER INDEX public.big_unmeasured ALTER COLUMN 1 SET STATISTICS 0",
    "CREATE INDEX big_measured ON public.big ((n + 2))",
    "ALTER INDEX public.big_measured ALTER COLUMN 1 SET STATISTICS 500",
    "CREATE INDEX big_up ON public.big (up)",
    "ALTER TABLE public.big CLUSTER ON big_up",
    "COMMENT ON CONSTRAINT big_name_key ON public.big IS 'one name'",
)
# What a fill must leave as it was.
CATALOG = """
    SELECT 'index', c.relname::text, pg_get_indexdef(c.oid), obj_description(c.oid, 'pg_class'),
           concat_ws(' ', i.indisvalid, i.indisready, i.indisclustered, i.indisreplident, c.reloptions, c.relowner,
                     (SELECT string_agg(a.attstattarget::text, ',' ORDER BY a.attnum)
                      FROM pg_attribute AS a WHERE a.attrelid = c.oid))
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE i.indrelid = 'public.big'::regclass
    UNION ALL SELECT 'constraint', k.conname::text, pg_get_constraintdef(k.oid),
                     obj_description(k.oid, 'pg_constraint'), k.convalidated::text
    FROM pg_constraint AS k WHERE k.conrelid = 'public.big'::regclass
    UNION ALL SELECT 'trigger', t.tgname::text, pg_get_triggerdef(t.oid), obj_description(t.oid, 'pg_trigger'),
                     t.tgenabled::text
    FROM pg_trigger AS t WHERE t.tgrelid = 'public.big'::regclass
    ORDER BY 1, 2
"""


@pytest.fixture(scope="module")
def two(databases: Databases, native_lab: Lab) -> Iterator[Apart]:
    """Two regions for all tests."""
    with regions_apart(databases, native_lab, *BIG) as found:
        yield found


@pytest.fixture
def apart(two: Apart) -> Apart:
    """The same, emptied."""
    two.empty(*ACCOUNT, "big")
    return two


@pytest.fixture
def own(databases: Databases, native_lab: Lab) -> Iterator[Apart]:
    """Two regions that a test may change in any way."""
    with regions_apart(databases, native_lab) as found:
        yield found


def state(apart: Apart) -> list[Any]:
    """All that a merge could write: rows, tombstones, conflicts, resolutions, and where the rows stand."""
    places = "SELECT uuid, xmin::text, ctid::text FROM {} ORDER BY 1"
    return [
        (
            side.all(*ACCOUNT),
            side.conflicts(),
            side.found("SELECT * FROM accountdb.resolution ORDER BY 1"),
            [side.found(places.format(table)) for table in ACCOUNT],
        )
        for side in apart.sides
    ]


def content(apart: Apart) -> list[Any]:
    """Rows and tombstones of both."""
    return [side.all(*ACCOUNT) for side in apart.sides]


def differ(apart: Apart) -> None:
    """Every kind of difference, but none in which rows want one value."""
    cn, global_ = apart.sides
    for _ in range(7):
        session_of(register(cn), cn)
    for _ in range(2):
        identity_of(register(global_), global_)
    for side, count in ((cn, 3), (global_, 2)):
        for _ in range(count):
            side.run("UPDATE users SET password = 'secret2' WHERE uuid = %s", register(cn, global_))
    for side in apart.sides:
        gone = register(cn, global_)
        session_of(gone, cn, global_)
        side.run("DELETE FROM users WHERE uuid = %s", gone)
    again = register(cn, global_)
    cn.run("DELETE FROM users WHERE uuid = %s", again)
    register(cn, uuid=again)


def nodes(dsns: Mapping[str, str]) -> list[str]:
    return [f"--node={name}={dsn}" for name, dsn in dsns.items()]


def counts(found: dict[str, Any]) -> dict[tuple[str, str], dict[str, int]]:
    """Counts by table and region, where there are any."""
    return {(table, name): one for table, by in found.items() for name, one in by.items() if any(one.values())}


def undone(apart: Apart, path: Path, status: int = 0) -> dict[str, dict[str, int]]:
    """What ``undo --json`` says."""
    outcome = apart.command("undo", str(path), "--json")
    assert outcome.status == status, outcome.err
    found: dict[str, dict[str, int]] = json.loads(outcome.out)
    return found


def merged(apart: Apart, *arguments: str, status: int = 0) -> Told:
    outcome = apart.command(*arguments)
    assert outcome.status == status, outcome.err
    return outcome


def assert_nothing_written(apart: Apart, arguments: list[str], status: int, fact: str, **options: Any) -> Told:
    """Refused in one line with a hint; the rows are where they were; no password is told."""
    before = state(apart)
    outcome = apart.command(*arguments, **options)
    assert_refused(outcome, status, fact)
    assert len(outcome.err.splitlines()) == 2
    assert state(apart) == before
    for dsn in (*apart.dsns.values(), *(options.get("dsns") or {}).values()):
        assert str(conninfo_to_dict(dsn)["password"]) not in outcome.err
    return outcome


# -- what would be done, and what is --


def test_a_plan_writes_nothing_and_is_what_the_merge_then_does(apart: Apart) -> None:
    differ(apart)
    before = state(apart)
    outcome = merged(apart, "--plan", "--json", status=1)
    assert state(apart) == before
    planned = json.loads(outcome.out)
    assert list(planned) == ["regions", "tables"]
    assert [list(one) for one in planned["tables"]] == [["table", "regions", "samples"]] * len(planned["tables"])
    samples = {one["table"]: one["samples"] for one in planned["tables"]}
    assert {name: len(rows) for name, rows in samples.items() if rows} == {
        "public.users": 5,
        "public.sessions": 5,
        "public.identities": 2,
    }
    told_plan = merged(apart, "--plan", status=1)
    assert "secret" not in outcome.out + told_plan.out + told_plan.err
    receipt = json.loads(merged(apart, "--json").out)
    written = counts(receipt["written"])
    assert written == counts({one["table"]: one["regions"] for one in planned["tables"]})
    assert written["public.users", "cn"] == {"inserted": 2, "updated": 2, "deleted": 1}
    assert written["public.users", "global"] == {"inserted": 7, "updated": 4, "deleted": 1}
    lines = [line.split("\t") for line in told_plan.lines if "\t" in line]
    assert {(table, name): list(map(int, rest)) for table, name, *rest in lines} == {
        name: list(one.values()) for name, one in written.items()
    }
    again = merged(apart, "--plan")
    assert (again.out, "nothing to do" in again.err) == ("", True)


def test_a_plan_shows_that_a_secret_differs_and_not_what_it_is(apart: Apart) -> None:
    user = register(*apart.sides)
    apart.cn.run("UPDATE users SET password = 'secret2' WHERE uuid = %s", user)
    (line, _) = merged(apart, "--plan", status=1).lines
    assert "password (cn '***' | global '***')" in line


def test_the_receipt_is_a_proof_in_json(apart: Apart) -> None:
    register(apart.cn)
    receipt = json.loads(merged(apart, "--json").out)
    assert list(receipt) == [
        "equal", "seconds", "rounds", "written", "proof", "different", "healed", "echo", "undo", "also", "left_out",
        "withheld",
    ]  # fmt: skip
    assert (receipt["equal"], receipt["rounds"], receipt["undo"], receipt["echo"]) == (True, 1, None, False)
    proof = {one["table"]: one for one in receipt["proof"]}
    assert proof.keys() == {f"public.{table}" for table in (*ACCOUNT, "big")}
    assert proof["public.users"] == {
        "table": "public.users",
        "rows": {"cn": 1, "global": 1},
        "differing": 0,
        "changing": 0,
    }
    outcome = merged(apart)
    assert (outcome.out, outcome.err.splitlines()[-1][:20]) == ("", "equal after 0 rounds")


# -- some tables --


def test_parents_come_along_and_are_named_and_other_tables_stay(apart: Apart) -> None:
    user = register(apart.cn)
    session, identity = session_of(user, apart.cn), identity_of(user, apart.cn)
    outcome = merged(apart, "--table=sessions")
    assert "merged too, because others refer to them: public.users" in outcome.err
    assert apart.same("users", user)
    assert apart.same("sessions", session)
    assert apart.global_.row("identities", identity) is None
    assert json.loads(merged(apart, "--table=public.sessions", "--json").out)["also"] == ["public.users"]


@pytest.mark.parametrize("name", ["identities", "public.identities"])
def test_a_table_is_left_out(apart: Apart, name: str) -> None:
    user = register(apart.cn)
    identity = identity_of(user, apart.cn)
    merged(apart, f"--exclude={name}")
    assert apart.same("users", user)
    assert apart.global_.row("identities", identity) is None


@pytest.mark.parametrize("option", ["--table=users", "--exclude=sessions"])
def test_a_delete_waits_for_the_tables_below_and_the_hint_says_how(apart: Apart, option: str) -> None:
    cn, global_ = apart.sides
    user = register(cn, global_)
    cn.run("DELETE FROM users WHERE uuid = %s", user)
    session = session_of(user, global_)
    outcome = merged(apart, option, status=1)
    assert "rows to be deleted stay in public.users" in outcome.err
    assert outcome.err.splitlines()[-1] == "hint: migratectl merge without --table and --exclude"
    assert global_.row("users", user)
    assert json.loads(merged(apart, option, "--json", status=1).out)["withheld"] == ["public.users"]
    merged(apart)
    assert [apart.same("users", user), apart.same("sessions", session)] == [None, None]


def test_a_table_outside_the_contract_is_left_out_and_named(own: Apart) -> None:
    own.both("CREATE TABLE public.loose (a integer PRIMARY KEY)")
    own.cn.run("INSERT INTO loose VALUES (1)")
    user = register(own.cn)
    outcome = merged(own)
    assert "warning: loose is not under the row contract and was left out" in outcome.err
    assert own.same("users", user)
    assert own.global_.value("SELECT count(*) FROM loose") == 0
    assert json.loads(merged(own, "--json").out)["left_out"] == ["loose"]
    outcome = assert_nothing_written(own, ["--table=loose"], 4, "public.loose is not under the row contract")
    assert "its primary key is (a), not (uuid)" in outcome.err
    assert "migratectl table add" in outcome.err


# -- a table that is empty --


def prepare(apart: Apart) -> tuple[Side, Any, Any]:
    """A table that only CN has rows in: Global, its catalog, and what tells whether it was filled whole."""
    apart.cn.run("INSERT INTO big (name, n) SELECT 'n' || i, i FROM generate_series(1, %s) AS i", FILL_FROM)
    global_ = apart.global_
    return global_, global_.found(CATALOG), global_.value("SELECT 'public.big_plain'::regclass::oid")


def merged_while_read(apart: Apart, *arguments: str) -> tuple[Told, bool]:
    """Merge while somebody reads the empty table. How it ended, and whether it asked for the table alone."""
    exclusive = "SELECT count(*) FROM pg_locks WHERE relation = 'public.big'::regclass AND mode = 'AccessExclusiveLock'"
    asked = False
    with connect(apart.global_.dsn) as reader, ThreadPoolExecutor(1) as pool:
        reader.execute("SELECT FROM public.big")
        merging = pool.submit(apart.command, *arguments)
        while not merging.done():
            asked |= bool(apart.global_.value(exclusive))
            time.sleep(0.01)  # the poll's step
    return merging.result(), asked


def test_a_fill_leaves_the_table_as_it_was_but_full_and_can_be_taken_back(apart: Apart, tmp_path: Path) -> None:
    global_, before, index = prepare(apart)
    held = apart.cn.rows("big")
    merged(apart, f"--undo={tmp_path / 'undo'}")
    assert global_.value("SELECT 'public.big_plain'::regclass::oid") != index, "it was not filled whole"
    assert global_.found(CATALOG) == before
    assert ("accountdb_guard", "R") in {(name, mode) for kind, name, *_, mode in before if kind == "trigger"}
    assert global_.value("SELECT reltuples > 0 FROM pg_class WHERE oid = 'public.big'::regclass")
    assert global_.value("SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'big'")
    assert global_.rows("big") == held
    apart.assert_lawful()
    assert undone(apart, tmp_path / "undo") == {**ZEROS, "global": {"removed": FILL_FROM, "restored": 0, "left": 0}}
    assert (global_.rows("big"), apart.cn.rows("big")) == ([], held)
    assert global_.dead() == set()


def test_without_a_lock_nobody_has_to_wait(apart: Apart) -> None:
    global_, before, index = prepare(apart)
    outcome, asked = merged_while_read(apart, "--no-lock")
    assert (outcome.status, asked) == (0, False), outcome.err
    assert global_.value("SELECT 'public.big_plain'::regclass::oid") == index
    assert global_.value("SELECT count(*) FROM big") == FILL_FROM
    assert global_.found(CATALOG) == before


def test_a_reader_makes_a_fill_go_another_way(apart: Apart) -> None:
    global_, before, index = prepare(apart)
    began = time.monotonic()
    outcome, asked = merged_while_read(apart)
    assert (outcome.status, asked) == (0, True), outcome.err
    assert time.monotonic() - began > 3
    assert global_.value("SELECT 'public.big_plain'::regclass::oid") == index
    assert global_.value("SELECT count(*) FROM big") == FILL_FROM
    assert global_.found(CATALOG) == before


# -- undo --


def test_undo_takes_back_exactly_and_again_nothing(apart: Apart, tmp_path: Path) -> None:
    differ(apart)
    for side in apart.sides:
        register(side, email="wanted@x", username="wanted")
    before = content(apart)
    file = tmp_path / "undo"
    outcome = merged(apart, f"--undo={file}")
    assert f"hint: migratectl undo {file} takes it back; the file holds secrets" in outcome.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert content(apart) != before
    outcome = merged(apart, "undo", str(file))
    assert re.fullmatch(
        r"cn: \d+ removed, \d+ restored, 0 left\nglobal: \d+ removed, \d+ restored, 0 left\n", outcome.out
    )
    assert "0 removed, 0 restored" not in outcome.out
    assert content(apart) == before
    assert undone(apart, file) == ZEROS
    assert content(apart) == before


def test_a_file_that_was_there_empty_is_closed_to_others(apart: Apart, tmp_path: Path) -> None:
    register(apart.cn)
    file = tmp_path / "undo"
    file.touch(0o644)
    merged(apart, f"--undo={file}")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_row_that_was_changed_since_is_left(apart: Apart, tmp_path: Path) -> None:
    brought, updated = register(apart.cn), register(*apart.sides)
    apart.cn.run("UPDATE users SET level = 1 WHERE uuid = %s", updated)
    merged(apart, f"--undo={tmp_path / 'undo'}")
    for user in (brought, updated):
        apart.global_.run("UPDATE users SET level = 9 WHERE uuid = %s", user)
    assert undone(apart, tmp_path / "undo", status=1)["global"] == {"removed": 0, "restored": 0, "left": 2}
    assert [row["level"] for row in apart.global_.rows("users")] == [9, 9]
    outcome = merged(apart, "undo", str(tmp_path / "undo"), status=1)
    assert outcome.lines == ["cn: 0 removed, 0 restored, 0 left", "global: 0 removed, 0 restored, 2 left"]
    assert "rows that are left were changed since" in outcome.err


def test_an_account_that_has_got_a_session_since_is_left(apart: Apart, tmp_path: Path) -> None:
    keeper, leaver = register(apart.cn), register(apart.cn)
    merged(apart, f"--undo={tmp_path / 'undo'}")
    session = session_of(keeper, apart.global_)
    assert undone(apart, tmp_path / "undo", status=1)["global"] == {"removed": 1, "restored": 0, "left": 1}
    assert apart.global_.row("users", keeper)
    assert apart.global_.row("sessions", session)
    assert apart.global_.row("users", leaver) is None


def test_a_row_whose_old_value_is_taken_since_is_left(apart: Apart, tmp_path: Path) -> None:
    user, other = register(*apart.sides, email="old@x"), register(*apart.sides, email="free@x")
    apart.cn.run("UPDATE users SET email = 'new@x' WHERE uuid = %s", user)
    apart.cn.run("UPDATE users SET email = NULL WHERE uuid = %s", other)
    merged(apart, f"--undo={tmp_path / 'undo'}")
    newcomer = register(apart.global_, email="OLD@x")
    assert undone(apart, tmp_path / "undo", status=1)["global"] == {"removed": 0, "restored": 1, "left": 1}
    emails = {row["uuid"]: row["email"] for row in apart.global_.rows("users")}
    assert emails == {user: "new@x", other: "free@x", newcomer: "OLD@x"}


def test_undo_knows_the_regions_under_other_names(apart: Apart, tmp_path: Path) -> None:
    differ(apart)
    before = content(apart)
    merged(apart, f"--undo={tmp_path / 'undo'}")
    swapped = {"cn": apart.global_.dsn, "global": apart.cn.dsn}
    assert apart.command("undo", str(tmp_path / "undo"), dsns=swapped).status == 0
    assert content(apart) == before


def test_a_torn_last_line_never_committed_and_the_file_goes_on(apart: Apart, tmp_path: Path) -> None:
    file = tmp_path / "undo"
    first = register(apart.cn)
    merged(apart, f"--undo={file}")
    second = register(apart.cn)
    merged(apart, f"--undo={file}")
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    file.write_bytes(whole[: -len(lines[-1]) // 2])
    assert undone(apart, file)["global"] == {"removed": 1, "restored": 0, "left": 0}
    assert apart.global_.row("users", first) is None
    assert apart.same("users", second)
    merged(apart, f"--undo={file}")
    assert undone(apart, file)["global"] == {"removed": 1, "restored": 0, "left": 0}
    assert [row["uuid"] for row in apart.global_.rows("users")] == [second]


def test_the_undo_file_of_other_databases_is_refused(apart: Apart, own: Apart, tmp_path: Path) -> None:
    file = tmp_path / "undo"
    register(own.cn)
    merged(own, f"--undo={file}")
    before = file.read_bytes()
    register(apart.cn)
    assert_nothing_written(apart, ["undo", str(file)], 2, f"{file} was not written by a merge of cn")
    assert_nothing_written(apart, [f"--undo={file}"], 2, f"{file} is the undo file of other databases")
    mixed = {"cn": own.cn.dsn, "global": apart.global_.dsn}
    assert_nothing_written(apart, ["undo", str(file)], 2, f"{file} was not written by a merge of global", dsns=mixed)
    assert file.read_bytes() == before


BROKEN = {
    "missing": (None, "No such file or directory"),
    "empty": (b"", "is not an undo file"),
    "text": (b"hello\n", "is not an undo file"),
    "bytes": (bytes(range(256)), "is not an undo file"),
    "other json": (b'{"users": []}\n', "is not an undo file"),
    "other format": (b'{"accountdb_undo": 99, "databases": {}}\n', "is not an undo file"),
    "damaged": (b"HEADER{\nLINES", "line 2 is damaged"),
    "half": (b'HEADER{"region": "cn"}\nLINES', "line 2 is damaged"),
    "of a third region": (b'HEADER{"region": "x", "tables": [], "buried": []}\nLINES', "no region of its header"),
}


@pytest.fixture(scope="module")
def good(two: Apart, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The lines of an undo file."""
    two.empty(*ACCOUNT, "big")
    register(two.cn)
    file = tmp_path_factory.mktemp("good") / "undo"
    merged(two, f"--undo={file}")
    return file.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_not_an_undo_file_takes_nothing_back(
    good: list[bytes], two: Apart, tmp_path: Path, name: str
) -> None:
    """Of a whole one the rows would go: the region holds what the merge brought."""
    header, *lines = good
    text, fact = BROKEN[name]
    if text is not None:
        (tmp_path / "bad").write_bytes(text.replace(b"HEADER", header).replace(b"LINES", b"".join(lines)))
    assert_nothing_written(two, ["undo", str(tmp_path / "bad")], 2, fact)


def test_the_whole_file_takes_it_back(good: list[bytes], two: Apart, tmp_path: Path) -> None:
    (tmp_path / "undo").write_bytes(b"".join(good))
    assert undone(two, tmp_path / "undo")["global"] == {"removed": 1, "restored": 0, "left": 0}


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("nowhere/undo", "No such file or directory"),
        (".", "Is a directory"),
        ("text", "is not an undo file"),
        ("/dev/null", "not a file"),
        ("text/undo", "Not a directory"),
    ],
)
def test_an_undo_file_that_cannot_be_made_is_told_before_anything_is_written(
    apart: Apart, tmp_path: Path, name: str, fact: str
) -> None:
    (tmp_path / "text").write_text("mine\n")
    register(apart.cn)
    assert_nothing_written(apart, [f"--undo={tmp_path / name}"], 2, fact)
    assert (tmp_path / "text").read_text() == "mine\n"


def test_what_is_not_in_the_undo_file_is_not_written(apart: Apart, tmp_path: Path) -> None:
    """A disk that is full, in a process that may write files of one block only."""
    differ(apart)
    before = content(apart)
    file = tmp_path / "undo"
    command = [str(BIN / "migratectl"), "merge", f"--undo={file}", *nodes(apart.dsns)]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 1 && exec "$@"', "sh", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (3, "")
    error, hint = done.stderr.splitlines()
    assert error == f"error: --undo {file}: File too large"
    assert hint.startswith("hint: make room and run it again with the same file")
    assert all(text.endswith(b"\n") for text in file.read_bytes().splitlines(keepends=True))
    undone(apart, file)
    assert content(apart) == before
    merged(apart, f"--undo={file}")
    undone(apart, file)
    assert content(apart) == before


# -- who --


def test_the_owner_merges_and_is_told_of_the_echo_where_something_was_written(apart: Apart) -> None:
    user = register(apart.cn)
    owner = apart.by("owner")
    assert ECHO not in merged(owner, "--plan", status=1).err
    assert ECHO in merged(owner).err
    assert apart.same("users", user)
    assert ECHO not in merged(owner).err
    assert json.loads(merged(owner, "--json").out)["echo"] is True
    register(apart.cn)
    assert ECHO not in merged(apart).err


def test_an_owner_may_not_undo_until_it_has_the_rights_that_the_hint_names(apart: Apart, tmp_path: Path) -> None:
    differ(apart)
    before = content(apart)
    owner, file = apart.by("owner"), tmp_path / "undo"
    refused = "role account may not set session_replication_role"
    outcome = assert_nothing_written(owner, [f"--undo={file}"], 3, refused)
    assert not file.exists()
    merged(apart, f"--undo={file}")
    assert_nothing_written(owner, ["undo", str(file)], 3, refused)
    undone(apart, file)
    file.unlink()
    grants = outcome.err.partition("have one run in both regions: ")[2]
    assert grants.count("GRANT ") == 2
    try:
        for side in apart.sides:
            run_sql(side.dsn, grants)
        told_so = merged(owner, f"--undo={file}")
        assert ECHO not in told_so.err
        assert content(apart) != before
        undone(owner, file)
        assert content(apart) == before
    finally:
        for side in apart.sides:
            run_sql(side.dsn, grants.replace("GRANT ", "REVOKE ").replace(" TO ", " FROM "))
    assert_nothing_written(owner, ["undo", str(file)], 3, refused)


@pytest.fixture
def business(own: Apart) -> Iterator[dict[str, str]]:
    """Two regions by the role of the application, which may read and write the tables."""
    run_sql(own.cn.dsn, f"CREATE ROLE \"{BUSINESS}\" LOGIN PASSWORD 'geheim-QXZW'")
    role = f"user='{BUSINESS}' password=geheim-QXZW"
    for side in own.sides:
        initialised(side.dsn, "native", f"--grant-to={BUSINESS}")
    yield {side.name: as_role(side.dsn, role) for side in own.sides}
    for side in own.sides:
        run_sql(side.dsn, f'DROP OWNED BY "{BUSINESS}"')
    run_sql(own.cn.dsn, f'DROP ROLE "{BUSINESS}"')


def test_the_business_role_is_refused(own: Apart, business: dict[str, str], tmp_path: Path) -> None:
    with connect(business["cn"], autocommit=True) as conn:
        conn.execute("INSERT INTO users (username, password) VALUES ('ann', 'x')")
    for arguments in ([], ["--plan"], [f"--undo={tmp_path / 'undo'}"]):
        assert_nothing_written(own, arguments, 4, "this role may not read", dsns=business)
    merged(own, f"--undo={tmp_path / 'undo'}")
    assert_nothing_written(own, ["undo", str(tmp_path / "undo")], 3, "may not set", dsns=business)


# -- guards --


def initialised(dsn: str, mode: str, *arguments: str) -> None:
    """``migratectl init`` with this mode."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command("init")(init)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as err:
        status = run(app, "migratectl", [f"--dsn={dsn}", f"--mode={mode}", *arguments])
    assert status == 0, err.getvalue()


def follow(dsns: Mapping[str, str], outcome: Told) -> None:
    """Do what the hint says, and find that it helps."""
    found = re.search(r"hint: migratectl init --mode (\w+)\b.*in both regions", outcome.err)
    assert found, outcome.err
    for dsn in dsns.values():
        initialised(dsn, found[1])
    assert told(*nodes(dsns)).status == 0


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("DROP TRIGGER accountdb_guard ON users", "users (missing)"),
        ("ALTER TABLE users DISABLE TRIGGER accountdb_guard", "users (disabled)"),
        ("COMMENT ON TRIGGER accountdb_guard ON users IS 'of another version'", "users (outdated)"),
    ],
)
def test_a_guard_that_is_not_current_is_named_and_init_helps(own: Apart, statement: str, why: str) -> None:
    for side in own.sides:
        initialised(side.dsn, "native")
    own.global_.run(statement)
    register(own.cn)
    outcome = assert_nothing_written(own, [], 4, f"global: guards are not current: {why}\n")
    follow(own.dsns, outcome)


def test_databases_of_mode_pgsync_have_no_guards_and_the_hint_says_which_mode_has(databases: Databases) -> None:
    dsns = {name: databases.empty() for name in ("cn", "global")}
    for name, dsn in dsns.items():
        initialised(dsn, "pgsync")
        run_sql(dsn, f"INSERT INTO users (username, password) VALUES ('{name}', 'x')")
    outcome = told(*nodes(dsns))
    assert_refused(outcome, 4, "cn: guards are not current: admin_settings (missing), identities (missing)")
    follow(dsns, outcome)
    for dsn in dsns.values():
        assert rows(dsn, "SELECT username FROM users ORDER BY 1") == [("cn",), ("global",)]


# -- bad input --


@pytest.mark.parametrize(
    ("arguments", "status", "fact"),
    [
        (["--table=nowhere"], 2, "no such table: public.nowhere"),
        (["--table=no.where"], 2, "no such table: no.where"),
        (["--exclude=nowhere"], 2, "--exclude: no such table: public.nowhere"),
        (["--exclude=no.users"], 2, "--exclude: no such table: no.users"),
        (["--exclude=users"], 2, "--exclude public.users: tables that are merged refer to it"),
        (["--exclude=users", "--exclude=sessions"], 2, "--exclude public.users: tables that are merged refer to it"),
        (["--table=sessions", "--exclude=users"], 2, "--exclude public.users: tables that are merged refer to it"),
        (["--table=users", "--exclude=public.users"], 2, "--table and --exclude both name public.users"),
        (["--table=schema_migrations"], 4, "public.schema_migrations is not under the row contract"),
        (["--recent", "--table=users"], 2, "--recent takes no --table, --exclude, --plan or --undo"),
        (["--recent", "--exclude=sessions"], 2, "--recent takes no --table, --exclude, --plan or --undo"),
        (["--recent", "--plan"], 2, "--recent takes no --table, --exclude, --plan or --undo"),
        (["--recent", "--undo=undo"], 2, "--recent takes no --table, --exclude, --plan or --undo"),
        (["--plan", "--undo=undo"], 2, "--plan writes nothing"),
        (["--plan", "--watch"], 2, "--plan writes nothing"),
        (["--recent", "--hours=0"], 2, "'--hours'"),
        (["--jobs=0"], 2, "'--jobs'"),
        (["--jobs=33"], 2, "'--jobs'"),
        (["--settle=-1"], 2, "'--settle'"),
        (["--settle=soon"], 2, "'--settle'"),
        (["--nothing"], 2, "--nothing"),
        (["undo"], 2, "FILE"),
    ],
    ids=lambda item: " ".join(item) if isinstance(item, list) else "",
)
def test_bad_input_is_told_in_one_line(apart: Apart, arguments: list[str], status: int, fact: str) -> None:
    register(apart.cn)
    apart.both("CREATE TABLE IF NOT EXISTS public.schema_migrations (version bigint PRIMARY KEY)")
    assert_nothing_written(apart, arguments, status, fact)


def test_two_regions_are_two_and_not_one_database(apart: Apart) -> None:
    register(apart.cn)
    cn, global_ = apart.cn.dsn, apart.global_.dsn
    cases: list[tuple[dict[str, str], int, str]] = [
        ({"cn": cn, "global": cn}, 4, "cn and global are the same database"),
        ({"cn": cn}, 2, "2 regions are needed, 1 given"),
        ({"cn": cn, "global": global_, "third": cn}, 2, "merge takes two regions, 3 given"),
        ({"cn": cn, "global": global_.replace("dbname=", "dbname=no")}, 3, "--global: cannot connect"),
    ]
    for dsns, status, fact in cases:
        assert_nothing_written(apart, [], status, fact, dsns=dsns)


@pytest.mark.parametrize(
    ("statement", "status", "fact"),
    [
        ("ALTER TABLE users ADD COLUMN more integer", 4, "public.users: column more is not in cn"),
        ("ALTER TABLE users ALTER COLUMN level TYPE bigint", 4, "public.users: column level is integer in cn, bigint"),
        ("DROP TABLE subscriptions", 2, "public.subscriptions is not in global"),
        ("DROP TRIGGER bump_version ON sessions", 4, "not under the row contract in both regions: public.sessions"),
    ],
)
def test_regions_of_unlike_structure_are_refused(own: Apart, statement: str, status: int, fact: str) -> None:
    register(own.cn)
    triggers = own.global_.found(
        "SELECT tgname FROM pg_trigger WHERE tgrelid = 'sessions'::regclass AND tgfoid = 'bump_version'::regproc"
    )
    own.global_.run(statement.replace("TRIGGER bump_version", f"TRIGGER {triggers[0][0]}"))
    before = own.cn.rows("users"), own.global_.found("SELECT * FROM users")
    for arguments in ([], ["--plan"]):
        assert_refused(own.command(*arguments), status, fact)
    assert (own.cn.rows("users"), own.global_.found("SELECT * FROM users")) == before


def test_nothing_is_told_of_options_that_are_missing() -> None:
    assert_refused(told("undo", "undo"), 2, "no region given")
