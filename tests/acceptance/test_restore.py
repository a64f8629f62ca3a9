"""A region put back to an earlier state: found by status, mended by the command that it names, nothing lost.

In both ways that operators have: the data folder of some time ago (a snapshot of the volume), a dump in a new database.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from accountdb.lab import Lab, Mode
from accountdb.pg.dsn import with_params
from accountdb.setup.ready import make_ready
from tests.conftest import BIN, eventually, make_lab, migratectl, rows, run_sql, value

INSERT = "INSERT INTO users (username, password) VALUES (%s, 'x')"
NAMES = 'SELECT array_agg(username ORDER BY username COLLATE "C") FROM users'


@pytest.fixture(params=["native", pytest.param("pglogical", marks=pytest.mark.pglogical)])
def own_lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """A joined lab of one's own: a region's whole data is exchanged."""
    mode: Mode = request.param
    running = make_lab(tmp_path / "lab", mode)
    try:
        make_ready(running)
        yield running
    finally:
        running.down()


def write(lab: Lab, *regions: str) -> set[str]:
    """A new user in each of ``regions``; their names."""
    names = [f"{name}-{uuid4().hex}" for name in regions]
    for region, name in zip(regions, names, strict=True):
        run_sql(lab.region(region).app_dsn, INSERT, name)
    return set(names)


def ok(lab: Lab, *words: str) -> bool:
    return migratectl(*words, env=lab.env()).returncode == 0


def back_after_a_start(lab: Lab) -> None:
    """Streams that a restart broke off go on at once."""
    for region in lab.regions:
        assert migratectl("region", "resume", "--dsn", region.admin_dsn).returncode == 0
    active = "SELECT bool_and(active) FROM pg_replication_slots"
    eventually(lambda: all(value(region.admin_dsn, active) for region in lab.regions), what="active slots")


def snapshot_of_cn(lab: Lab) -> tuple[Path, Path]:
    """A copy of cn's data folder as it is now, and that folder. The server is stopped meanwhile."""
    data = Path(value(lab.region("cn").admin_dsn, "SHOW data_directory"))
    lab.stop("cn")
    snapshot = data.with_name("snapshot")
    shutil.copytree(data, snapshot, symlinks=True)
    if os.getuid() == 0:
        for path in (snapshot, *snapshot.rglob("*")):
            shutil.chown(path, data.stat().st_uid, data.stat().st_gid)
    lab.start("cn")
    back_after_a_start(lab)
    return snapshot, data


def failed(lab: Lab) -> list[dict[str, Any]]:
    """The checks of doctor that failed."""
    document = json.loads(migratectl("doctor", "--json", env=lab.env()).stdout)
    return [one for one in document["findings"] if one["level"] == "fail"]


def follow(lab: Lab, said: str) -> None:
    """Type the hint that was said."""
    hints = [line.removeprefix("hint: ") for line in said.splitlines() if "region resync" in line]
    assert hints, said
    env = {**os.environ, **lab.env(), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    mended = subprocess.run(["sh", "-c", hints[0]], env=env, capture_output=True, text=True, check=False)
    assert mended.returncode == 0, (hints[0], mended.stderr)


def equal_and_streaming(lab: Lab, wanted: set[str]) -> None:
    """Both regions hold the users ``wanted`` and no other, and go on exchanging."""
    assert ok(lab, "diff")
    eventually(lambda: ok(lab, "status"), what="a healthy status")
    for region in lab.regions:
        assert value(region.app_dsn, NAMES) == sorted(wanted)
    wanted = wanted | write(lab, "cn", "global")
    for region in lab.regions:
        eventually(lambda d=region.app_dsn: value(d, NAMES) == sorted(wanted), what="streams both ways")  # type: ignore[misc]


def test_a_snapshot_of_the_volume(own_lab: Lab) -> None:
    cn = own_lab.region("cn").app_dsn
    before = write(own_lab, "cn", "global")
    eventually(lambda: ok(own_lab, "diff"))
    snapshot, data = snapshot_of_cn(own_lab)
    later = write(own_lab, "cn", "global", "cn")
    for region in own_lab.regions:
        run_sql(region.admin_dsn, "SELECT accountdb.beat('0')")
    gone = min(before)
    eventually(lambda: rows(cn, "DELETE FROM users WHERE username = %s RETURNING uuid", gone))
    eventually(lambda: ok(own_lab, "diff"), what="both hold all")

    own_lab.stop("cn")
    shutil.rmtree(data)
    snapshot.rename(data)
    own_lab.start("cn")
    back_after_a_start(own_lab)
    after = write(own_lab, "cn", "global")
    found = migratectl("status", env=own_lab.env())
    assert found.returncode == 1
    assert "finding: global: sub_from_cn is down: cn was put back to an earlier state" in found.stderr
    # When the log has grown past where it was, only the beats know.
    checked = migratectl("doctor", env=own_lab.env())
    assert checked.returncode == 1
    assert "cn does not have a beat (" in checked.stdout + checked.stderr
    follow(own_lab, said=found.stderr)
    checked = migratectl("doctor", env=own_lab.env())
    assert "gap" not in [one["check"] for one in failed(own_lab)], checked.stdout
    equal_and_streaming(own_lab, (before - {gone}) | later | after)


@pytest.mark.parametrize("own_lab", ["native"], indirect=True)
def test_a_dump_in_a_new_database(own_lab: Lab, tmp_path: Path) -> None:
    """The server is lost, with all its streams; what is left is last night's dump."""
    cn = own_lab.region("cn")
    before = write(own_lab, "cn", "global")
    eventually(lambda: ok(own_lab, "diff"))
    dump = tmp_path / "account.dump"
    words = [str(own_lab.bin_dir / "pg_dump"), "-Fc", "-f", str(dump), cn.admin_dsn]
    subprocess.run(words, check=True, capture_output=True)
    later = write(own_lab, "cn", "global")
    eventually(lambda: ok(own_lab, "diff"))

    for statement in ("DISABLE", "SET (slot_name = NONE)"):
        run_sql(cn.admin_dsn, f"ALTER SUBSCRIPTION sub_from_global {statement}")
    run_sql(cn.admin_dsn, "DROP SUBSCRIPTION sub_from_global")
    server = with_params(cn.admin_dsn, dbname="postgres")
    drop = "SELECT pg_terminate_backend(active_pid), pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
    eventually(lambda: rows(server, drop), what="a dropped slot")
    run_sql(server, "DROP DATABASE account WITH (FORCE)")
    run_sql(server, "CREATE DATABASE account OWNER account")
    words = [str(own_lab.bin_dir / "pg_restore"), "--exit-on-error", "-d", cn.admin_dsn, str(dump)]
    subprocess.run(words, check=True, capture_output=True)

    after = write(own_lab, "cn", "global")
    assert not ok(own_lab, "status")
    words = ["region", "resync", "--all"]
    mended = migratectl(*words, env=own_lab.env())
    assert mended.returncode == 0, mended.stderr
    equal_and_streaming(own_lab, before | later | after)
