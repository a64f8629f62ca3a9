"""docs/status.md names every cause, every check and every key of the JSON form."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from accountdb.health.advice import Finding, Remedy
from accountdb.health.model import Backlog, Run, SyncPass
from accountdb.health.status import RegionStatus, Status, StreamStatus
from accountdb.replication.model import Slot

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/status.md").read_text()
HEALTH = ROOT / "src/accountdb/health"


def test_every_key_is_documented() -> None:
    for document in (Status, RegionStatus, StreamStatus, Finding, Remedy, Run, SyncPass, Backlog, Slot):
        for key in dataclasses.fields(document):
            assert f"`{key.name}`" in PAGE or f'"{key.name}"' in PAGE, (document, key.name)


def test_every_cause_is_documented() -> None:
    told = set(re.findall(r'Cause\(\s*"(\w+)"', (HEALTH / "causes.py").read_text()))
    assert len(told) > 10
    listed = set(re.findall(r"^\| `(\w+)` \|", PAGE.split("## Why a stream is down")[1].split("## ")[0], re.MULTILINE))
    assert told == listed


def test_every_check_is_documented() -> None:
    source = (HEALTH / "status.py").read_text()
    told = set(re.findall(r'(?:Finding|problem)\(\s*"(\w+)"', source))
    assert len(told) > 5
    listed = set(
        re.findall(r"^\| `(\w+)` \|", PAGE.split("## What else is looked at")[1].split("## ")[0], re.MULTILINE)
    )
    assert told == listed
