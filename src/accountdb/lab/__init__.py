"""Throw-away PostgreSQL regions, "cn", "global" and up to three more, on this machine.

One lab serves the demo, the tests and the benchmarks::

    with lab.up(folder, "native") as pending:     # two servers, each with an empty database
        ...                                       # an error here, or our death: the lab is gone
        running = pending.keep()                  # from here on it lives by itself
    running.cut(); running.heal()
    lab.down(folder)

Linux only. Everything that a lab makes is removed with it, whoever is killed; see ``keeper``.
"""

from accountdb.lab.lab import DownReport, Lab, LabRegion, LabStatus, LinkStatus, RegionStatus, down, find
from accountdb.lab.model import MODES, NAMES, REGIONS, LinkState, Mode, Region, ServerState, mode_of
from accountdb.lab.start import PendingLab, up
from accountdb.lab.state import default_dir

__all__ = [
    "MODES",
    "NAMES",
    "REGIONS",
    "DownReport",
    "Lab",
    "LabRegion",
    "LabStatus",
    "LinkState",
    "LinkStatus",
    "Mode",
    "PendingLab",
    "Region",
    "RegionStatus",
    "ServerState",
    "default_dir",
    "down",
    "find",
    "mode_of",
    "up",
]
