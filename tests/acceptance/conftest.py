"""Labs of both modes: ready ones, one for the whole session each, and those that tests join themselves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from accountdb.contract.row_contract import ACCOUNT_TABLES
from accountdb.lab import Lab
from accountdb.setup.ready import make_ready
from tests.conftest import make_lab, migratectl, run_sql


@pytest.fixture(scope="session", params=["native", pytest.param("pglogical", marks=pytest.mark.pglogical)])
def ready_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A joined lab. Its tests share it: each leaves the link healed, both servers up, streams running."""
    running = make_lab(tmp_path_factory.mktemp(request.param) / "lab", request.param)
    make_ready(running)
    yield running
    running.down()


@pytest.fixture(scope="module", params=["native", pytest.param("pglogical", marks=pytest.mark.pglogical)])
def plain_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two regions that are initialised and not joined."""
    lab = make_lab(tmp_path_factory.mktemp(f"join-{request.param}") / "lab", request.param)
    for region in lab.regions:
        found = migratectl("init", "--dsn", region.app_dsn, "--admin-dsn", region.admin_dsn, "--mode", lab.mode)
        assert found.returncode == 0, found.stderr
    yield lab
    lab.down()


@pytest.fixture
def apart(plain_lab: Lab) -> Iterator[Lab]:
    """The same, left again and emptied after the test."""
    yield plain_lab
    plain_lab.heal()
    for name in ("cn", "global", "cn"):
        found = migratectl("region", "leave", "--dsn", plain_lab.region(name).admin_dsn)
        assert found.returncode == 0, found.stderr
    for region in plain_lab.regions:
        run_sql(
            region.admin_dsn,
            "SET session_replication_role = replica; SET accountdb.allow_truncate = on;"
            f" TRUNCATE {', '.join(ACCOUNT_TABLES)}, accountdb.tombstone, accountdb.conflict, accountdb.resolution",
        )
