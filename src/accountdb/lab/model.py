"""The words of the lab: modes, regions, and what the lab remembers about itself.

Nothing here touches the machine.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from accountdb.errors import AccountdbError, UsageError

Mode: TypeAlias = Literal["native", "pglogical", "pgsync"]
Region: TypeAlias = str
LinkState: TypeAlias = Literal["up", "cut", "hang"]
# Of all links together.
LinksState: TypeAlias = Literal["up", "cut", "hang", "partly"]
ServerState: TypeAlias = Literal["running", "paused", "stopped", "crashed"]
Phase: TypeAlias = Literal["starting", "ready", "kept", "stopping"]

MODES: tuple[Mode, ...] = get_args(Mode)
# A lab of n regions has the first n of these.
NAMES: tuple[Region, ...] = ("cn", "global", "apac", "eu", "us")
# Those of a lab that is asked for nothing else.
REGIONS: tuple[Region, ...] = NAMES[:2]

DATABASE = "account"
ADMIN_ROLE = "postgres"
APP_ROLE = "account"
HOST = "127.0.0.1"

STATE_FORMAT = 1


def mode_of(text: str) -> Mode:
    """``text`` as a mode. Raises UsageError."""
    if text not in MODES:
        raise UsageError(f"lab mode {text!r} is not known", hint=f"use one of {', '.join(MODES)}")
    return text


def region_of(text: str, known: Collection[Region] = REGIONS) -> Region:
    """``text`` as a name of one of the ``known`` regions. Raises UsageError."""
    if text not in known:
        raise UsageError(f"lab region {text!r} is not known", hint=f"use one of {', '.join(known)}")
    return text


def names_of(count: int) -> tuple[Region, ...]:
    """The regions of a lab of ``count``. Raises UsageError for a number that it cannot have."""
    if not len(REGIONS) <= count <= len(NAMES):
        raise UsageError(f"a lab has 2 to {len(NAMES)} regions, not {count}")
    return NAMES[:count]


def touches(link: Collection[Region], regions: Collection[Region]) -> bool:
    """Whether a link between two regions is meant by ``regions``.

    One region means all its links, in both directions, two mean the link between them, none means every link.
    """
    return set(regions) <= set(link)


@dataclass(frozen=True)
class ProcessId:
    """One process, told apart from a later one that got the same number."""

    pid: int
    start: int
    """Clock ticks between the machine's start and this process's."""
    boot: str
    """Which start of the machine the ticks count from."""


@dataclass(frozen=True)
class RegionState:
    """What is needed to reach one region's server."""

    port: int
    link_port: int
    """Through the link, for the first of the other regions; with two regions there is no other one."""
    admin_password: str = field(repr=False)
    app_password: str = field(repr=False)
    links: Mapping[Region, int] = field(default_factory=dict)
    """The port of the link for each of the other regions. Empty: all of them take ``link_port``."""


@dataclass(frozen=True)
class LabState:
    """Everything about one lab: the content of ``lab.json``, which only its owner may read."""

    phase: Phase
    mode: Mode
    keeper: ProcessId
    created_dir: bool
    """Whether the lab made its folder, and so removes it."""
    data_root: str
    """Where the servers' data is: inside the lab's folder, or a folder of its own elsewhere."""
    bin_dir: str
    server_version: str
    control_port: int = 0
    token: str = field(default="", repr=False)
    regions: Mapping[Region, RegionState] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """This state as a JSON document."""
        return {"accountdb_lab": STATE_FORMAT, **asdict(self)}


def state_from_json(document: Any, where: str) -> LabState:
    """The state in ``document``, which was read from ``where``. Raises AccountdbError."""
    try:
        if document["accountdb_lab"] != STATE_FORMAT:
            raise AccountdbError(f"{where} has format {document['accountdb_lab']}, not {STATE_FORMAT}")
        values = {key: value for key, value in document.items() if key != "accountdb_lab"}
        values["mode"] = mode_of(values["mode"])
        values["keeper"] = ProcessId(**values["keeper"])
        regions = values["regions"].items()
        values["regions"] = {region_of(name, NAMES): RegionState(**region) for name, region in regions}
        return LabState(**values)
    except (KeyError, TypeError, AttributeError):
        raise AccountdbError(f"{where} is not the record of a lab") from None
