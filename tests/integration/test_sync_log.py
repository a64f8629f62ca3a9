"""What the change log still holds: for each destination, whatever becomes of it or of the others."""

from __future__ import annotations

from typing import Any

import pytest

from accountdb.lab import Lab
from accountdb.sync import passes, watermark
from tests.conftest import Databases, as_role, run_sql, value
from tests.integration.syncing import Follow, accounts

KEEP = "CREATE TABLE accountdb.kept AS TABLE accountdb.sync_watermark"
GO_BACK = (
    "UPDATE accountdb.sync_watermark AS w SET snapshot = k.snapshot, taken_at = k.taken_at"
    " FROM accountdb.kept AS k WHERE (w.job, w.table_name) = (k.job, k.table_name)"
)


@pytest.fixture
def pair(databases: Databases, native_lab: Lab) -> Follow:
    found = accounts(databases, native_lab).of("users").logged()
    found.here("INSERT INTO users (username, password) SELECT 'u' || n, 'x' FROM generate_series(1, 10) AS n")
    return found


def test_a_destination_that_goes_back_misses_nothing(pair: Follow) -> None:
    """Restored from a backup, say: what it had applied by then is no longer in the log."""
    pair.sync()
    pair.there(KEEP)
    pair.here("UPDATE users SET level = 7 WHERE username = 'u1'")
    pair.sync()
    pair.here("UPDATE users SET level = 8 WHERE username = 'u2'")
    pair.sync()
    pair.there("UPDATE users SET level = 20")
    pair.there(GO_BACK)
    pair.sync()
    pair.assert_equal()


def test_what_changes_during_the_first_load_of_another_destination_is_kept_for_it(
    pair: Follow, native_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On another server: what is under way in the source's own keeps its log.
    elsewhere = Databases(native_lab.region("global").admin_dsn)
    other = Follow(pair.source, as_role(elsewhere.migrated(), native_lab.region("global").app_dsn), pair.tables)
    pair.sync("quick")

    def meanwhile(*words: Any) -> None:
        monkeypatch.undo()
        pair.here("UPDATE users SET level = 7 WHERE username = 'u1'")
        pair.sync("quick")
        pair.here("UPDATE users SET level = 8 WHERE username = 'u2'")
        pair.sync("quick")
        watermark.move(*words)

    monkeypatch.setattr(passes, "move", meanwhile)
    other.sync("slow")
    other.sync("slow")
    other.assert_equal()
    assert value(other.target, "SELECT level FROM users WHERE username = 'u1'") == 7


def test_a_destination_that_nobody_keeps_the_log_for_any_more_is_compared(pair: Follow) -> None:
    pair.sync()
    run_sql(pair.source, "DELETE FROM accountdb.change_reader")
    pair.here("UPDATE users SET level = 7 WHERE username = 'u1'")
    run_sql(pair.source, "DELETE FROM accountdb.change_log")
    assert pair.sync().full
    pair.assert_equal()
