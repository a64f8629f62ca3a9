"""200 seconds of the demo's load on both engines, beside all other tests: no error in any server log."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from accountdb.demo.load import Load, Writer
from accountdb.demo.watch import take
from accountdb.lab import Lab, Mode
from accountdb.setup.ready import make_ready
from tests.conftest import PGLOGICAL_LIBRARY, eventually, make_lab

SECONDS = 200.0
PER_SECOND = 25.0
_BAD = re.compile(r"\b(?:ERROR|FATAL|PANIC|WARNING):")


@dataclass
class Soak:
    """One lab under load since ``began``."""

    lab: Lab
    writers: list[Writer]
    load: Load
    began: float
    log_sizes: dict[str, int]
    """Of each server's log when the load began: a server that starts tells early callers to wait."""


@pytest.fixture(scope="session")
def soaks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Soak]]:
    modes: list[Mode] = ["native", "pglogical"] if PGLOGICAL_LIBRARY.exists() else ["native"]
    found: dict[str, Soak] = {}
    for mode in modes:
        lab = make_lab(tmp_path_factory.mktemp(f"soak-{mode}") / "lab", mode)
        make_ready(lab)
        writers = [Writer(region.name, region.app_dsn) for region in lab.regions]
        for writer in writers:
            writer.register(40)
        hot = [user for writer in writers for user in writer.users[:20]]
        for writer in writers:
            writer.hot = hot
        load = Load(writers, PER_SECOND)
        load.start()
        sizes: dict[str, int] = {region.name: region.log_file.stat().st_size for region in lab.regions}
        found[mode] = Soak(lab, writers, load, time.monotonic(), sizes)
    yield found
    for soak in found.values():
        soak.lab.down()


@pytest.mark.first
def test_the_soak_begins(soaks: dict[str, Soak]) -> None:
    assert soaks


@pytest.mark.last
@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("mode", ["native", pytest.param("pglogical", marks=pytest.mark.pglogical)])
def test_the_soak_left_no_error_and_equal_regions(soaks: dict[str, Soak], mode: str) -> None:
    soak = soaks[mode]
    eventually(lambda: time.monotonic() - soak.began >= SECONDS, within_s=SECONDS + 10, what="the end of the soak")
    soak.load.stop()
    assert sum(writer.transactions for writer in soak.writers) > SECONDS * PER_SECOND
    eventually(lambda: take(soak.lab, "").equal, what="equal regions")
    for region in soak.lab.regions:
        log = region.log_file.read_bytes()[soak.log_sizes[region.name] :].decode()
        bad = [line for line in log.splitlines() if _BAD.search(line)]
        assert bad == [], f"{mode} {region.name}"
