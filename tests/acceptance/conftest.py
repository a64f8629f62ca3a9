"""Labs of both modes: ready ones, one for the whole session each, and those that tests join themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from accountdb.contract.row_contract import ACCOUNT_TABLES
from accountdb.lab import Lab
from accountdb.setup.ready import make_ready
from tests.acceptance.joining import healthy, join
from tests.conftest import Labs, eventually, migratectl, run_sql


@pytest.fixture(scope="session")
def ready_labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labs]:
    """Joined labs, one for each mode that is asked for, until the end: pytest itself would end one for the other."""
    with closing(Labs(tmp_path_factory, "ready", make_ready)) as labs:
        yield labs


@pytest.fixture(scope="session", params=["native", pytest.param("pglogical", marks=pytest.mark.pglogical)])
def ready_lab(request: pytest.FixtureRequest, ready_labs: Labs) -> Lab:
    """A joined lab. Its tests share it: each leaves the link healed, both servers up, streams running."""
    return ready_labs.of(request.param)


@pytest.fixture(scope="module")
def plain_labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labs]:
    """Labs of initialised regions, one for each mode that is asked for."""
    with closing(Labs(tmp_path_factory, "join", initialise)) as labs:
        yield labs


@pytest.fixture(scope="module", params=["native", pytest.param("pglogical", marks=pytest.mark.pglogical)])
def plain_lab(request: pytest.FixtureRequest, plain_labs: Labs) -> Lab:
    """Two regions that are initialised and not joined."""
    return plain_labs.of(request.param)


def initialise(lab: Lab) -> None:
    """``init`` of both regions."""
    for region in lab.regions:
        found = migratectl("init", "--dsn", region.app_dsn, "--admin-dsn", region.admin_dsn, "--mode", lab.mode)
        assert found.returncode == 0, found.stderr


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


@pytest.fixture
def joined(apart: Lab) -> Lab:
    """Two regions that follow each other; left again and emptied after the test."""
    for name in ("cn", "global"):
        found = join(apart, name)
        assert found.returncode == 0, found.stderr
    eventually(lambda: healthy(apart))
    return apart
