"""A guard that does not know its table any more: the stream waits, and nothing is lost."""

from __future__ import annotations

from uuid import uuid4

from accountdb.lab import Lab
from tests.conftest import eventually, migratectl, rows, run_sql


def test_a_guard_that_is_older_than_a_column_stops_the_stream_and_loses_nothing(ready_lab: Lab) -> None:
    """A column that was added by hand in both regions, before init."""
    cn, there = (ready_lab.region(name).admin_dsn for name in ("cn", "global"))
    name = uuid4().hex
    for dsn in (cn, there):
        run_sql(dsn, "ALTER TABLE users ADD COLUMN nick text")
    try:
        run_sql(cn, "INSERT INTO users (username, password, nick) VALUES (%s, 'x', 'kept')", name)
        found = "finding: global: guard on users is outdated"
        eventually(lambda: found in migratectl("status", env=ready_lab.env()).stderr)
        eventually(
            lambda: "sub_from_cn is down" in migratectl("status", env=ready_lab.env()).stderr,
            what="a stream that waits",
        )
        for dsn in (cn, there):
            assert migratectl("init", "--dsn", dsn, "--mode", ready_lab.mode).returncode == 0
            assert migratectl("region", "resume", "--dsn", dsn).returncode == 0
        nick = "SELECT nick FROM users WHERE username = %s"
        eventually(lambda: rows(there, nick, name) == [("kept",)], what="the row with its new column")
        assert (
            rows(there, "SELECT FROM accountdb.conflict WHERE kind = 'unknown' AND loser ->> 'username' = %s", name)
            == []
        )
    finally:
        for dsn in (cn, there):
            run_sql(dsn, "ALTER TABLE users DROP COLUMN nick")
            assert migratectl("init", "--dsn", dsn, "--mode", ready_lab.mode).returncode == 0
            assert migratectl("region", "resume", "--dsn", dsn).returncode == 0
    eventually(lambda: migratectl("diff", env=ready_lab.env()).returncode == 0)
