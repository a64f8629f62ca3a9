"""A share of the convergence proof; the whole of it is `make proof`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from accountdb.lab import Lab
from accountdb.pg.connect import connect
from accountdb.setup.ready import make_ready
from proof.history import Fault, History, Round, make
from proof.jobs import installed
from proof.playing import play, prepare
from proof.shrinking import shrink
from tests.conftest import Labs

SEEDS = range(1001, 1004)


@pytest.fixture(scope="module")
def proof_labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labs]:
    with closing(Labs(tmp_path_factory, "proof", playable)) as labs:
        yield labs


@pytest.fixture(scope="module", params=["native", pytest.param("pglogical", marks=pytest.mark.pglogical)])
def proof_lab(request: pytest.FixtureRequest, proof_labs: Labs) -> Lab:
    return proof_labs.of(request.param)


def playable(lab: Lab) -> None:
    make_ready(lab)
    prepare(lab)


@pytest.mark.by_hand(proof_lab="pglogical", seed=SEEDS[-1])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_history_ends_equal_and_lawful(proof_lab: Lab, seed: int) -> None:
    outcome = play(proof_lab, make(seed))
    assert outcome.faults == (), f"make proof SEED={seed} MODE={proof_lab.mode}"
    assert outcome.writes > 0


@pytest.mark.parametrize("seed", [1, 11])
def test_two_jobs_of_pgsync_end_equal_and_lawful(proof_labs: Labs, tmp_path: Path, seed: int) -> None:
    """Between servers that are killed, over a link that is cut, and killed themselves."""
    running = proof_labs.of("pgsync")
    outcome = play(running, make(seed), jobs=installed(running, tmp_path))
    assert outcome.faults == (), f"make proof SEED={seed} MODE=pgsync"
    assert outcome.writes > 0


@pytest.fixture(scope="module", params=["native", pytest.param("pglogical", marks=pytest.mark.pglogical)])
def three(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with closing(Labs(tmp_path_factory, "proof3", playable, regions=3)) as labs:
        yield labs.of(request.param)


@pytest.mark.by_hand(three="pglogical")
@pytest.mark.parametrize("seed", [7, 11])
def test_a_random_history_of_three_regions_ends_equal_and_lawful(three: Lab, seed: int) -> None:
    """Of one region cut off, or of one link: what comes by the third region is ahead of what comes straight."""
    outcome = play(three, make(seed, 6, three.names))
    assert outcome.faults == (), f"make proof SEED={seed} MODE={three.mode} REGIONS=3 ROUNDS=6"
    assert outcome.writes > 0


@pytest.mark.parametrize("proof_lab", ["native"], indirect=True)
def test_the_proof_can_fail(proof_lab: Lab) -> None:
    assert_found_out(proof_lab, rounds=10, patience_s=10)


@pytest.mark.parametrize("three", ["native"], indirect=True)
def test_the_proof_of_three_regions_can_fail(three: Lab) -> None:
    assert_found_out(three, rounds=3, patience_s=4)


def assert_found_out(lab: Lab, *, rounds: int, patience_s: float) -> None:
    """Without its guards the same program finds that the regions do not end equal."""
    calm = make(7, rounds, lab.names)
    history = replace(calm, rounds=tuple(replace(r, fault=Fault.NONE) for r in calm.rounds))
    with connect(lab.region("cn").admin_dsn, autocommit=True) as conn:
        conn.execute("ALTER TABLE users DISABLE TRIGGER accountdb_guard")
    try:
        outcome = play(lab, history, patience_s=patience_s)
        assert outcome.faults
    finally:
        with connect(lab.region("cn").admin_dsn, autocommit=True) as conn:
            conn.execute("ALTER TABLE users ENABLE REPLICA TRIGGER accountdb_guard")


def test_a_history_is_the_same_each_time() -> None:
    assert make(5) == make(5)
    assert make(5) != make(6)


def test_a_failing_history_is_shrunk_to_what_fails() -> None:
    history = make(3)
    culprit = history.rounds[4].transactions["cn"][0]

    def fails(candidate: History) -> bool:
        return any(culprit in r.transactions.get("cn", ()) for r in candidate.rounds)

    small = shrink(history, fails, seconds=20)
    assert [r.transactions["cn"] for r in small.rounds] == [(culprit,)]
    assert all(isinstance(r, Round) and not r.transactions.get("global") for r in small.rounds)
