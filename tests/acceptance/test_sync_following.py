"""One-way sync while others write: a share of `python -m proof.following`, which makes 1,000 passes."""

from __future__ import annotations

import pytest

from accountdb.lab import Lab
from accountdb.sync.capture import Capture
from proof import following
from tests.conftest import Databases
from tests.integration.syncing import accounts


@pytest.mark.parametrize("capture", Capture)
def test_no_row_is_missed_whatever_commits_when(databases: Databases, native_lab: Lab, capture: Capture) -> None:
    pair = accounts(databases, native_lab)
    outcome = following.follow(pair.source, pair.target, capture, passes=40, seed=7)
    assert outcome.faults == ()
    assert outcome.committed > 20
    assert outcome.written > 40
