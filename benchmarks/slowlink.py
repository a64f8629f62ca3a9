"""The first load over a slow link. Run by ``benchmarks.pgsync``.

The source is reached through the lab's link, as it is from another region. The latency is that of each
direction: a round trip takes twice as long. It is the harder of the two ways to say 100 ms.
"""

from __future__ import annotations

from accountdb.contract.row_contract import ACCOUNT_TABLES
from accountdb.lab import Lab
from benchmarks.following import Pair
from benchmarks.measure import Bars, Rounds

SLOW_BAR = 2.0
_NEAR, _IDLE = "first load, no latency", "nothing to do, far"


def measure(running: Lab, pair: Pair, rows: int, runs: int, bars: Bars, latency_ms: float) -> None:
    """Fill the empty users of ``pair`` through the link, in turn with and without latency in each direction."""
    far = f"first load, {latency_ms:g} ms each way"
    port = running.region("cn").link_port
    rounds = Rounds()
    pair.log(on=True)
    running.heal()
    for _ in range(runs):
        for name, latency in ((_NEAR, 0.0), (far, latency_ms)):
            pair.empty()
            running.latency(latency)
            rounds.add(name, pair.sync("--once", through=port, inserted=rows).took)
            pair.check(rows)
        # What a pass waits for, whatever it carries.
        pair.sync(tables=ACCOUNT_TABLES)
        rounds.add(_IDLE, pair.sync(through=port, tables=ACCOUNT_TABLES, read=0).took)
    running.latency(0)
    rounds.tell()
    bars.at_most(f"{far} / without", rounds.ratio(far, _NEAR), SLOW_BAR)
    bars.no_bar(f"a pass with nothing to do, {latency_ms:g} ms each way", rounds.seconds(_IDLE), " s")
