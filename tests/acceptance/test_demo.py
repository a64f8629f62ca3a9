"""The demo, as a user runs it."""

from __future__ import annotations

import pytest

from tests.conftest import run_script


@pytest.mark.parametrize("mode", ["native", pytest.param("pglogical", marks=pytest.mark.pglogical)])
def test_the_demo_ends_equal_and_says_so(mode: str) -> None:
    found = run_script("migratectl", "demo", "--mode", mode, "--accounts", "120", "--seconds", "2", timeout_s=200)
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.splitlines()[-1].startswith("EQUAL: ")
    assert "the link is cut" in found.stdout
    # The same rows were edited on both sides while the link was cut.
    assert "all on record: 0 in cn" not in found.stdout


def test_a_mode_without_two_way_streams_is_refused() -> None:
    found = run_script("migratectl", "demo", "--mode", "pgsync")
    assert found.returncode == 2
    assert "error: " in found.stderr
    assert "hint: " in found.stderr
