"""Migrating several regions that are equal: all of them or none."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg

from accountdb.errors import AccountdbError, Refused
from accountdb.migrations.ledger import Journal
from accountdb.migrations.locks import patiently
from accountdb.migrations.planning import Plan, Step
from accountdb.pg.connect import told
from accountdb.replication.drain import run_dry
from accountdb.replication.model import State
from accountdb.setup.migrating import streams
from accountdb.setup.migrating.regions import Regions, rolled_back
from accountdb.setup.migrating.streams import Effects


def apply(regions: Regions, plan: Plan, *, allow_data: bool = False) -> None:
    """Run the steps of ``plan`` in all regions or in none. The regions are equal, and stay so.

    Raises AccountdbError and Refused, which say what is applied where. ``allow_data``: also steps that
    write rows of replicated tables.
    """
    for steps in segments(plan.steps):
        if steps[0].script.together:
            _apply(regions, steps, allow_data=allow_data)
        else:
            _apply_apart(regions, steps[0])
        for name in regions.conns:
            for step in steps:
                regions.tell(f"{name}: {step.title}")


def segments(steps: Sequence[Step]) -> list[tuple[Step, ...]]:
    """Steps that are committed together: neighbours in a transaction; one that is in none stands alone. Pure."""
    found: list[tuple[Step, ...]] = []
    for step in steps:
        if found and step.script.together and found[-1][0].script.together:
            found[-1] = (*found[-1], step)
        else:
            found.append((step,))
    return found


def _apply(regions: Regions, steps: Sequence[Step], *, allow_data: bool) -> None:
    effects = _rehearse(regions, steps, allow_data=allow_data) if regions.standings.live else {}
    fenced = sorted({t for e in effects.values() for t in streams.to_fence(e, regions.standings.replicated)})
    if fenced:
        _refuse_stopped(regions)
    with regions.fenced(fenced):
        if fenced:
            run_dry({name: regions.conns[name] for name in regions.standings.engines})
        patiently(lambda: _once(regions, steps, effects), regions.patience, regions.watched)
        # A new table has its fence until every stream takes it in: what was written before would be passed over.
        regions.follow()


def _refuse_stopped(regions: Regions) -> None:
    """Nobody waits for a stream that is known to stand still."""
    for name, engine in regions.standings.engines.items():
        for subscription in engine.standing(regions.conns[name]).subscriptions:
            if subscription.state in (State.DISABLED, State.PENDING):
                raise AccountdbError(
                    f"{name}: {subscription.name} is {subscription.state}, so it cannot run dry first;"
                    " nothing was done in any region",
                    hint="migratectl region resume, or region join; then migrate again",
                )
        regions.conns[name].commit()


def _rehearse(regions: Regions, steps: Sequence[Step], *, allow_data: bool) -> dict[str, Effects]:
    """What the steps do in each region. Refuses rows that they write where the stream would write them too."""
    found = {name: rehearse_in(regions, name, steps) for name in regions.conns}
    for name, effects in found.items():
        both = set(effects.written) & regions.standings.replicated
        if both and not allow_data:
            raise Refused(
                f"{name}: the migration writes rows of {', '.join(sorted(both))}, which is replicated: they would"
                " be written in every region and come through the stream as well",
                hint="change data in one region, by a program or psql; --allow-data runs it in all as it is",
            )
    return found


def rehearse_in(regions: Regions, name: str, steps: Sequence[Step]) -> Effects:
    """What the steps would do in one region. Raises as the run itself."""
    engine = regions.standings.engines.get(name)

    def act() -> Effects:
        with regions.named(name):
            return streams.rehearse(regions.conns[name], steps, engine, regions.patience)

    return regions.try_in(name, act)


def _once(regions: Regions, steps: Sequence[Step], effects: Mapping[str, Effects]) -> None:
    """All steps in an open transaction of each region, compared, and then committed."""
    run, names = uuid.uuid4(), list(regions.conns)
    with rolled_back(list(regions.conns.values())):
        with ThreadPoolExecutor(len(names)) as pool:
            done = [pool.submit(regions.run, n, steps, Journal(len(names), run), effects.get(n)) for n in names]
            after = {one.result() for one in done}
        if len(after) > 1:
            regions.check_equal(
                "after the migration the regions would differ, so nothing was done",
                "make the migration's result depend on nothing that differs between the regions",
            )
        _commit(regions, steps)


def _commit(regions: Regions, steps: Sequence[Step]) -> None:
    committed: list[str] = []
    for name, conn in regions.conns.items():
        try:
            conn.commit()
        except psycopg.Error as error:
            if not committed:
                raise AccountdbError(
                    f"{name}: {told(error).message} while committing {steps[-1].title}",
                    hint="the same command again: it finds how far each region is, and finishes",
                ) from error
            raise AccountdbError(
                f"{steps[-1].title} is applied in {', '.join(committed)}; {name} was lost while committing:"
                f" {told(error).message}",
                hint="the same command again finishes it there, once the region is back",
            ) from error
        committed.append(name)


def _apply_apart(regions: Regions, step: Step) -> None:
    """A file that is in no transaction: one region after the other, each from where it has come."""
    run = uuid.uuid4()
    for name in regions.conns:
        regions.run_apart(name, step, Journal(len(regions.conns), run))
    with rolled_back(list(regions.conns.values())):
        regions.check_equal(
            f"after {step.title}, which ran in no transaction, the regions differ",
            "migratectl check --fix-sql FILE writes what makes them equal",
        )
