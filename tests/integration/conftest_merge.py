"""Two regions without streams for the tests of ``migratectl merge`` and ``migratectl undo``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from accountdb.lab import Lab
from tests.conftest import Databases
from tests.integration.merging import ACCOUNT, Apart, regions_apart


@pytest.fixture(scope="module")
def two(databases: Databases, native_lab: Lab) -> Iterator[Apart]:
    """Two regions for all tests of a file."""
    with regions_apart(databases, native_lab) as found:
        yield found


@pytest.fixture
def apart(two: Apart) -> Apart:
    """The same, emptied."""
    two.empty(*ACCOUNT)
    return two


@pytest.fixture
def own(databases: Databases, native_lab: Lab) -> Iterator[Apart]:
    """Two regions that a test may change in any way."""
    with regions_apart(databases, native_lab) as found:
        yield found
