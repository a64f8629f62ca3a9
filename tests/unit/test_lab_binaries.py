"""Finding PostgreSQL, with installations that only pretend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from accountdb.errors import AccountdbError, UsageError
from accountdb.lab import binaries, mode_of

Install = Callable[[str], Path]


@pytest.fixture
def installed(tmp_path: Path) -> Install:
    """Make a bin folder whose server says that it is of some version."""

    def install(version: str) -> Path:
        scripts = {
            "postgres": f"echo 'postgres (PostgreSQL) {version}'",
            "initdb": "exit 0",
            "pg_config": f'echo "{tmp_path}/$1"',
        }
        for name, body in scripts.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n", encoding="ascii")
            (tmp_path / name).chmod(0o755)
        return tmp_path

    return install


@pytest.mark.parametrize(("version", "major"), [("17.10", 17), ("15.18 (Debian 15.18-0+deb12u1)", 15), ("19beta2", 19)])
def test_version_is_what_the_server_says(tmp_path: Path, version: str, major: int) -> None:
    assert binaries.Installation(tmp_path, version).major == major


def test_a_named_server_is_taken_when_it_is_new_enough(installed: Install) -> None:
    folder = installed("16.2")
    assert binaries.find("native", folder) == binaries.Installation(folder, "16.2")
    assert binaries.find("pgsync", folder).major == 16


@pytest.mark.parametrize(
    ("mode", "version", "word"),
    [("native", "15.18", "needs 16"), ("pgsync", "9.6.24", "needs 16"), ("pglogical", "17.1", "13 to 16")],
)
def test_a_version_that_does_not_suit_is_refused(installed: Install, mode: str, version: str, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        binaries.find(mode_of(mode), installed(version))


def test_pglogical_must_be_installed(installed: Install) -> None:
    folder = installed("15.18")
    with pytest.raises(AccountdbError, match=r"has no pglogical: no .*pglogical\.so") as raised:
        binaries.find("pglogical", folder)
    assert raised.value.hint == "apt-get install postgresql-15 postgresql-15-pglogical"
    (folder / "--pkglibdir").mkdir()
    (folder / "--pkglibdir" / "pglogical.so").touch()
    with pytest.raises(AccountdbError, match=r"pglogical\.control"):
        binaries.find("pglogical", folder)
    (folder / "--sharedir" / "extension").mkdir(parents=True)
    (folder / "--sharedir" / "extension" / "pglogical.control").touch()
    assert binaries.find("pglogical", folder).version == "15.18"


def test_what_does_not_run_says_why(installed: Install) -> None:
    folder = installed("17")
    (folder / "postgres").write_text("#!/bin/sh\necho no such library >&2\nexit 127\n", encoding="ascii")
    with pytest.raises(AccountdbError, match="postgres does not run: no such library"):
        binaries.find("native", folder)
    (folder / "postgres").chmod(0o644)
    with pytest.raises(AccountdbError, match="does not run: Permission denied"):
        binaries.find("native", folder)
    (folder / "initdb").unlink()
    with pytest.raises(UsageError, match="holds no initdb"):
        binaries.find("native", folder)


def test_only_an_installation_that_can_move_is_copied(tmp_path: Path) -> None:
    with pytest.raises(AccountdbError, match="cannot run"):
        binaries.copied(binaries.Installation(tmp_path, "17"), tmp_path / "new")


def test_a_copy_can_be_read_by_others(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin" / "postgres").touch(mode=0o700)
    (tree / "bin" / "data").touch(mode=0o600)
    (tree / "bin" / "link").symlink_to("postgres")
    copy = binaries.copied(binaries.Installation(tree / "bin", "17", tree=tree), tmp_path / "copy")
    assert copy.bin_dir == tmp_path / "copy" / "bin"
    modes = {path.name: path.stat().st_mode & 0o777 for path in copy.bin_dir.iterdir()}
    assert modes == {"postgres": 0o755, "data": 0o644, "link": 0o755}
    assert (copy.bin_dir / "link").is_symlink()
