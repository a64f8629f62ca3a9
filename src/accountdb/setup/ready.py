"""Making a lab ready: both regions migrated, initialised and joined."""

from __future__ import annotations

from collections.abc import Callable

from accountdb.lab import Lab
from accountdb.replication.model import JoinRequest, Mode
from accountdb.setup.init import InitRequest, init
from accountdb.setup.join import join

NODES = {"cn": "node_cn", "global": "node_global"}


def make_ready(lab: Lab, on_progress: Callable[[str], None] = lambda line: None) -> None:
    """Bring both regions of ``lab`` to its mode, the tables owned by the ordinary role."""
    mode = Mode(lab.mode)
    for region in lab.regions:
        request = InitRequest(region.app_dsn, mode, NODES[region.name], region.admin_dsn)
        init(request)
        on_progress(f"{region.name}: schema and guards")
    if mode is Mode.PGSYNC:
        return
    for name, other in (("cn", "global"), ("global", "cn")):
        join(lab.region(name).admin_dsn, join_request(lab, name, other), mode)
        on_progress(f"{name}: joined")


def join_request(lab: Lab, name: str, other: str) -> JoinRequest:
    """How region ``name`` of a lab joins ``other``: each reaches the other through the link."""
    return JoinRequest(NODES[name], lab.region(name).link_dsn, f"sub_from_{other}", lab.region(other).link_dsn)
