"""Making a lab ready: all regions migrated, initialised and joined, each to each other."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

from accountdb.lab import NAMES, REGIONS, Lab
from accountdb.replication.model import JoinRequest, Mode
from accountdb.setup.init import InitRequest, init
from accountdb.setup.join import join

NODES = {name: f"node_{name}" for name in NAMES}


def make_ready(lab: Lab, on_progress: Callable[[str], None] = lambda line: None) -> None:
    """Bring all regions of ``lab`` to its mode, the tables owned by the ordinary role."""
    mode = Mode(lab.mode)
    for region in lab.regions:
        request = InitRequest(region.app_dsn, mode, NODES[region.name], region.admin_dsn)
        init(request)
        on_progress(f"{region.name}: schema and guards")
    if mode is Mode.PGSYNC:
        return
    for name, other in permutations(lab.names, 2):
        join(lab.region(name).admin_dsn, join_request(lab, name, other), mode)
        on_progress(f"{name}: joined" if len(lab.names) == len(REGIONS) else f"{name}: joined to {other}")


def join_request(lab: Lab, name: str, other: str) -> JoinRequest:
    """How region ``name`` of a lab joins ``other``: each reaches the other through the link between them."""
    here, there = lab.region(name), lab.region(other)
    return JoinRequest(NODES[name], here.link_from(other), subscription_name(lab, name, other), there.link_from(name))


def subscription_name(lab: Lab, name: str, other: str) -> str:
    """The subscription by which region ``name`` follows ``other``.

    pglogical names the slot after provider and subscription alone: where a provider has several followers,
    each needs a name of its own.
    """
    if lab.mode == "pglogical" and len(lab.names) > len(REGIONS):
        return f"sub_{name}_from_{other}"
    return f"sub_from_{other}"
