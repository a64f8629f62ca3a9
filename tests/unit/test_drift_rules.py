"""What is left out of a comparison, and that nothing else is."""

from __future__ import annotations

import pytest

from accountdb.drift.findings import side_by_side
from accountdb.drift.rules import RULES, reason
from accountdb.drift.structure import LeftOut, Structure, identity

GUARD = "CREATE TRIGGER accountdb_guard BEFORE UPDATE ON public.users EXECUTE FUNCTION accountdb.guard_users()"
PGLOGICAL = (
    "CREATE TRIGGER queue_truncate_trigger AFTER TRUNCATE ON public.users EXECUTE FUNCTION pglogical.queue_truncate()"
)

LEFT_OUT = [
    ("trigger", "public", "users", "accountdb_guard", GUARD),
    ("trigger", "shop", "orders", "accountdb_capture", GUARD),
    ("function", "accountdb", None, "guard_users()", "CREATE OR REPLACE FUNCTION ..."),
    ("function", "accountdb", None, "guard_shop.orders()", "CREATE OR REPLACE FUNCTION ..."),
    ("function", "accountdb", None, "capture_users()", "CREATE OR REPLACE FUNCTION ..."),
    ("table", "accountdb", None, "change_log", None),
    ("index", "accountdb", "change_log", "change_log_table_xid", None),
    ("table", "accountdb", None, "sync_watermark", None),
    ("function", "accountdb", None, "subscription_states()", "... FROM pglogical.subscription ..."),
    ("trigger", "public", "users", "queue_truncate_trigger", PGLOGICAL),
    ("trigger", "public", "users", "queue_truncate_trigger_16402", PGLOGICAL),
    ("table", "public", None, "schema_migrations", None),
    ("column", "public", "schema_migrations", "dirty", None),
    ("constraint", "public", "schema_migrations", "schema_migrations_pkey", "PRIMARY KEY (version)"),
]
COMPARED = [
    ("trigger", "public", "users", "trg_users_bump_version", GUARD),
    ("trigger", "public", "users", "accountdb_mine", GUARD.replace("accountdb.", "public.")),
    ("trigger", "public", "users", "queue_truncate_trigger", GUARD),
    ("trigger", "public", "accountdb_guard", "trg", GUARD),
    ("function", "public", None, "guard_users()", "CREATE OR REPLACE FUNCTION ..."),
    ("function", "accountdb", None, "subscription_states()", "... SELECT 1 ..."),
    ("function", "public", None, "subscription_states()", "... FROM pglogical.subscription ..."),
    ("function", "accountdb", None, "row_wins()", "CREATE OR REPLACE FUNCTION ..."),
    ("table", "accountdb", None, "schema_migrations", None),
    ("table", "public", None, "schema_migrations_old", None),
    ("column", "public", "users", "schema_migrations", None),
    ("index", "accountdb", "guard_notes", "guard_notes_idx", "CREATE INDEX ..."),
]


@pytest.mark.parametrize(("kind", "schema", "owner", "name", "definition"), LEFT_OUT)
def test_left_out_with_a_reason(kind: str, schema: str, owner: str | None, name: str, definition: str | None) -> None:
    assert reason(identity(kind, schema, owner, name), {"definition": definition})


@pytest.mark.parametrize(("kind", "schema", "owner", "name", "definition"), COMPARED)
def test_compared(kind: str, schema: str, owner: str | None, name: str, definition: str | None) -> None:
    assert reason(identity(kind, schema, owner, name), {"definition": definition}) is None


def test_every_rule_says_why() -> None:
    assert all(len(rule.why) > 20 for rule in RULES)


def test_of_many_the_report_names_a_few() -> None:
    left = tuple(LeftOut(identity("trigger", "public", f"t{n}", "accountdb_guard"), "generated") for n in range(9))
    what = side_by_side({"a": Structure({}), "b": Structure({}, left)}).not_compared[0].what
    assert what.endswith("trigger public.t2.accountdb_guard, 6 more")


def test_the_report_names_what_was_left_out_first() -> None:
    guards = tuple(
        LeftOut(identity("trigger", "public", table, "accountdb_guard"), "generated") for table in ("a", "b")
    )
    migrations = (
        LeftOut(identity("column", "public", "schema_migrations", "dirty"), "golang-migrate"),
        LeftOut(identity("table", "public", None, "schema_migrations"), "golang-migrate"),
    )
    first, second, *kinds = side_by_side({"a": Structure({}), "b": Structure({}, guards + migrations)}).not_compared
    assert first.what == "trigger public.a.accountdb_guard, trigger public.b.accountdb_guard"
    assert (second.what, second.why) == ("table public.schema_migrations", "golang-migrate")
    assert all(each.what and each.why for each in kinds)
