"""Playing one history on a lab: all regions at once, faults in between, then heal and check."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from dataclasses import dataclass

import psycopg

from accountdb.errors import AccountdbError
from accountdb.lab import Lab
from accountdb.pg.connect import Connection, connect
from accountdb.replication.drain import run_dry
from accountdb.setup import join
from accountdb.setup.merging import heal_regions
from proof import checking
from proof.history import Fault, History, Round
from proof.jobs import Jobs
from proof.writing import Acknowledged, Player

PATIENCE_S = 120.0
_NUDGE_S = 8.0

# The row contract's own trigger, but for a clock that the session says is wrong.
_SKEWED_CLOCK = b"""
CREATE OR REPLACE FUNCTION public.set_updated_at() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF current_setting('accountdb.apply', true) = 'on' THEN
        RETURN NEW;
    END IF;
    NEW.created_at := OLD.created_at;
    NEW.updated_at := greatest(
        clock_timestamp() + coalesce(nullif(current_setting('proof.skew', true), ''), '0 minutes')::interval,
        OLD.updated_at + interval '1 microsecond');
    RETURN NEW;
END
$$
"""
_EMPTY = b"""
SET session_replication_role = replica;
SET accountdb.allow_truncate = on;
TRUNCATE public.users, public.identities, public.sessions, public.admin_settings, public.subscriptions,
    accountdb.tombstone, accountdb.conflict, accountdb.resolution
"""


@dataclass(frozen=True)
class Outcome:
    """How one history ended: what was wrong (nothing: proved), and what it took."""

    seed: int
    faults: tuple[str, ...]
    writes: int
    conflicts: int
    healed: int
    seconds: float


def prepare(lab: Lab) -> None:
    """Make a ready lab fit for proofs: a clock that can be skewed."""
    for region in lab.regions:
        with connect(region.admin_dsn, autocommit=True) as conn:
            conn.execute(_SKEWED_CLOCK)


def play(lab: Lab, history: History, *, patience_s: float = PATIENCE_S, jobs: Jobs | None = None) -> Outcome:
    """Play ``history`` on empty regions and check what it leaves.

    ``patience_s`` is how long the streams may take to run dry afterwards. ``jobs`` take the place of streams.
    """
    began = time.monotonic()
    for region in lab.regions:
        with connect(region.admin_dsn, autocommit=True) as conn:
            conn.execute(_EMPTY)
    offsets: dict[str, int] = {region.name: region.log_file.stat().st_size for region in lab.regions}
    players: dict[str, Player] = {region.name: Player(region.name, region.app_dsn, history) for region in lab.regions}
    versions = checking.Versions()
    deaths = random.Random(f"{history.seed}/jobs")
    if jobs:
        jobs.watch()
    for round_ in history.rounds:
        _round(lab, round_, players)
        if jobs:
            jobs.perhaps_kill(deaths)
        if round_.fault is Fault.KILL:
            versions.crashed(round_.region)
        _look(lab, versions)
    restore(lab)
    faults, healed = jobs.settle(patience_s) if jobs else _settle(lab, patience_s)
    _look(lab, versions)
    promised: dict[str, Acknowledged] = {name: player.acknowledged for name, player in players.items()}
    if not faults:
        faults = checking.everything(lab, promised, offsets)
    return Outcome(
        history.seed,
        tuple(faults + versions.faults),
        sum(len(numbers) for a in promised.values() for numbers in a.writes.values()),
        _conflicts(lab),
        healed,
        time.monotonic() - began,
    )


def _round(lab: Lab, round_: Round, players: dict[str, Player]) -> None:
    _fault(lab, round_, players)
    # The writer of a paused server would wait with it.
    writing = [name for name in players if not (round_.fault is Fault.PAUSE and name == round_.region)]
    threads = [
        threading.Thread(target=players[name].play, args=(round_.transactions.get(name, ()),), daemon=True)
        for name in writing
    ]
    for thread in threads:
        thread.start()
    if round_.fault is Fault.KILL:
        lab.kill(round_.region)
        lab.start(round_.region)
    for thread in threads:
        thread.join()
    if round_.fault is Fault.PAUSE:
        lab.resume(round_.region)


def _fault(lab: Lab, round_: Round, players: dict[str, Player]) -> None:
    match round_.fault:
        case Fault.CUT:
            lab.cut(*round_.apart)
        case Fault.HANG:
            lab.cut(*round_.apart, hang=True)
        case Fault.HEAL:
            lab.heal()
            _resume(lab)
        case Fault.PAUSE:
            lab.pause(round_.region)
        case Fault.RESTART:
            lab.stop(round_.region)
            lab.start(round_.region)
        case Fault.FREEZE:
            with connect(lab.region(round_.region).admin_dsn, autocommit=True) as conn:
                conn.execute("VACUUM (FREEZE)")
        case Fault.SKEW:
            players[round_.region].skew_minutes = round_.minutes
        case Fault.KILL | Fault.NONE:
            pass


def _look(lab: Lab, versions: checking.Versions) -> None:
    for region in lab.regions:
        with connect(region.admin_dsn, autocommit=True) as conn:
            versions.look(region.name, conn)


def restore(lab: Lab) -> None:
    """End every fault."""
    lab.heal()
    for region in lab.status().regions:
        if region.server == "paused":
            lab.resume(region.name)
        elif region.server != "running":
            lab.start(region.name)
    _resume(lab)


def _resume(lab: Lab) -> None:
    """Have failed workers try again at once, as an operator does after an outage."""
    for region in lab.regions:
        with contextlib.suppress(AccountdbError, psycopg.Error):
            join.resume(region.admin_dsn)


def _settle(lab: Lab, patience_s: float) -> tuple[list[str], int]:
    """Let the streams run dry and heal, until a pass has nothing to do. Faults where it does not end."""
    healed = 0
    for _ in range(4):
        if not quiet(lab, patience_s):
            return [f"the streams did not run dry within {patience_s:g} s"], healed
        try:
            found = heal_regions({region.name: region.admin_dsn for region in lab.regions}, within_s=3600)
        except AccountdbError as error:
            return [f"healing failed: {error.message}"], healed
        wrote = sum(found.written.values())
        healed += wrote
        if found.different:
            return [f"healing left {len(found.different)} rows different: {found.different[:3]}"], healed
        if wrote == 0:
            return [], healed
    return ["healing wrote something in each of 4 passes"], healed


def quiet(lab: Lab, patience_s: float) -> bool:
    """Wait until each region has confirmed all that the others had written; nudge what stays behind."""
    deadline = time.monotonic() + patience_s
    with contextlib.ExitStack() as stack:
        providers: dict[str, Connection] = {
            r.name: stack.enter_context(connect(r.admin_dsn, autocommit=True)) for r in lab.regions
        }
        while (left := deadline - time.monotonic()) > 0:
            try:
                run_dry(providers, within_s=min(_NUDGE_S, left))
            except AccountdbError:
                _resume(lab)
            else:
                return True
    return False


def _conflicts(lab: Lab) -> int:
    with connect(lab.region("cn").admin_dsn, autocommit=True) as conn:
        row = conn.execute("SELECT count(*) FROM accountdb.conflict").fetchone()
    return int(row[0]) if row else 0
