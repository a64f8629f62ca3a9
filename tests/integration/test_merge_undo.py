"""``merge --undo FILE`` and ``migratectl undo`` as a user gets them: what is taken back, and which files are none."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import pytest

from tests.conftest import BIN
from tests.integration.commanding import ZEROS, assert_nothing_written, content, differ, merged, nodes, undone
from tests.integration.merging import ACCOUNT, Apart
from tests.integration.test_merge_rows import register, session_of

pytest_plugins = ("tests.integration.conftest_merge",)


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


# -- files that are none --


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
    two.empty(*ACCOUNT)
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
