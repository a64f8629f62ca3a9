"""Faults that status and doctor must find: looking, and following a hint to the letter, as a person would."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from accountdb.lab import Lab
from tests.conftest import BIN, eventually, migratectl

Problem = dict[str, Any]


def environment(lab: Lab, **changed: str) -> dict[str, str]:
    """The environment of a person at the lab: its DSNs, migratectl and psql."""
    clean = {k: v for k, v in os.environ.items() if not k.endswith("DSN") and k not in ("DB_URL", "REPLICATION_MODE")}
    path = f"{BIN}:{lab.bin_dir}:{os.environ['PATH']}"
    return {**clean, **lab.env(), "PATH": path, **changed}


def shell(lab: Lab, command: str, folder: Path, **changed: str) -> subprocess.CompletedProcess[str]:
    """One line, as it was printed, typed into a shell."""
    return subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment(lab, **changed),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def follow(lab: Lab, remedy: Mapping[str, Any], folder: Path, **changed: str) -> list[str]:
    """Run the commands of a remedy to the letter; each must end well. Returns what they printed."""
    assert remedy["commands"], remedy
    printed = []
    for command in remedy["commands"]:
        done = shell(lab, command, folder, **changed)
        # These end with 1 for what they found, check also where it has mended it.
        fine = (0, 1) if command.startswith(("migratectl check ", "migratectl conflicts list")) else (0,)
        assert done.returncode in fine, (command, done.returncode, done.stdout, done.stderr)
        printed.append(done.stdout + done.stderr)
    return printed


def status(lab: Lab, **changed: str) -> dict[str, Any]:
    """``migratectl status --json``."""
    document: dict[str, Any] = json.loads(migratectl("status", "--json", env={**lab.env(), **changed}).stdout)
    return document


def problems(lab: Lab, **changed: str) -> list[Problem]:
    """All problems that status tells, of all regions."""
    return [problem for region in status(lab, **changed)["regions"] for problem in region["problems"]]


def streams(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The streams of a status, by the name of their subscription."""
    return {s["subscription"]: s for region in document["regions"] for s in region["streams"]}


def cause(lab: Lab, subscription: str, kind: str, *, within_s: float = 90.0, **changed: str) -> dict[str, Any]:
    """Wait until status says that a stream is down for this cause; the stream.

    pglogical may wait minutes before its next try. Until then status says that the connection broke, and what has it
    try at once: that is typed, as a person would.
    """

    def told() -> dict[str, Any]:
        stream = streams(status(lab, **changed))[subscription]
        waits = stream["cause"] in ("link", "restarted") and stream["cause"] != kind
        if waits and lab.mode == "pglogical":
            for command in stream["remedy"]["commands"]:
                subprocess.run(["sh", "-c", command], env=environment(lab, **changed), capture_output=True, check=False)
        assert stream["cause"] == kind, stream
        return stream

    return eventually(told, within_s=within_s, what=f"{subscription} down by {kind}")


def problem(lab: Lab, check: str, region: str, **changed: str) -> Problem:
    """Wait until status tells this problem of a region; the first one."""

    def told() -> Problem | None:
        return next((p for p in problems(lab, **changed) if p["check"] == check and p["region"] == region), None)

    found = eventually(told, what=f"a problem {check} of {region}")
    assert found is not None
    return found


def fine(lab: Lab, *, also: Callable[[], bool] = lambda: True, within_s: float = 40.0) -> None:
    """Wait until status is healthy and without a problem, then find both regions equal."""

    def healthy() -> bool:
        document = status(lab)
        told = [p for region in document["regions"] for p in region["problems"] if p["level"] in ("fail", "warn")]
        assert not told, told
        return bool(document["healthy"]) and also()

    eventually(healthy, within_s=within_s, what="a healthy pair")
    equal = migratectl("diff", env=lab.env())
    assert equal.returncode == 0, equal.stdout + equal.stderr
