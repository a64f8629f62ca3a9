"""Lag, rates, forecasts, history and the screen: out of made-up readings."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console

from accountdb.cli.screen import Trails, bars, draw
from accountdb.errors import ConnectError
from accountdb.health.forecast import lost_in, rates
from accountdb.health.history import lag_history
from accountdb.health.log import unescaped, worker_lines
from accountdb.health.model import Beats, Conflicts, Run, Silence, SyncPass
from accountdb.health.status import Status, judge
from accountdb.health.watching import Look
from accountdb.render.output import span_text
from accountdb.replication.model import Slot, Standing
from tests.unit.readings import NOW, ago, down, mesh, reading, slot

BEHIND = slot("node_cn_sub_from_global", lag_bytes=500)


def lag(**changed: dict[str, Any]) -> tuple[float | None, str | None, int | None]:
    stream = judge(mesh("cn", "global", **changed)).regions[0].streams[0]
    return stream.lag_seconds, stream.measured, stream.lag_transactions


def arrived(seconds_ago: float) -> dict[str, Any]:
    return {"beats": {"node_global": Beats(ago(seconds_ago), ago(seconds_ago))}}


@pytest.mark.parametrize(
    ("seconds_ago", "expected"),
    [
        (10, (0.0, "beats", 1)),  # the newest: since then two transactions began, one of them the beat's own
        (20, (10.0, "beats", 3)),  # the oldest that is missing is 10 s old; at most 3, which the slot knows better
        (30, (20.0, "beats", 3)),
    ],
)
def test_lag_is_the_age_of_the_oldest_beat_that_has_not_come(
    seconds_ago: float, expected: tuple[float, str, int]
) -> None:
    assert lag(cn=arrived(seconds_ago), **{"global": {"slots": (BEHIND,)}}) == expected


def test_clocks_that_are_apart_are_no_matter() -> None:
    ahead = {"clock": NOW + timedelta(hours=1), "skew_s": 3600.0}
    assert lag(cn={**arrived(20), **ahead}, **{"global": {"slots": (BEHIND,)}})[0] == 10.0


def test_a_level_slot_is_level_whatever_beats_a_new_stream_has_missed() -> None:
    assert lag(cn=arrived(30)) == (0.0, "beats", 0)


def test_without_recent_beats_the_server_is_asked() -> None:
    followers = (Slot("node_cn_sub_from_global", True, 500, 7.5),)
    standing = replace(reading("global", ("cn",)).standing, followers=followers)
    old = {"node_global": Beats(ago(600), None, ((ago(600), 50),))}
    provider = {"slots": (BEHIND,), "beats": old, "standing": standing}
    assert lag(cn=arrived(600), **{"global": provider})[:2] == (7.5, "server")
    # A stream that stands and has got all beats: what came after the last one nobody has measured.
    provider["beats"] = reading("global", ("cn",)).beats
    assert lag(cn={**arrived(10), **down(reading("cn", ("global",)))}, **{"global": provider})[:2] == (7.5, "server")


def test_nobody_knows_the_lag_of_a_provider_that_is_silent() -> None:
    readings = mesh("cn", "global")
    readings["global"] = Silence("global", ConnectError("x"))
    stream = judge(readings).regions[0].streams[0]
    assert (stream.lag_seconds, stream.lag_bytes, stream.lag_transactions) == (None, None, None)


def test_rates_come_from_two_looks() -> None:
    before, now = BEHIND, replace(BEHIND, position=7000, sent=30, retained_bytes=500)
    found = rates(before, ago(10), now, NOW)
    assert (found.bytes_per_second, found.transactions_per_second, found.growth_per_second) == (200.0, 2.0, -50.0)
    assert rates(before, NOW, now, NOW).bytes_per_second is None
    # A slot made anew begins to count anew.
    assert rates(now, ago(10), before, NOW).bytes_per_second is None


@pytest.mark.parametrize(
    ("changed", "growth", "wal_rate", "expected"),
    [
        ({"safe_bytes": 1000}, 10.0, None, 100.0),
        ({"safe_bytes": 1000}, -10.0, 5.0, None),
        ({"safe_bytes": 1000}, None, 5.0, None),  # active: it is not known whether it grows
        ({"safe_bytes": 1000, "active": False}, None, 5.0, 200.0),
        ({"safe_bytes": None, "active": False}, 10.0, 5.0, None),
        ({"safe_bytes": -5}, 10.0, None, 0.0),
        ({"safe_bytes": None, "lost": True}, None, None, 0.0),
    ],
)
def test_when_a_slot_is_lost(
    changed: dict[str, Any], growth: float | None, wal_rate: float | None, expected: float | None
) -> None:
    assert lost_in(slot("x", **changed), growth, wal_rate) == expected


def test_a_slot_that_is_lost_soon_is_a_warning() -> None:
    away = slot("node_cn_sub_from_global", active=False, safe_bytes=60_000, lag_bytes=5)
    status = judge(mesh("cn", "global", cn=down(reading("cn", ("global",))), **{"global": {"slots": (away,)}}))
    found = [p.found for p in status.regions[0].problems if p.check == "slot"]
    assert found == ["replication slot node_cn_sub_from_global on global is lost in 10 min"]


def test_open_conflicts_warn_and_leave_the_status_healthy() -> None:
    status = judge(mesh("cn", "global", cn={"conflicts": Conflicts(3, 9, 1, 4, NOW)}))
    assert status.healthy
    (problem,) = status.regions[0].problems
    assert (problem.level, problem.found) == ("warn", "3 open conflicts")
    assert problem.remedy.commands == ('migratectl conflicts list --cn "$CN_DSN" --global "$GLOBAL_DSN"',)


def test_the_history_takes_the_difference_of_the_clocks_out() -> None:
    status = judge(mesh("cn", "global", cn={"skew_s": 300.0}, **{"global": {"skew_s": -1.0}}))
    beats = {"cn": [("node_global", 1000.0, 301.5), ("node_other", 1.0, 1.0)], "global": [("node_cn", 1000.0, -300.8)]}
    into_cn, into_global = lag_history(beats, status)
    assert (into_cn.receiver, into_cn.provider, into_cn.points) == ("cn", "global", ((1000.0, 0.5),))
    assert into_global.points == ((1000.0, 0.2),)


def test_a_log_line_has_its_time_and_no_options_of_pglogical() -> None:
    tail = (
        "2026-11-23 03:58:04.227 UTC [15658] ERROR:  could not send replication command"
        " \"START_REPLICATION SLOT \"s\" LOGICAL 0/1 (a '1', pg_version '150002')\": ERROR:  local pglogical"
        " node not found\n"
        "2026-11-23 03:58:05 UTC [15659] ERROR:  cannot execute INSERT in a read-only transaction\n"
        '2026-11-23 03:58:05 UTC [15659] CONTEXT:  SQL statement "x\n'
        "\tprocessing remote data for replication origin\n"
        "2026-11-23 03:58:06 UTC [15660] ERROR:  cache lookup failed\n"
        '2026-11-23 03:58:06 UTC [15660] CONTEXT:  slot "s", output plugin "pglogical_output", in the change callback\n'
        "9999-99-99 99:99:99 UTC [1] LOG:  starting apply for subscription s\n"
    )
    first, second, third, fourth = worker_lines(tail)
    assert first.message.endswith('"START_REPLICATION SLOT "s": ERROR:  local pglogical node not found')
    assert first.at
    assert (first.at.isoformat(), first.pid) == ("2026-11-23T03:58:04.227000+00:00", "15658")
    assert (second.of_worker, third.sending, fourth.at) == (True, "s", None)


def test_a_log_in_another_encoding_is_read() -> None:
    assert unescaped("a\\\\b\\303\\244\\377") == "a\\bä?"


def test_spans_are_told_in_their_largest_unit() -> None:
    spans = [0.4, 119, 120, 3600, 7200, 260000, None]
    assert [span_text(s) for s in spans] == ["0 s", "119 s", "2 min", "60 min", "2 h", "3 d", "unknown"]


def test_bars_are_as_high_as_the_highest() -> None:
    assert bars([0.0, 0.1, None, 4.0, 8.0]) == "▁▁ ▄█"
    assert bars([0.0, 0.9]) == "▁█"
    assert bars([]) == ""


def screen(status: Status, width: int = 80, height: int = 24) -> str:
    trails = Trails()
    for _ in range(30):
        trails.add(status)
    console = Console(width=width, height=height, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(draw(Look(status, {}), trails, NOW, 2.0, width=width, height=height))
    return captured.get()


@pytest.mark.parametrize("height", [16, 24, 40])
@pytest.mark.parametrize("regions", [("cn", "global"), ("cn", "eu", "us")])
@pytest.mark.parametrize("broken", [False, True])
def test_the_screen_fits(height: int, regions: tuple[str, ...], broken: bool) -> None:
    well = mesh(*regions)
    if broken:
        for name, one in list(well.items()):
            well[name] = replace(one, **down(one), conflicts=Conflicts(3, 9, 1, 4, NOW), read_only=True)
    lines = screen(judge(well), height=height).splitlines()
    assert len(lines) <= max(height, 16)
    assert all(len(line) <= 80 for line in lines)
    assert sum("→" in line and ("replicating" in line or "down" in line) for line in lines) == len(regions) * (
        len(regions) - 1
    )
    assert ("UNHEALTHY" in lines[0]) is broken
    if broken:
        assert any("more: migratectl status" in line for line in lines) or height == 40


def test_the_screen_shows_what_ran_last_and_a_region_that_is_silent() -> None:
    run = Run("merge", "node_global", NOW, 3.0, True, 5, 240.0)
    one = SyncPass("users", 5, NOW, NOW, 30.0)
    readings = mesh("cn", "global", cn={"runs": (run,), "passes": (one,)})
    assert "merge 4 min ago equal" in screen(judge(readings))
    assert "pgsync users: pass 30 s ago, 5 tables" in screen(judge(readings))
    readings["global"] = Silence("global", ConnectError("no answer for 9 s"))
    assert "down: no answer for 9 s" in screen(judge(readings))


def test_a_region_in_mode_pgsync_has_no_streams_and_is_fine() -> None:
    standing = Standing("node_cn", reading("cn", ()).standing.mode.PGSYNC, (), ())
    assert judge({"cn": replace(reading("cn", ()), standing=standing)}).healthy
