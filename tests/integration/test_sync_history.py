"""A source or a destination that is put back to what it was: told, or mended, and never followed blindly."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from accountdb.errors import Refused
from accountdb.lab import Lab
from accountdb.pg.dsn import with_params
from accountdb.sync.capture import Capture
from accountdb.sync.limit import parse
from tests.conftest import eventually, make_lab, run_sql, value
from tests.integration.restoring import ARCHIVED, Restorable, items
from tests.integration.syncing import Follow

_numbers = count()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two servers of this module's own, which it stops and puts back."""
    running = make_lab(tmp_path_factory.mktemp("history") / "lab", "native", ARCHIVED)
    yield running
    running.down()


@pytest.fixture(scope="module")
def source(servers: Lab) -> Restorable:
    return Restorable(servers, "global")


@pytest.fixture(scope="module")
def target(servers: Lab) -> Restorable:
    return Restorable(servers, "cn")


@pytest.fixture
def name() -> str:
    return f"items{next(_numbers)}"


def synced(source: Restorable, target: Restorable, name: str, capture: Capture) -> Follow:
    return items(source.database(name), target.database(name), logged=capture is Capture.LOG)


def change(pair: Follow, text: str) -> None:
    """Every kind of change, of other rows each time."""
    pair.here("UPDATE item SET v = %s WHERE id = (SELECT min(id) FROM item WHERE v = 'old')", text)
    pair.here("DELETE FROM item WHERE id = (SELECT max(id) FROM item WHERE v = 'old')")
    pair.here("INSERT INTO item SELECT max(id) + 100, %s FROM item", text)


def assert_told_and_mended(pair: Follow) -> None:
    """Refused, until somebody has everything compared."""
    before = pair.sides("item")[1]
    for _ in range(2):
        with pytest.raises(Refused, match="restored or has failed over since the last pass") as refused:
            pair.sync()
        assert refused.value.exit_status == 4
        assert "pgsync --once" in (refused.value.hint or "")
    assert pair.sides("item")[1] == before
    pair.sync(once=True, max_delete=parse("100%"))
    pair.assert_equal()
    change(pair, "after")
    assert not pair.sync(verify=True).full
    pair.assert_equal()


def test_a_restored_source_is_told(source: Restorable, target: Restorable, name: str) -> None:
    """To a moment between two passes: the destination has what the source has not any more."""
    pair = synced(source, target, name, Capture.LOG)
    source.keep()
    change(pair, "kept")
    pair.sync()
    source.mark(name)
    change(pair, "lost")
    pair.sync()
    pair.assert_equal()
    source.archived()
    source.recover(name)
    assert value(pair.source, "SELECT count(*) FROM item WHERE v = 'kept'") == 2
    assert value(pair.source, "SELECT count(*) FROM item WHERE v = 'lost'") == 0
    # So far that transaction ids say nothing any more.
    source.write_on(100)
    assert_told_and_mended(pair)


def test_a_source_that_has_failed_over_is_told_at_once(source: Restorable, target: Restorable, name: str) -> None:
    """Before the new server has made its first checkpoint, by which it would tell its history."""
    pair = synced(source, target, name, Capture.XMIN)
    source.keep()
    change(pair, "kept")
    source.archived()
    change(pair, "lost")
    pair.sync()
    source.fail_over()
    source.write_on(100)
    assert value(pair.source, "SELECT count(*) FROM item WHERE v = 'kept'") == 2
    assert_told_and_mended(pair)


def test_an_old_copy_of_the_source_is_told(source: Restorable, target: Restorable, name: str) -> None:
    """Its history has no other name, but its transactions are of the past."""
    pair = synced(source, target, name, Capture.XMIN)
    source.keep()
    change(pair, "lost")
    pair.sync()
    source.put_back()
    assert_told_and_mended(pair)


def test_an_old_copy_that_was_written_to_is_told_by_its_log(source: Restorable, target: Restorable, name: str) -> None:
    """Its history has no other name, and its transactions are as many: but it knows nothing of the last pass."""
    pair = synced(source, target, name, Capture.LOG)
    for text in ("one", "two"):
        change(pair, text)
        pair.sync()
    source.keep()
    change(pair, "lost")
    pair.sync()
    source.put_back()
    source.write_on(100)
    change(pair, "other")
    assert_told_and_mended(pair)


def test_an_old_copy_of_the_destination_is_brought_up(source: Restorable, target: Restorable, name: str) -> None:
    """The log has let go by then of what the copy lacks."""
    pair = synced(source, target, name, Capture.LOG)
    target.keep()
    for text in ("one", "two", "three"):
        change(pair, text)
        pair.sync()
    target.put_back()
    assert len(pair.sides("item")[1]) == 10
    receipt = pair.sync(verify=True, max_delete=parse("100%"))
    assert receipt.full
    pair.assert_equal()
    change(pair, "after")
    assert not pair.sync().full
    pair.assert_equal()


def test_a_source_that_was_dumped_and_loaded_is_another_database(
    source: Restorable, target: Restorable, name: str
) -> None:
    pair = synced(source, target, name, Capture.LOG)
    loaded = source.database(f"{name}_loaded")
    dump = source.region.data_dir.with_name(f"{name}.dump")
    programs = source.lab.bin_dir
    source.as_owner(programs / "pg_dump", "--format=custom", f"--file={dump}", pair.source)
    source.as_owner(programs / "pg_restore", f"--dbname={loaded}", dump)
    dump.unlink()
    # By its old name, too.
    old = with_params(source.region.admin_dsn, dbname="postgres")
    run_sql(old, f"ALTER DATABASE {name} RENAME TO {name}_old")
    run_sql(old, f"ALTER DATABASE {name}_loaded RENAME TO {name}")
    change(pair, "after")
    with pytest.raises(Refused, match="was synced from another database than the source is now") as refused:
        pair.sync()
    assert "pgsync --once" in (refused.value.hint or "")
    pair.sync(once=True)
    pair.assert_equal()
    change(pair, "more")
    pair.sync(verify=True)
    pair.assert_equal()


def test_a_standby_may_be_the_source(source: Restorable, target: Restorable, name: str) -> None:
    """By xmin, whatever is installed: nothing can be written there."""
    pair = synced(source, target, name, Capture.LOG)
    source.keep()
    change(pair, "after")
    source.archived()
    source.stand_by()
    eventually(lambda: value(pair.source, "SELECT count(*) FROM item WHERE v = 'after'") == 2)
    receipt = pair.sync(verify=True)
    assert (receipt.full, receipt.verified) == (True, True)
    pair.assert_equal()
    assert not pair.sync().full
    source.put_back()
