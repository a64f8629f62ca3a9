"""A source whose transaction ids, of 32 bits in its rows, begin again: nothing is missed on either side."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from accountdb.lab import Lab
from accountdb.pg.dsn import with_params
from accountdb.sync.capture import Capture
from accountdb.sync.limit import parse
from tests.conftest import make_lab, rows, run_sql, value
from tests.integration.restoring import Restorable, items
from tests.integration.syncing import Follow, begin

_ROUND = 1 << 32
# Transactions for which one file of their outcomes has room, and its size.
_IN_FILE, _FILE_BYTES = 1 << 20, 1 << 18


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two servers of this module's own: the years of one of them go by fast."""
    running = make_lab(tmp_path_factory.mktemp("wraparound") / "lab", "native")
    yield running
    running.down()


def move_on(source: Restorable, xid: int) -> None:
    """Have the server's next transaction be ``xid``, as if it had made all of those before."""
    for (name,) in rows(source.region.admin_dsn, "SELECT datname FROM pg_database WHERE datallowconn"):
        run_sql(with_params(source.region.admin_dsn, dbname=name), "VACUUM (FREEZE)")
    source.lab.stop(source.name)
    outcomes = source.region.data_dir / "pg_xact" / f"{xid // _IN_FILE:04X}"
    if not outcomes.exists():
        source.as_owner("truncate", "--size", str(_FILE_BYTES), outcomes)
    source.as_owner(source.lab.bin_dir / "pg_resetwal", "--next-transaction-id", str(xid), source.region.data_dir)
    source.lab.start(source.name)
    assert next_xid(source) % _ROUND >= xid


def next_xid(source: Restorable) -> int:
    return int(value(source.region.admin_dsn, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::numeric"))


def change(pair: Follow, text: str) -> None:
    pair.here("UPDATE item SET v = %s WHERE mod(id, 3) = 1 AND id < 100", text)
    pair.here(
        "DELETE FROM item WHERE id = (SELECT max(id) FROM item WHERE id > 10 AND id < (SELECT max(id) FROM item))"
    )
    pair.here("INSERT INTO item SELECT max(id) + 100, %s FROM item", text)


@pytest.fixture
def source(servers: Lab) -> Restorable:
    found = Restorable(servers, "global")
    # Nobody vacuums it otherwise, and it would stop before its ids meet.
    run_sql(found.region.admin_dsn, "UPDATE pg_database SET datallowconn = true WHERE NOT datallowconn")
    return found


def test_nothing_is_missed_when_transaction_ids_begin_again(servers: Lab, source: Restorable) -> None:
    target = Restorable(servers, "cn")
    pairs = {
        capture: items(source.database(capture), target.database(capture), logged=capture is Capture.LOG)
        for capture in Capture
    }

    def followed(text: str, *, far: bool = False) -> None:
        """Every kind of change arrives; from the rows' ids only what is near."""
        for capture, pair in pairs.items():
            change(pair, text)
            receipt = pair.sync(max_delete=parse("100%"))
            assert receipt.full == (far and capture is Capture.XMIN)
            counts = receipt.tables["public.item"]
            # Six of its first rows never change, and are not looked at again however old they are.
            assert receipt.full or counts.unchanged < 4, counts
            pair.assert_equal()

    followed("near")
    for xid in (1_500_000_000, 3_000_000_000, _ROUND - 300):
        for pair in pairs.values():
            change(pair, f"before {xid}")
        move_on(source, xid)
        followed(f"after {xid}", far=True)
        followed(f"near {xid}")
    assert next_xid(source) < _ROUND
    late = []
    for pair in pairs.values():
        late.append(begin(pair.source))
        late[-1].execute("SAVEPOINT one; UPDATE item SET v = 'late' WHERE id = 2; RELEASE SAVEPOINT one")
        change(pair, "just before")
    source.write_on(300)
    assert next_xid(source) > _ROUND
    followed("after")
    for conn in late:
        with conn:
            conn.commit()
    followed("with what came late")
    for pair in pairs.values():
        assert value(pair.target, "SELECT v FROM item WHERE id = 2") == "late"
        run_sql(pair.source, "VACUUM (FREEZE) item")
    followed("frozen")
