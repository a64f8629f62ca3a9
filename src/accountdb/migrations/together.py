"""Several regions that move together: what the ledgers and fingerprints of all say about the last run. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accountdb.errors import AccountdbError
from accountdb.migrations.files import OWN, Migration
from accountdb.migrations.ledger import Logged
from accountdb.migrations.planning import Applied, Step


@dataclass(frozen=True)
class RegionState:
    """What one region says. ``last`` is its last run; ``known`` are those of the others' last runs that it has too.

    ``begun``: it has begun a file that runs statement by statement, and is not through.
    """

    ledger: tuple[Applied, ...]
    fingerprint: str
    last: tuple[Logged, ...] = ()
    known: frozenset[str] = frozenset()
    begun: bool = False


@dataclass(frozen=True)
class Unfinished:
    """A run that was committed in ``leader`` and did not come through in ``regions``."""

    leader: str
    regions: tuple[str, ...]
    run: tuple[Logged, ...]


def unfinished(states: Mapping[str, RegionState]) -> Unfinished | None:
    """The run that has to be finished before anything else; None where all regions stand at the same files.

    A region is one in which a joint run did not come through exactly when it has not noted that run, its
    ledger is that of the others but for the run's steps, and its structure is what theirs was before it: so
    nothing but the lost commit stands between them. Raises AccountdbError for a region that stands elsewhere.
    """
    if len({frozenset(state.ledger) for state in states.values()}) == 1:
        return None
    for leader, state in states.items():
        if state.last and state.last[0].regions > 1:
            behind = tuple(name for name, other in states.items() if _lost(state, other))
            others = [other for name, other in states.items() if name not in behind]
            if behind and len({frozenset(other.ledger) for other in others}) == 1:
                return Unfinished(leader, behind, state.last)
    raise AccountdbError(
        f"the regions stand at different versions: {_told(states)}; nothing was done", hint=_hint(states)
    )


def _lost(leader: RegionState, other: RegionState) -> bool:
    run = leader.last
    if str(run[0].run) in other.known or frozenset(other.ledger) != _before(leader.ledger, run):
        return False
    return other.begun or other.fingerprint == run[0].before


def _before(ledger: Sequence[Applied], run: Sequence[Logged]) -> frozenset[Applied]:
    """The ledger as it was before the steps of ``run``."""
    found = set(ledger)
    for step in reversed(run):
        entry = Applied(step.version, step.name, step.checksum, step.series)
        if step.direction == "down":
            found.add(entry)
        else:
            found.discard(entry)
    return frozenset(found)


def _told(states: Mapping[str, RegionState]) -> str:
    series = sorted({entry.series for state in states.values() for entry in state.ledger}) or ["accountdb"]
    said = []
    for name, state in states.items():
        versions = {s: max((e.version for e in state.ledger if e.series == s), default=0) for s in series}
        listed = ", ".join(f"{s} {v}" for s, v in versions.items()) if len(series) > 1 else str(versions[series[0]])
        said.append(f"{name} at {listed}")
    return ", ".join(said)


def _hint(states: Mapping[str, RegionState]) -> str:
    behind = min(states, key=lambda name: len(states[name].ledger))
    missing = {entry for state in states.values() for entry in state.ledger} - set(states[behind].ledger)
    series = min(entry.series for entry in missing)
    to = max(entry.version for entry in missing if entry.series == series)
    folder = "" if series == OWN else " --dir DIR"
    return f"bring {behind} there first: migratectl migrate --dsn DSN{folder} --to {to}, with its DSN; then all"


def steps_of(run: Sequence[Logged], files: Mapping[str, Sequence[Migration]]) -> tuple[Step, ...]:
    """The steps of a run again, out of the files of each series.

    Raises AccountdbError where a file is not there, or is not what it was.
    """
    found: list[Step] = []
    for logged in run:
        file = next((f for f in files.get(logged.series, ()) if f.version == logged.version), None)
        if file is None or file.checksum != logged.checksum:
            reason = "is not in the folder" if file is None else "was changed since"
            raise AccountdbError(
                f"the last run was committed in one region and not in all, and {logged.title} {reason}",
                hint="give the folder that it was run from (--dir), with the file as it was",
            )
        found.append(Step(file, logged.direction != "down"))
    return tuple(found)
