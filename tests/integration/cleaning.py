"""Running ``migratectl clean`` as a user."""

from __future__ import annotations

from tests.conftest import migratectl


def listed(*options: str, status: int) -> str:
    """The list of a run that ends with ``status``."""
    found = migratectl("clean", *options)
    assert found.returncode == status, found.stdout + found.stderr
    return found.stdout
