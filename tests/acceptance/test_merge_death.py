"""Merge, undo and diff die, lose a server, the link or an answer, and are run again. All steps: `make faults`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from accountdb.lab import Lab
from accountdb.setup.ready import make_ready
from proof.dying import FAULTS, Stage
from proof.striking import Moment, share
from tests.conftest import Labs, run_sql

MERGE = [
    # An empty table is loaded whole, its indexes made afterwards.
    ("kill", Moment(1, "CREATE INDEX")),
    ("crash-global", Moment(1, "global: CREATE INDEX")),
    ("cut", Moment(1, "global: copy_end", back=True)),
    # Rows one by one, through the guard.
    ("kill", Moment(9, "COMMIT")),
    ("lost", Moment(5, "global: COMMIT")),
    ("crash-cn", Moment(1, 'cn: INSERT INTO "public"."identities"', back=True)),
    # What is dead goes in another round.
    ("kill", Moment(2, "global: DELETE FROM")),
    ("lost", Moment(1, "accountdb.bury")),
    # Half a line of the undo file, and the very end.
    ("kill", Moment(6, "undo file")),
    ("kill", Moment(1, "pg_advisory_unlock")),
]
UNDO = [("kill", Moment(4, "COMMIT")), ("crash-cn", Moment(1, 'cn: UPDATE "public"."users"'))]
DIFF = [
    ("cut", Moment(2, "global: SELECT pg_catalog.width_bucket")),
    ("crash-cn", Moment(1, "cn: fetch")),
    ("lost", Moment(3, "cn: SELECT w.n")),
]

WITHOUT_UNDO = [("kill", Moment(8, "COMMIT")), ("crash-cn", Moment(12, "cn: COMMIT"))]

Stages = Callable[[str], Stage]


def on_either_engine(cases: list[tuple[str, Moment]]) -> pytest.MarkDecorator:
    """The cases, on one engine and the other in turn: the streams are not at work in them."""
    modes = (("native", ()), ("pglogical", (pytest.mark.pglogical,)))
    found = [
        pytest.param(mode, *case, marks=marks, id=f"{mode}-{case[0]}-{case[1]}")
        for case, (mode, marks) in zip(cases, itertools.cycle(modes))
    ]
    return pytest.mark.parametrize(("death_lab", "fault", "moment"), found, indirect=["death_lab"], scope="module")


@pytest.fixture(scope="module")
def death_labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labs]:
    with closing(Labs(tmp_path_factory, "death", make_ready)) as labs:
        yield labs


@pytest.fixture(scope="module")
def death_lab(request: pytest.FixtureRequest, death_labs: Labs) -> Lab:
    return death_labs.of(request.param)


@pytest.fixture(scope="module")
def all_stages() -> dict[tuple[str, str], Stage]:
    """Those of all labs, by mode and command."""
    return {}


@pytest.fixture
def stages(
    death_lab: Lab, all_stages: dict[tuple[str, str], Stage], tmp_path_factory: pytest.TempPathFactory
) -> Stages:
    """The command on its stage, made once."""

    def stage(command: str) -> Stage:
        key = (death_lab.mode, command)
        if key not in all_stages:
            all_stages[key] = Stage(death_lab, command, tmp_path_factory.mktemp("death"))
        return all_stages[key]

    return stage


def assert_proved(stage: Stage, fault: str, moment: Moment) -> None:
    outcome = stage.die(FAULTS[fault], moment)
    assert outcome.faults == ()
    assert outcome.reached is not None, "there was no such step"


@on_either_engine(MERGE)
def test_a_merge_that_died_is_run_again_and_taken_back(stages: Stages, fault: str, moment: Moment) -> None:
    assert_proved(stages("merge --undo"), fault, moment)


@on_either_engine(WITHOUT_UNDO)
def test_a_merge_without_an_undo_file_too(stages: Stages, fault: str, moment: Moment) -> None:
    assert_proved(stages("merge"), fault, moment)


@on_either_engine(UNDO)
def test_an_undo_that_died_is_run_again(stages: Stages, fault: str, moment: Moment) -> None:
    assert_proved(stages("undo"), fault, moment)


@on_either_engine(DIFF)
def test_a_diff_that_loses_a_server_says_which(stages: Stages, fault: str, moment: Moment) -> None:
    assert_proved(stages("diff"), fault, moment)


@pytest.mark.parametrize("death_lab", ["native"], indirect=True, scope="module")
def test_a_merge_that_commits_too_early_is_found_out(death_lab: Lab, tmp_path: Path) -> None:
    try:
        outcome = Stage(death_lab, "merge", tmp_path, broken=True).die(FAULTS["kill"], Moment(1, "CREATE INDEX"))
    finally:
        lost = (
            "CREATE UNIQUE INDEX IF NOT EXISTS admin_settings_module_key_role_uk ON admin_settings (module_key, role)"
        )
        run_sql(death_lab.region("cn").admin_dsn, lost)
    assert any("at once: " in fault and "an index is missing" in fault for fault in outcome.faults)


def test_a_share_of_the_steps_is_spread_over_all() -> None:
    assert [moment.at for moment in share(5, None)] == [1, 2, 3, 4, 5]
    assert [moment.at for moment in share(100, 4)] == [13, 38, 63, 88]
    assert [moment.back for moment in share(100, 4)] == [False, True, False, True]
