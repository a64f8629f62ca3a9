"""Connections for properties that ask a database in every example."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from accountdb.pg.connect import Connection, connect
from tests.conftest import Databases


@pytest.fixture(scope="module")
def conn(databases: Databases) -> Iterator[Connection]:
    """One connection for all examples, with session settings that must not matter."""
    with connect(databases.migrated(), autocommit=True) as opened:
        opened.execute("SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'German'")
        yield opened


@pytest.fixture(scope="module")
def conn_15(databases_15: Databases) -> Iterator[Connection]:
    """The same on PostgreSQL 15, which has ICU collations."""
    with connect(databases_15.migrated(), autocommit=True) as opened:
        yield opened
