"""Finding a joint run that died between its commits, and finishing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from accountdb.drift.fingerprint import look
from accountdb.errors import AccountdbError
from accountdb.migrations.files import Migration
from accountdb.migrations.ledger import Journal, begun, has_run, last_run, ledger
from accountdb.migrations.planning import Step
from accountdb.migrations.together import RegionState, Unfinished, steps_of, unfinished
from accountdb.replication.drain import run_dry
from accountdb.setup.migrating import recovering, streams
from accountdb.setup.migrating.regions import Regions, rolled_back
from accountdb.setup.migrating.streams import Effects
from accountdb.setup.migrating.together import rehearse_in


def finish(regions: Regions, files: Mapping[str, Sequence[Migration]]) -> None:
    """Bring the regions to where all have the last run; nothing where they have. ``files`` are those of each series.

    Raises AccountdbError where they stand at different versions for another reason, or differ in structure.
    """
    for name in regions.conns:
        for table in regions.clear(name):
            regions.tell(f"{name}: a fence that an earlier run left on {table} is taken down")
    found = unfinished(_states(regions))
    if found is not None:
        for name in found.regions:
            _finish_in(regions, found, name, steps_of(found.run, files))
        with regions.fenced(()):
            regions.follow()
    # A file that runs statement by statement may be half done in one region: it goes on from there.
    if not any(begun(conn) for conn in regions.conns.values()):
        with rolled_back(list(regions.conns.values())):
            regions.check_equal(
                "the regions differ before the migration, so nothing was done",
                "migratectl check --fix-sql FILE writes what makes them equal; then migrate again",
            )


def _states(regions: Regions) -> dict[str, RegionState]:
    with rolled_back(list(regions.conns.values())):
        last = {name: last_run(conn) for name, conn in regions.conns.items()}
        runs = {run[0].run for run in last.values() if run}
        return {
            name: RegionState(
                ledger(conn),
                look(conn),
                last[name],
                frozenset(str(run) for run in runs if has_run(conn, run)),
                begun(conn),
            )
            for name, conn in regions.conns.items()
        }


def _finish_in(regions: Regions, found: Unfinished, name: str, steps: tuple[Step, ...]) -> None:
    regions.tell(f"{name}: the last run was committed in {found.leader} and did not come through here; finishing")
    last = found.run[0]
    if not steps[0].script.together:
        regions.run_apart(name, steps[0], Journal(last.regions, last.run))
    else:
        engine = regions.standings.engines.get(name)
        effects = rehearse_in(regions, name, steps) if engine else None
        fenced = streams.to_fence(effects, regions.standings.replicated) if effects else ()
        with regions.fenced(fenced, [name]):
            if fenced:
                _let_through(regions, found.leader, name)
            regions.try_in(name, lambda: _commit_both(regions, found, name, steps, effects))
    for step in steps:
        regions.tell(f"{name}: {step.title}")


def _let_through(regions: Regions, leader: str, name: str) -> None:
    """Have the leader take in what this region has written in the old form since the last run died."""
    engine = regions.standings.engines.get(leader)
    here = {name: regions.conns[name]}
    if engine is None or recovering.runs_dry(here):
        return
    regions.tell(f"{leader}: takes the old form again until its stream has run dry")

    def act() -> None:
        with rolled_back([regions.conns[leader], regions.conns[name]]), regions.named(leader):
            recovering.take_old_form(regions.conns[leader], regions.conns[name], engine)

    regions.try_in(leader, act)
    run_dry(here)


def _commit_both(
    regions: Regions, found: Unfinished, name: str, steps: Sequence[Step], effects: Effects | None
) -> None:
    conn, leader = regions.conns[name], regions.conns[found.leader]
    last = found.run[0]
    with rolled_back([conn, leader]):
        after = regions.run(name, steps, Journal(last.regions, last.run), effects)
        if after != found.run[-1].after:
            raise AccountdbError(
                f"{name}: finishing the last run makes another structure than it made in {found.leader};"
                " nothing was done here",
                hint="migratectl check names the differences",
            )
        # The leader may have taken the old form again. It is committed first: a death leaves what the run itself left.
        with regions.named(found.leader):
            recovering.take_form_of(leader, conn)
        leader.commit()
        conn.commit()
