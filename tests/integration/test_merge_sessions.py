"""The sessions of a merge: who is gone without a word is found out, and what a killed run left is cleaned up."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from accountdb.merge.writer import open_writers
from accountdb.pg.connect import connect
from accountdb.pg.dsn import with_params
from tests.conftest import eventually, rows, run_sql, value

_ORIGINS = "SELECT roname FROM pg_replication_origin ORDER BY roname"
_PREFIX = "SELECT 'accountdb_merge_' || oid || '_' FROM pg_database WHERE datname = current_database()"


def test_origins_of_a_killed_run_are_dropped_by_the_next(migrated: str) -> None:
    prefix = value(migrated, _PREFIX)
    left = [f"{prefix}0", f"{prefix}0_0badcafe"]
    # Of another database of the same server, where a merge may be at work.
    foreign = f"accountdb_merge_{2**31}_0"
    for name in (*left, foreign):
        run_sql(migrated, "SELECT pg_replication_origin_create(%s)", name)
    try:
        with open_writers("cn", migrated, 2) as writers:
            assert [writer.origin for writer in writers] == [f"{prefix}0", f"{prefix}1"]
            found = {name for (name,) in rows(migrated, _ORIGINS)}
            assert {foreign, f"{prefix}0", f"{prefix}1"} <= found
            assert left[1] not in found
        assert not {name for (name,) in rows(migrated, _ORIGINS) if name.startswith(prefix)}
    finally:
        run_sql(migrated, "SELECT pg_replication_origin_drop(%s)", foreign)


def test_an_origin_that_a_dying_session_still_holds_is_left_to_the_next_run(migrated: str) -> None:
    prefix = value(migrated, _PREFIX)
    run_sql(migrated, "SELECT pg_replication_origin_create(%s)", f"{prefix}0")
    with connect(migrated, autocommit=True) as dying:
        dying.execute("SELECT pg_replication_origin_session_setup(%s)", (f"{prefix}0",))
        with open_writers("cn", migrated, 1) as (writer,):
            assert writer.origin is not None
            assert writer.origin.startswith(f"{prefix}0_")
        assert (f"{prefix}0",) in rows(migrated, _ORIGINS)
    with open_writers("cn", migrated, 1) as (writer,):
        assert writer.origin == f"{prefix}0"
    assert not [name for (name,) in rows(migrated, _ORIGINS) if name.startswith(prefix)]


def test_a_server_finds_out_that_a_merge_is_gone(migrated: str) -> None:
    """Else its locks would stand for hours: a merge holds an empty table alone while it loads it."""
    with open_writers("cn", migrated, 1) as (writer,):
        settings = {
            name: writer.conn.execute("SELECT current_setting(%s)", (name,)).fetchone()
            for name in (
                "tcp_keepalives_idle",
                "tcp_keepalives_interval",
                "tcp_keepalives_count",
                "tcp_user_timeout",
                "client_connection_check_interval",
                "idle_in_transaction_session_timeout",
                "lock_timeout",
            )
        }
    assert [found and found[0] for found in settings.values()] == ["30", "10", "3", "60000", "5s", "15min", "10s"]


def test_a_server_ends_a_long_statement_of_a_merge_that_is_gone(migrated: str) -> None:
    with open_writers("cn", migrated, 1) as (writer,), ThreadPoolExecutor(1) as pool:
        pid = writer.conn.info.backend_pid
        long = pool.submit(writer.conn.execute, "SELECT pg_sleep(120)")
        session = "SELECT state FROM pg_stat_activity WHERE pid = %s"
        eventually(lambda: rows(migrated, session, pid) == [("active",)])
        # What its death does to the connection.
        with socket.socket(fileno=socket.dup(writer.conn.fileno())) as connection:
            connection.shutdown(socket.SHUT_RDWR)
        assert isinstance(long.exception(), psycopg.OperationalError)
        eventually(lambda: rows(migrated, session, pid) == [], what="the end of the session")


@pytest.mark.parametrize(("dsn_has", "idle"), [({}, 30), ({"keepalives_idle": "7"}, 7)])
def test_a_command_finds_out_that_a_server_is_gone(migrated: str, dsn_has: dict[str, str], idle: int) -> None:
    with (
        connect(with_params(migrated, **dsn_has)) as conn,
        socket.socket(fileno=socket.dup(conn.fileno())) as found,
    ):
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        assert [found.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [idle, 10, 3, 60000]
        assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
