"""migratectl status, as a user: healthy, cut, paused, a side down or silent."""

from __future__ import annotations

import json
import time
from subprocess import CompletedProcess
from typing import Any

import pytest

from accountdb.lab import Lab
from accountdb.setup import join
from tests.conftest import eventually, migratectl, run_sql


def ask(lab: Lab, *arguments: str) -> CompletedProcess[str]:
    return migratectl("status", *arguments, env=lab.env())


def streams(found: CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    document = json.loads(found.stdout)
    return {s["subscription"]: s for region in document["regions"] for s in region["streams"]}


def healthy(lab: Lab) -> None:
    """Back to where the next test begins."""
    for region in lab.regions:
        join.resume(region.admin_dsn)
    eventually(lambda: ask(lab).returncode == 0, what="a healthy lab")


def test_a_healthy_pair(ready_lab: Lab) -> None:
    eventually(lambda: ask(ready_lab).returncode == 0)
    found = ask(ready_lab)
    assert "sub_from_global: replicating, lag " in found.stdout
    assert "sub_from_cn: replicating, lag " in found.stdout
    assert "guards 5/5" in found.stdout
    document = streams(ask(ready_lab, "--json"))
    for stream in document.values():
        assert stream["state"] == "replicating"
        assert stream["lag_bytes"] >= 0
        assert stream["lag_seconds"] >= 0


def test_a_cut_link_is_told_with_its_reason_and_the_lag(ready_lab: Lab) -> None:
    ready_lab.cut()
    try:

        def down() -> dict[str, dict[str, Any]]:
            found = streams(ask(ready_lab, "--json"))
            assert all(s["state"] == "down" and s["reason"] for s in found.values()), found
            return found

        found = eventually(down, what="both streams down, with a reason")
        for stream in found.values():
            assert any(word in stream["reason"] for word in ("connect", "connection", "WAL stream")), stream
            assert stream["lag_bytes"] is not None
            assert stream["lag_seconds"] is not None
        plain = ask(ready_lab)
        assert plain.returncode == 1
        assert "finding: cn: sub_from_global is down: " in plain.stderr
        # A role that may not read the log sees all but why.
        roles = {"CN_DSN": ready_lab.region("cn").app_dsn, "GLOBAL_DSN": ready_lab.region("global").app_dsn}
        for stream in streams(migratectl("status", "--json", env=roles)).values():
            assert (stream["state"], stream["lag_bytes"] is None) == ("down", False)
            # Of servers that have just started it guesses that they were restarted.
            assert "may not read the server's log" in stream["reason"] or stream["cause"] == "restarted"
    finally:
        ready_lab.heal()
        healthy(ready_lab)


def test_a_paused_subscription_is_a_finding(ready_lab: Lab) -> None:
    cn = ready_lab.region("cn").admin_dsn
    assert migratectl("region", "pause", "--dsn", cn).returncode == 0
    try:
        found = ask(ready_lab)
        assert found.returncode == 1
        assert "sub_from_global is disabled" in found.stderr
        assert "migratectl region resume" in found.stderr
    finally:
        assert migratectl("region", "resume", "--dsn", cn).returncode == 0
        healthy(ready_lab)


@pytest.mark.parametrize("silent", [False, True], ids=["stopped", "silent"])
def test_a_side_that_is_down_is_told_within_five_seconds(ready_lab: Lab, silent: bool) -> None:
    (ready_lab.pause if silent else ready_lab.stop)("global")
    try:
        began = time.monotonic()
        found = ask(ready_lab)
        seconds = time.monotonic() - began
        assert found.returncode == 1
        assert "global: down, " in found.stdout
        assert ("timeout" if silent else "Connection refused") in found.stdout, found.stdout
        assert seconds < 5, seconds
        assert "Traceback" not in found.stderr
        if not silent:
            eventually(
                lambda: "sub_from_global is down: " in ask(ready_lab).stderr, what="the reason on the other side"
            )
    finally:
        (ready_lab.resume if silent else ready_lab.start)("global")
        healthy(ready_lab)


def test_no_output_ever_shows_a_password(ready_lab: Lab) -> None:
    passwords = [dsn.split(":")[2].split("@")[0] for dsn in ready_lab.env().values()]
    for arguments in ((), ("--json",), ("--debug",)):
        found = ask(ready_lab, *arguments)
        assert not any(password in found.stdout + found.stderr for password in passwords)


def test_a_link_that_hangs_shows_in_the_beats_that_do_not_come(ready_lab: Lab) -> None:
    """Both sides believe that they stream; only what does not arrive says otherwise."""
    assert migratectl("heartbeat", env=ready_lab.env()).returncode == 0
    eventually(lambda: all(s["lag_seconds"] < 1 for s in streams(ask(ready_lab, "--json")).values()))
    ready_lab.cut(hang=True)
    try:
        for region in ready_lab.regions:
            run_sql(region.admin_dsn, "SELECT accountdb.beat('0 s')")

        def behind() -> bool:
            found = streams(ask(ready_lab, "--json"))
            return all(
                s["state"] == "replicating" and s["measured"] == "beats" and s["lag_seconds"] > 1.5 and s["lag_bytes"]
                for s in found.values()
            )

        eventually(behind, what="a lag by the beats")
    finally:
        ready_lab.heal()
        healthy(ready_lab)
    eventually(
        lambda: all(s["lag_seconds"] < 1 for s in streams(ask(ready_lab, "--json")).values()), what="level again"
    )
