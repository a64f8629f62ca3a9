"""The same random programs, settled by two merge jobs of pgsync, one each way, with ordinary rights.

When both have run, the laws of the programs hold, and a further pass each way writes nothing; where the
changes are logged it does not even look: what was synced does not come back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from accountdb.compare.model import Unwatched
from accountdb.lab import Lab
from accountdb.sync.config import Job
from accountdb.sync.installing import install
from accountdb.sync.limit import Limit
from accountdb.sync.model import PassOptions, Receipt
from accountdb.sync.passes import run_pass
from tests.conftest import Databases
from tests.integration.merging import Apart, regions_apart
from tests.integration.programs import DDL, PHASES, TABLES, WORLDS, Known, assert_lawful, world_of, write

_MOST_ROUNDS = 4


@pytest.fixture(params=["xmin", "log"])
def apart(request: pytest.FixtureRequest, databases: Databases, native_lab: Lab) -> Iterator[Apart]:
    """Two regions, synced as the ordinary role that owns the tables."""
    with regions_apart(databases, native_lab, *DDL) as found:
        if request.param == "log":
            for job in jobs(found.by("owner")).values():
                assert all(one.table for one in install(job))
        yield found.by("owner")


def jobs(apart: Apart) -> dict[str, Job]:
    """One job each way."""
    cn, global_ = apart.dsns["cn"], apart.dsns["global"]
    return {
        name: Job.model_validate(
            {
                "source": {"dsn": source},
                "destination": {"dsn": target},
                "policy": "merge",
                "tables": {table: {} for table in TABLES},
            }
        )
        for name, source, target in (("to_global", cn, global_), ("to_cn", global_, cn))
    }


def sync(apart: Apart, **options: Any) -> list[Receipt]:
    """A pass each way."""
    found = []
    for name, job in jobs(apart).items():
        receipt = run_pass(name, job, PassOptions(max_delete=Limit(100, percent=True), **options), Unwatched())
        assert receipt is not None
        found.append(receipt)
    return found


def written(receipts: list[Receipt]) -> int:
    return sum(counts.written for receipt in receipts for counts in receipt.tables.values())


def read(receipts: list[Receipt]) -> int:
    return sum(counts.read for receipt in receipts for counts in receipt.tables.values())


@pytest.mark.parametrize("seed", range(100, 103))
def test_programs(apart: Apart, request: pytest.FixtureRequest, seed: int) -> None:
    worlds = [world_of(seed, number) for number in range(WORLDS)]
    for phase in range(PHASES):
        write(apart, worlds, phase)
        before = Known.look(apart)
        rounds = 1
        # The first pass each way brings what both had; what a guard made of it may have to go back.
        while written(sync(apart)):
            rounds += 1
            assert rounds <= _MOST_ROUNDS
        assert_lawful(apart, worlds, before, phase)
        apart.assert_lawful()
        if "log" in request.node.callspec.id:
            assert read(sync(apart)) == 0
        assert written(sync(apart, once=True)) == 0
        assert all(receipt.verified for receipt in sync(apart, verify=True))
