"""Random programs: two regions are written apart, without a stream, and merged, again and again.

After each merge the laws of the programs hold, and merging once more moves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from accountdb.lab import Lab
from tests.conftest import Databases
from tests.integration.merging import Apart, regions_apart
from tests.integration.programs import DDL, PHASES, TABLES, WORLDS, Known, World, assert_lawful, world_of, write


@pytest.fixture(scope="module")
def apart(databases: Databases, native_lab: Lab) -> Iterator[Apart]:
    """Two regions for all programs."""
    with regions_apart(databases, native_lab, *DDL) as found:
        yield found


def play(apart: Apart, worlds: list[World]) -> None:
    """Play the worlds, phase by phase, with a merge after each."""
    apart.empty(*TABLES)
    for phase in range(PHASES):
        write(apart, worlds, phase)
        before = Known.look(apart)
        receipt = apart.merge(*TABLES, jobs=1)
        assert_lawful(apart, worlds, before, phase)
        assert receipt.equal, receipt.different
        apart.assert_lawful()
        again = apart.merge(*TABLES, jobs=1)
        assert again.equal
        assert [counts for regions in again.written.values() for counts in regions.values() if counts.total] == []


def take_back(apart: Apart, worlds: list[World], path: Path) -> None:
    """Play the worlds; each merge is taken back, leaves nothing behind, and is done again."""
    apart.empty(*TABLES)
    for phase in range(PHASES):
        write(apart, worlds, phase)
        before = [side.all(*TABLES) for side in apart.sides]
        file = path.with_suffix(f".{phase}")
        assert apart.merge(*TABLES, jobs=1, undo=file).equal
        done = apart.undo(file)
        for side, held in zip(apart.sides, before, strict=True):
            now = side.all(*TABLES)
            for table in held:
                missing = [one for one in held[table] if one not in now[table]]
                more = [one for one in now[table] if one not in held[table]]
                assert (missing, more) == ([], []), (
                    f"{side.name} {table} after phase {phase}: missing {missing}, more {more}"
                )
        assert {name: one.left for name, one in done.items()} == {"cn": 0, "global": 0}
        assert {name: (one.removed, one.restored) for name, one in apart.undo(file).items()} == {
            "cn": (0, 0),
            "global": (0, 0),
        }
        assert apart.merge(*TABLES, jobs=1).equal
        apart.assert_lawful()


def test_a_merge_of_programs_is_taken_back(apart: Apart, tmp_path: Path) -> None:
    take_back(apart, [world_of(99, number) for number in range(WORLDS)], tmp_path / "undo")


@pytest.mark.parametrize("role", ["admin", "owner"])
@pytest.mark.parametrize("seed", range(2))
def test_programs(apart: Apart, role: str, seed: int) -> None:
    play(apart.by(role), [world_of(seed, number) for number in range(WORLDS)])
