"""Passes of pgsync die, lose a server, the link or an answer, and the next one goes on. All steps: `make faults`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from accountdb.compare.model import Unwatched
from accountdb.errors import AccountdbError
from accountdb.pg.connect import connect
from accountdb.sync import run, watermark
from accountdb.sync.capture import Capture
from accountdb.sync.config import Job
from accountdb.sync.model import PassOptions
from accountdb.sync.passes import run_pass
from proof import sync_aftermath, sync_scenes
from proof.striking import Moment
from proof.sync_dying import FAULTS, Stage
from proof.sync_scenes import JOB, SCENES
from tests.conftest import BIN, eventually, make_lab, run_command, run_sql, value

FIRST = [
    # Half of the tied tables are filled, or an index is not there yet.
    ("kill", Moment(1, "destination: CREATE INDEX")),
    ("crash-destination", Moment(2, "destination: DROP INDEX", back=True)),
    ("cut-source", Moment(9, "source: read")),
    ("lost", Moment(1, "destination: COMMIT")),
]
CHANGES = [
    ("crash-source", Moment(3, "destination: copy_to")),
    ("cut-destination", Moment(5, "destination: copy_to", back=True)),
    # Constraints are loose and triggers off; then the watermark has moved, and the source does not know it.
    ("kill", Moment(2, "destination: INSERT INTO accountdb.sync_watermark")),
    ("lost", Moment(1, "destination: COMMIT")),
    ("kill", Moment(1, "source: INSERT INTO accountdb.change_reader")),
    ("crash-source", Moment(2, "source: DELETE FROM accountdb.change_log")),
]
ONCE = [
    ("cut-source", Moment(1, "source: fetch")),
    ("crash-destination", Moment(1, 'destination: DELETE FROM ONLY "public"."users"', back=True)),
    # One group is done, the other is not.
    ("kill", Moment(5, "destination: INSERT INTO accountdb.sync_watermark")),
]
CASES = [("first/xmin", *one) for one in FIRST] + [("changes/log", *one) for one in CHANGES]
CASES += [("once/xmin", *one) for one in ONCE]

Stages = Callable[..., Stage]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    """The command on its stage, made once; all on one lab."""
    # What nobody has waited for is lost in a crash: the log is not written behind anybody's back.
    settings = {"wal_writer_delay": "10s"}
    running = make_lab(tmp_path_factory.mktemp("sync-death") / "lab", "pgsync", settings)
    known: dict[str, Stage] = {}

    def stage(command: str) -> Stage:
        if command not in known:
            known[command] = Stage(running, command, tmp_path_factory.mktemp("death"), hasty=True)
        return known[command]

    yield stage
    running.down()


def assert_proved(stage: Stage, fault: str, moment: Moment) -> None:
    outcome = stage.die(FAULTS[fault], moment)
    assert outcome.faults == ()
    assert outcome.reached is not None, "there was no such step"


@pytest.mark.parametrize(("command", "fault", "moment"), CASES)
def test_a_pass_that_died_leaves_whole_states_and_the_next_one_goes_on(
    stages: Stages, command: str, fault: str, moment: Moment
) -> None:
    assert_proved(stages(command), fault, moment)


@pytest.mark.parametrize(
    ("fault", "moment"),
    [
        ("silent-source", Moment(2, "source: read")),
        ("silent-destination", Moment(2, "destination: copy_to")),
        # Its session is still there when the next pass comes, and has to go by itself.
        ("gone-destination", Moment(2, "destination: copy_to")),
    ],
)
def test_a_link_that_loses_every_packet_keeps_nobody_away_for_long(stages: Stages, fault: str, moment: Moment) -> None:
    assert_proved(stages("changes/log"), fault, moment)


def test_a_pass_killed_while_the_destination_works_leaves_its_place_in_seconds(stages: Stages, tmp_path: Path) -> None:
    """Nobody talks to it then: the destination has to look by itself whether there is still somebody."""
    stage = stages("changes/log")
    sync_scenes.write(stage.pair, SCENES["changes"])
    before = stage.take()
    config = tmp_path / "jobs.yaml"
    config.write_text(stage.pair.config)
    words = ("pgsync", "--config", str(config), "--max-delete", "100%")
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with connect(stage.pair.destination) as holder:
        holder.execute("LOCK TABLE users IN SHARE MODE")
        with subprocess.Popen([BIN / words[0], *words[1:]]) as first:
            eventually(lambda: value(stage.pair.destination, waiting) == 1, what="a statement that waits")
            first.kill()
        eventually(lambda: value(stage.pair.destination, waiting) == 0, within_s=15, what="its end")
        holder.rollback()
    assert run_command(*words).returncode == 0
    assert sync_aftermath.at_the_end(stage.pair, before, stage.take()) == []


@pytest.mark.parametrize("capture", Capture)
def test_a_source_that_forgets_in_a_crash_had_nothing_of_it_applied(
    stages: Stages, capture: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was rolled back, or committed without waiting, may be forgotten, and its transaction id given again."""
    stage = stages(f"first/{capture.value}")
    job = Job.model_validate(stage.pair.document)
    sync_scenes.write(stage.pair, SCENES["first"])
    run_pass(JOB, job, PassOptions(), Unwatched())
    insert = "INSERT INTO users (username, password) VALUES (%s, 'x')"
    with connect(stage.pair.source) as conn:
        conn.execute(insert, ("taken back",))
        conn.rollback()
        conn.execute("SET LOCAL synchronous_commit = off")
        conn.execute(insert, ("fleeting",))

    def crash(*words: Any) -> None:
        monkeypatch.undo()
        stage.lab.kill("global")
        stage.lab.start("global")
        watermark.move(*words)

    monkeypatch.setattr(run, "move", crash)
    with suppress(AccountdbError):
        run_pass(JOB, job, PassOptions(), Unwatched())
    for number in range(6):
        run_sql(stage.pair.source, insert, f"later{number}")
    run_pass(JOB, job, PassOptions(), Unwatched())
    rows = stage.take()
    assert rows.source.rows == rows.destination.rows


@pytest.mark.parametrize(
    ("command", "moment", "found"),
    [
        ("first/xmin", Moment(1, 'destination: COPY "public"."sessions"'), "are not as before"),
        ("changes/log", Moment(3, "destination: INSERT INTO accountdb.sync_watermark"), "watermark moved only for"),
    ],
)
def test_a_pass_that_commits_too_early_is_found_out(
    stages: Stages, tmp_path: Path, command: str, moment: Moment, found: str
) -> None:
    outcome = Stage(stages(command).lab, command, tmp_path, broken=True).die(FAULTS["kill"], moment)
    assert any(fault.startswith("at once: ") and found in fault for fault in outcome.faults)
    # Loose constraints and triggers that are off.
    assert any("destination: is missing: constraint" in fault for fault in outcome.faults)
    assert any("destination: is missing: trigger" in fault for fault in outcome.faults)
