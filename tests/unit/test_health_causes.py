"""Why a stream is down, and what mends it: out of made-up readings."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import pytest

from accountdb.errors import ConnectError
from accountdb.guards.install import GuardState, TableGuard
from accountdb.health.advice import Level
from accountdb.health.model import LogLine, Silence, Workers
from accountdb.health.restored import unsure
from accountdb.health.status import judge
from accountdb.health.streams import StreamStatus
from accountdb.replication.model import Mode, State
from tests.unit.readings import ago, down, mesh, reading, slot

CN = reading("cn", ("global",))
REFUSED = 'could not connect to the publisher: connection to server at "db", port 1 failed: Connection refused'


def judged(**changed: dict[str, Any]) -> StreamStatus:
    """The stream into CN, after changes of both readings."""
    (stream,) = judge(mesh("cn", "global", **changed)).regions[0].streams
    return stream


def told(message: str, *, seconds_ago: float = 1, of_worker: bool = False, **also: Any) -> dict[str, Any]:
    """CN's stream down, and the last line of its log."""
    return {**down(CN), "log": (LogLine("ERROR", message, of_worker, "7", ago(seconds_ago)),), **also}


def test_all_is_well() -> None:
    status = judge(mesh("cn", "global"))
    assert status.healthy
    stream = status.regions[0].streams[0]
    assert (stream.state, stream.provider, stream.cause, stream.reason) == (State.REPLICATING, "global", None, None)


@pytest.mark.parametrize(
    ("message", "cause", "command"),
    [
        (REFUSED, "link", 'migratectl region resume --dsn "$CN_DSN"'),
        ("data stream ended", "link", 'migratectl region resume --dsn "$CN_DSN"'),
        (
            'connection failed: FATAL:  password authentication failed for user "r"',
            "password",
            'migratectl region password --dsn "$CN_DSN" --provider-dsn "$GLOBAL_DSN"',
        ),
        ('FATAL:  role "r" does not exist', "password", "migratectl region password"),
        ('FATAL:  no pg_hba.conf entry for host "1.2.3.4", user "r"', "password", "migratectl region password"),
        (
            "out of logical replication worker slots",
            "workers",
            """psql "$CN_DSN" -c 'ALTER SYSTEM SET max_logical_replication_workers = 8'""",
        ),
        (
            'could not start WAL streaming: ERROR:  replication slot "node_cn_sub_from_global" does not exist',
            "slot_missing",
            'migratectl region resync --cn "$CN_DSN" --global "$GLOBAL_DSN" --region cn',
        ),
        (
            'logical replication target relation "public.users" is missing replicated column: "a"',
            "structure",
            'migratectl region pause --dsn "$CN_DSN"',
        ),
        ("unknown column name a", "structure", "migratectl region pause"),
        ("cannot execute INSERT in a read-only transaction", "read_only", "psql"),
    ],
)
def test_the_log_tells(message: str, cause: str, command: str) -> None:
    stream = judged(cn=told(message))
    assert (stream.state, stream.cause) == (State.DOWN, cause)
    assert stream.remedy.commands[0].startswith(command), stream.remedy


def test_a_change_that_cannot_be_applied_is_shown_by_unblock() -> None:
    stream = judged(cn=told("duplicate key", of_worker=True))
    assert stream.cause == "apply"
    assert stream.remedy.commands == ('migratectl unblock --cn "$CN_DSN" --global "$GLOBAL_DSN"',)


def test_where_a_guard_is_not_in_place_it_comes_first() -> None:
    guards = (TableGuard("public", "users", GuardState.DISABLED), TableGuard("public", "odd", GuardState.INSTALLED))
    stream = judged(cn=told("duplicate key", of_worker=True, guards=guards))
    assert (stream.cause, stream.reason) == ("guard", "duplicate key; not guarded: users (disabled)")
    assert stream.remedy.commands[0] == 'migratectl init --dsn "$CN_DSN" --mode native'


def test_a_column_that_is_missing_is_the_cause_whatever_the_error_says() -> None:
    there = {"public.users": ("uuid", "username", "a", "b"), "public.new": ("uuid",), "public.own": ("uuid",)}
    offered = ("public.users", "public.new")
    stream = judged(cn=told("strange", of_worker=True), **{"global": {"columns": there, "replicated": offered}})
    assert (stream.cause, stream.reason) == (
        "structure",
        "cn has no public.new, public.users.a, public.users.b: strange",
    )


@pytest.mark.parametrize(
    ("tried_ago", "started_ago", "ahead", "cause"),
    [
        (20, 10, 0, "restarted"),  # not tried since
        (3, 10, 0, "link"),
        (3, 10, 60, "restarted"),  # the receiver's clock is a minute ahead: it was before
        (20, 10, -60, "link"),
        (9, 10, 0, "restarted"),  # too early
        (5, 86400, 0, "link"),
    ],
)
def test_a_restart_is_told_from_a_cut_link(tried_ago: float, started_ago: float, ahead: float, cause: str) -> None:
    stream = judged(
        cn=told(REFUSED, seconds_ago=tried_ago, skew_s=ahead), **{"global": {"started_at": ago(started_ago)}}
    )
    assert stream.cause == cause


def test_a_server_that_is_starting_up_restarted() -> None:
    starting = "connection to server failed: FATAL:  the database system is starting up"
    assert judged(cn=told(starting), **{"global": {"started_at": ago(30)}}).cause == "restarted"


@pytest.mark.parametrize(
    ("end", "looked_at", "cause"),
    [
        (5000, 2.0, None),
        (4999, 2.0, "restored"),
        # The log may have grown, and been applied, between the two looks.
        (4999, 0.5, None),
    ],
)
def test_a_provider_that_was_put_back(end: int, looked_at: float, cause: str | None) -> None:
    slots = (slot("node_cn_sub_from_global", position=4000),)
    provider = {"log_end": end, "log_end_at": looked_at, "slots": slots}
    receiver = {"applied": {"node_cn_sub_from_global": 5000}, "applied_at": 1.0}
    found = mesh("cn", "global", cn=receiver, **{"global": provider})
    assert judge(found).regions[0].streams[0].cause == cause
    assert list(unsure(found)) == (["global"] if looked_at < 1 else [])


def test_a_slot_that_is_ahead_of_its_own_log_was_put_back() -> None:
    provider = {"log_end": 3999, "slots": (slot("node_cn_sub_from_global", position=4000),)}
    assert judged(**{"global": provider}).cause == "restored"


@pytest.mark.parametrize(
    ("slots", "cause"),
    [
        ((), "slot_missing"),
        ((slot("node_cn_sub_from_global", active=False, lost=True, wal_status="lost"),), "slot_lost"),
    ],
)
def test_the_slot_comes_before_what_the_log_says(slots: Any, cause: str) -> None:
    stream = judged(cn=told(REFUSED), **{"global": {"slots": slots}})
    assert (stream.cause, stream.state) == (cause, State.DOWN)
    assert "region resync" in stream.remedy.commands[0]


def test_a_worker_that_believes_that_it_streams() -> None:
    away = {"slots": (slot("node_cn_sub_from_global", active=False),)}
    assert judged(**{"global": away}).state is State.DOWN


def test_a_slot_that_is_not_seen_may_be_where_nobody_answered() -> None:
    readings = mesh("cn", "global", cn=down(CN))
    readings["global"] = Silence("global", ConnectError("refused"))
    (stream,) = judge(readings).regions[0].streams
    assert (stream.cause, stream.provider) == ("provider", "global")


def test_what_keeps_the_provider_from_sending() -> None:
    own = "node_cn_sub_from_global"
    failed = LogLine("ERROR", "cache lookup failed", False, "9", ago(2), own)
    stream = judged(cn=told("data stream ended", seconds_ago=2), **{"global": {"log": (failed,)}})
    assert (stream.cause, stream.reason) == ("slot_unreadable", "global cannot send: cache lookup failed")
    # An old one is not why the link is cut now.
    stream = judged(cn=told(REFUSED, seconds_ago=2), **{"global": {"log": (replace(failed, at=ago(600)),)}})
    assert stream.cause == "link"
    # Nor is one of another slot.
    stream = judged(
        cn=told("data stream ended", seconds_ago=2), **{"global": {"log": (replace(failed, sending="other"),)}}
    )
    assert stream.cause == "link"


def test_errors_of_who_reads_from_here_are_not_of_a_stream_into_here() -> None:
    line = LogLine("ERROR", 'replication slot "node_global_sub_from_cn" already exists', False, "8", ago(1))
    stream = judged(cn={**down(CN), "log": (LogLine("ERROR", REFUSED, False, "7", ago(2)), line)})
    assert stream.cause == "link"


def test_each_of_two_streams_has_its_own_cause() -> None:
    cn = reading("cn", ("eu", "us"))
    log = (
        LogLine("LOG", 'apply worker for subscription "sub_from_eu" has started', False, "1", ago(5)),
        LogLine("LOG", 'apply worker for subscription "sub_from_us" has started', False, "2", ago(5)),
        LogLine("ERROR", "password authentication failed", False, "1", ago(4)),
        LogLine("ERROR", REFUSED, False, "2", ago(3)),
    )
    streams = judge(mesh("cn", "eu", "us", cn={**down(cn), "log": log})).regions[0].streams
    assert [(s.provider, s.cause) for s in streams] == [("eu", "password"), ("us", "link")]
    assert streams[0].remedy.commands == (
        'migratectl region password --dsn "$CN_DSN" --subscription sub_from_eu --provider-dsn "$EU_DSN"',
    )


def test_a_resync_in_a_mesh_names_the_two_that_it_is_about() -> None:
    readings = mesh("cn", "eu", "us", eu={"slots": (slot("node_us_sub_from_eu"),)})
    stream = judge(readings).regions[0].streams[0]
    assert stream.cause is None  # the worker says that it streams, and nothing says that it does not
    readings = mesh(
        "cn", "eu", "us", cn=down(reading("cn", ("eu", "us"))), eu={"slots": (slot("node_us_sub_from_eu"),)}
    )
    stream = judge(readings).regions[0].streams[0]
    assert (stream.provider, stream.cause) == ("eu", "slot_missing")
    assert stream.remedy.commands == ('migratectl region resync --node cn="$CN_DSN" --node eu="$EU_DSN" --region cn',)


def test_workers_that_are_used_up_are_told_without_a_log() -> None:
    stream = judged(cn={**down(CN), "workers": Workers(1, 1, 8, True)})
    assert stream.cause == "workers"
    assert len(stream.remedy.commands) == 2  # processes too: 8 are not enough
    assert "restart the server of cn" in stream.remedy.says


def test_a_role_that_may_not_read_the_log_is_told_so() -> None:
    stream = judged(cn={**down(CN), "log": None, "log_denied": "role mon may not read the server's log"})
    assert (stream.cause, stream.reason) == (
        "unknown",
        "role mon may not read the server's log, where the cause stands",
    )


@pytest.mark.parametrize(("state", "level"), [(State.DISABLED, Level.FAIL), (State.PENDING, Level.FAIL)])
def test_a_stream_that_does_not_run_is_a_finding(state: State, level: Level) -> None:
    status = judge(mesh("cn", "global", cn=down(CN, state)))
    assert not status.healthy
    (problem,) = status.regions[0].problems
    assert (problem.check, problem.level, problem.found) == ("stream", level, f"sub_from_global is {state}")
    assert status.regions[0].findings == (problem.sentence,)


def test_hostile_names_stay_one_word_in_a_hint() -> None:
    name = 'it\'s; rm -rf "$HOME" `x`'
    cn = reading(name, ("g b",))
    readings = mesh(name, "g b", **{name: {**down(cn), "log": (LogLine("ERROR", REFUSED, False, "7", ago(1)),)}})
    readings["g b"] = replace(readings["g b"], slots=())
    remedy = judge(readings).regions[0].streams[0].remedy
    words = shlex.split(remedy.commands[0])
    assert words[-1] == name
    assert words[3:5] == ["--node", f"{name}=$IT_S__RM__RF___HOME___X__DSN"]


def test_pglogical_that_was_dropped() -> None:
    cn = replace(CN.standing, mode=Mode.PGLOGICAL, subscriptions=())
    other = reading("global", ("cn",), has_pglogical=True)
    pglogical = {**down(other), "has_pglogical": True}
    pglogical["standing"] = replace(pglogical["standing"], mode=Mode.PGLOGICAL)
    status = judge(mesh("cn", "global", cn={"standing": cn}, **{"global": pglogical}))
    (problem,) = status.regions[0].problems
    assert problem.check == "extension"
    assert [command.split("--")[0].strip() for command in problem.remedy.commands if command[0] != "p"] == [
        "migratectl init",
        "migratectl region join",
        "migratectl region resync",
    ]
    assert sum("node_cn_sub_from_global" in command for command in problem.remedy.commands) == 2  # its old slot
    assert status.regions[1].streams[0].cause == "extension"


def test_two_names_that_lead_to_one_database_are_not_healthy() -> None:
    readings = {"cn": CN, "global": replace(CN, region="global")}
    status = judge(readings)
    assert not status.healthy
    assert status.regions[1].findings == ("global: is node node_cn, and so is cn",)
