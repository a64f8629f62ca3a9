"""Ready labs of both modes, one for the whole session each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from accountdb.lab import Lab
from accountdb.setup.ready import make_ready
from tests.conftest import make_lab


@pytest.fixture(scope="session", params=["native", pytest.param("pglogical", marks=pytest.mark.pglogical)])
def ready_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A joined lab. Its tests share it: each leaves the link healed, both servers up, streams running."""
    running = make_lab(tmp_path_factory.mktemp(request.param) / "lab", request.param)
    make_ready(running)
    yield running
    running.down()
