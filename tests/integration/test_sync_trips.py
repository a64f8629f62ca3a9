"""How often a pass waits for the source: over a slow link that is what a pass takes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from accountdb.contract.row_contract import ACCOUNT_TABLES
from accountdb.lab import Lab
from accountdb.pg.connect import Connection, connect
from accountdb.sync import side
from accountdb.sync.model import SOURCE
from tests.conftest import Databases
from tests.integration.syncing import accounts


def turns(trace: Path) -> int:
    """How often the client spoke after the server had: each time it had waited."""
    speakers = [
        fields[1] for line in trace.read_text(errors="replace").splitlines() if len(fields := line.split("\t")) > 3
    ]
    return sum(one == "B" and other == "F" for one, other in pairwise(speakers))


def test_a_pass_with_nothing_to_do_waits_the_same_few_times_whatever_tables_it_has(
    databases: Databases, native_lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "trace"
    pair = accounts(databases, native_lab)

    with trace.open("wb") as out:

        def traced(dsn: str, **options: Any) -> Connection:
            conn = connect(dsn, **options)
            if options["name"] == SOURCE:
                out.truncate(0)
                out.seek(0)
                conn.pgconn.trace(out.fileno())
            return conn

        monkeypatch.setattr(side, "connect", traced)
        found = []
        for tables in (("users",), ACCOUNT_TABLES):
            some = pair.of(*tables).logged()
            some.sync(str(len(tables)))
            some.sync(str(len(tables)))
            found.append(turns(trace))
    # An answer may come while the next questions are still being sent: a turn or two, but none for each table.
    assert 5 < found[0] <= 20
    assert found[1] <= found[0] + 3
