"""Regions that are joined and left, as a user does it."""

from __future__ import annotations

import subprocess
from uuid import uuid4

from accountdb.lab import Lab
from tests.conftest import eventually, migratectl, rows, run_sql

OTHER = {"cn": "global", "global": "cn"}


def join(lab: Lab, name: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """``region join`` of one side, with some options changed."""
    region, other = lab.region(name), lab.region(OTHER[name])
    options = {
        "dsn": region.admin_dsn,
        "node": f"node_{name}",
        "node-dsn": region.link_dsn,
        "subscription": f"sub_from_{OTHER[name]}",
        "provider-dsn": other.link_dsn,
        **changed,
    }
    return migratectl("region", "join", *[part for key, text in options.items() for part in (f"--{key}", text)])


def healthy(lab: Lab) -> bool:
    return migratectl("status", env=lab.env()).returncode == 0


def exchange(lab: Lab) -> None:
    """A row from each side reaches the other."""
    for name in ("cn", "global"):
        tag = uuid4().hex
        run_sql(lab.region(name).app_dsn, "INSERT INTO users (username, password) VALUES (%s, 'x')", tag)
        there = lab.region(OTHER[name]).app_dsn
        eventually(lambda d=there, t=tag: rows(d, "SELECT FROM users WHERE username = %s", t))  # type: ignore[misc]
