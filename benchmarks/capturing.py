"""What capture adds to the writes of a source: single-row updates with and without it. Run by ``benchmarks.pgsync``.

Each update is a transaction of its own, by key, from several sessions. Commits wait for no disk in the
lab, so that the trigger's share is as large as it can be.
"""

from __future__ import annotations

import subprocess
import tempfile

from accountdb.lab import Lab
from accountdb.pg.connect import connect
from benchmarks.following import Pair
from benchmarks.measure import Bars, Rounds, call

CAPTURE_BAR = 0.25
SESSIONS = 4
_WITH, _WITHOUT = "updates, capture", "updates, no capture"


def measure(running: Lab, pair: Pair, rows: int, runs: int, transactions: int, bars: Bars) -> None:
    """The same number of updates of the source of ``pair``, in turn with capture and without."""
    rounds = Rounds()
    for _ in range(runs):
        for name in (_WITHOUT, _WITH):
            _prepare(pair, capture=name == _WITH)
            rounds.add(name, call(lambda: _update(running, pair, rows, transactions)))
            _check(pair, transactions if name == _WITH else 0)
    rounds.tell()
    bars.no_bar("updates a second without capture", transactions / rounds.seconds(_WITHOUT))
    bars.at_most("what capture adds to an update", rounds.ratio(_WITH, _WITHOUT) - 1, CAPTURE_BAR)


def _prepare(pair: Pair, *, capture: bool) -> None:
    pair.log(on=True)  # the log is there
    pair.log(on=capture)
    with connect(pair.source_admin, autocommit=True) as conn:
        conn.execute("TRUNCATE accountdb.change_log")
        conn.execute("VACUUM public.users")
        conn.execute("CHECKPOINT")


def _update(running: Lab, pair: Pair, rows: int, transactions: int) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(
            f"\\set n random(1, {rows})\n"
            "UPDATE public.users SET level = level + 1 WHERE uuid = md5((:n::int)::text)::uuid;\n"
        )
        script.flush()
        pgbench = [str(running.bin_dir / "pgbench"), "-n", "-M", "prepared", "-c", str(SESSIONS), "-j", "1"]
        count = ["-t", str(transactions // SESSIONS), "-f", script.name]
        subprocess.run([*pgbench, *count, pair.source], check=True, capture_output=True)


def _check(pair: Pair, logged: int) -> None:
    """Raises SystemExit where another number of changes was logged than there were."""
    with connect(pair.source) as conn:
        found = conn.execute("SELECT count(*) FROM accountdb.change_log WHERE operation = 'U'").fetchone()
    if found != (logged,):
        raise SystemExit(f"{found} changes were logged, not {logged}")
