"""The lab as its users see it: bring it up, find it, break the link, take it down."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accountdb.errors import AccountdbError, UsageError
from accountdb.lab import control, leftovers, process, state
from accountdb.lab.model import (
    ADMIN_ROLE,
    APP_ROLE,
    DATABASE,
    HOST,
    NAMES,
    REGIONS,
    LabState,
    LinksState,
    LinkState,
    Mode,
    Region,
    ServerState,
    region_of,
)
from accountdb.lab.settings import LOG_FOLDER, LOG_NAME

UP_HINT = "migratectl lab up"
_DOWN_TIMEOUT_S = 40.0
_LOCK_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class LabRegion:
    """One region's server: how to reach it and where its files are."""

    name: Region
    port: int
    link_port: int
    """The port by which the other region (of several, the first) reaches this one, through the link."""
    admin_dsn: str = field(repr=False)
    """Superuser, straight to the server, database ``account``."""
    app_dsn: str = field(repr=False)
    """The ordinary role that owns the database."""
    link_dsn: str = field(repr=False)
    """Superuser, through the link: what the *other* region (of several, the first) uses to reach this one."""
    data_dir: Path
    log_file: Path
    links: Mapping[Region, str] = field(repr=False, default_factory=dict)
    """The same for each of the other regions."""

    def link_from(self, peer: Region) -> str:
        """Superuser, through the link between region ``peer`` and this one: what ``peer`` uses to reach this one."""
        return self.links.get(peer, self.link_dsn)


@dataclass(frozen=True)
class RegionStatus:
    """One region's server at this moment."""

    name: Region
    server: ServerState
    pid: int | None
    """The postmaster's process; None when none runs."""
    port: int
    link_port: int
    link_connections: int
    """Connections that the other regions have open through their links."""


@dataclass(frozen=True)
class LinkStatus:
    """One link at this moment: by it region ``of`` reaches region ``to``."""

    to: Region
    of: Region
    port: int
    state: LinkState


@dataclass(frozen=True)
class LabStatus:
    """A lab at this moment."""

    dir: Path
    mode: Mode
    server_version: str
    keeper_pid: int
    link: LinksState
    latency_ms: float
    """One way; a round trip through the link takes twice as long."""
    regions: tuple[RegionStatus, ...]
    links: tuple[LinkStatus, ...] = ()

    def between(self) -> dict[tuple[Region, Region], LinkState]:
        """The state of the link between any two regions, where one direction is not up that one."""
        found: dict[tuple[Region, Region], LinkState] = {}
        for link in self.links:
            ends = (min(link.to, link.of, key=NAMES.index), max(link.to, link.of, key=NAMES.index))
            if found.get(ends, "up") == "up":
                found[ends] = link.state
        return found


@dataclass(frozen=True)
class DownReport:
    """What ``down`` found and did."""

    dir: Path
    was_running: bool
    """A keeper was alive and ended."""
    cleaned: bool
    """There were left-overs of a keeper that had been killed; they are removed."""


@dataclass(frozen=True)
class Lab:
    """A running lab. Every command goes to its keeper and raises AccountdbError when that is gone."""

    dir: Path
    state: LabState = field(repr=False)

    @property
    def mode(self) -> Mode:
        """What the servers were made for."""
        return self.state.mode

    @property
    def server_version(self) -> str:
        """The servers' version, as they tell it."""
        return self.state.server_version

    @property
    def bin_dir(self) -> Path:
        """The servers' programs; psql and pg_dump of the same version are there too."""
        return Path(self.state.bin_dir)

    @property
    def keeper_pid(self) -> int:
        """The process that the lab lives in."""
        return self.state.keeper.pid

    def region(self, name: str) -> LabRegion:
        """One region: ``cn``, ``global``, ... Raises UsageError for a name that the lab does not have."""
        region = region_of(name, self.names)
        known = self.state.regions[region]
        data_dir = Path(self.state.data_root) / region
        return LabRegion(
            name=region,
            port=known.port,
            link_port=known.link_port,
            admin_dsn=_dsn(ADMIN_ROLE, known.admin_password, known.port),
            app_dsn=_dsn(APP_ROLE, known.app_password, known.port),
            link_dsn=_dsn(ADMIN_ROLE, known.admin_password, known.link_port),
            data_dir=data_dir,
            log_file=data_dir / LOG_FOLDER / LOG_NAME,
            links={peer: _dsn(ADMIN_ROLE, known.admin_password, port) for peer, port in known.links.items()},
        )

    @property
    def names(self) -> tuple[Region, ...]:
        """The regions' names: cn, global, and more where the lab has more."""
        return tuple(name for name in NAMES if name in self.state.regions)

    @property
    def regions(self) -> tuple[LabRegion, ...]:
        """All regions: cn, global, and more where the lab has more."""
        return tuple(self.region(name) for name in self.names)

    def env(self) -> dict[str, str]:
        """The environment variables by which every command finds the regions."""
        # Of two no list is needed: CN_DSN and GLOBAL_DSN are taken without one.
        values = {"ACCOUNTDB_REGIONS": " ".join(self.names)} if len(self.names) > len(REGIONS) else {}
        for region in self.regions:
            prefix = region.name.upper()
            values[f"{prefix}_DSN"] = region.admin_dsn
            values[f"{prefix}_APP_DSN"] = region.app_dsn
            values[f"{prefix}_LINK_DSN"] = region.link_dsn
        return values

    def status(self) -> LabStatus:
        """The state of servers and link."""
        return self._ask("status")

    def cut(self, *regions: Region, hang: bool = False) -> LabStatus:
        """Cut the links: their connections are reset and new ones refused, both directions.

        ``regions``: none means all links, one those of that region, two the one between them.
        ``hang``: instead of that connections stay open and no byte passes. Idempotent.
        """
        return self._ask("hang" if hang else "cut", regions=self._meant(regions))

    def heal(self, *regions: Region) -> LabStatus:
        """Let the links work again, on the same ports; ``regions`` as in ``cut``. Idempotent."""
        return self._ask("heal", regions=self._meant(regions))

    def _meant(self, regions: Sequence[Region]) -> list[Region]:
        if len(set(regions)) != len(regions) or len(regions) > 2:
            raise UsageError(
                f"{', '.join(regions)}: a link is between two regions", hint="one region, or two different ones"
            )
        return [region_of(region, self.names) for region in regions]

    def latency(self, milliseconds: float) -> LabStatus:
        """Delay every byte on the link by that much, each way; bandwidth stays. 0 ends it."""
        if not (math.isfinite(milliseconds) and 0 <= milliseconds <= 60_000):
            raise UsageError(f"latency {milliseconds} ms is not between 0 and 60000")
        return self._ask("latency", ms=milliseconds)

    def stop(self, region: str) -> LabStatus:
        """Stop one region's server in good order. Idempotent."""
        return self._ask("stop", region=region_of(region, self.names))

    def start(self, region: str) -> LabStatus:
        """Start one region's server again: same port, same data. Idempotent.

        After a kill it recovers from its write-ahead log first.
        """
        return self._ask("start", region=region_of(region, self.names))

    def start_with(self, region: str, environment: Mapping[str, str]) -> LabStatus:
        """Start one region's stopped server with more in its environment: a clock that is off, say.

        The next ``start`` is without it again.
        """
        return self._ask("start", region=region, environment=dict(environment))

    def kill(self, region: str) -> LabStatus:
        """Crash one region's server: SIGKILL to all its processes. Idempotent."""
        return self._ask("kill", region=region_of(region, self.names))

    def pause(self, region: str) -> LabStatus:
        """Hold one region's server with SIGSTOP: connections stay open, nothing answers. Idempotent."""
        return self._ask("pause", region=region_of(region, self.names))

    def resume(self, region: str) -> LabStatus:
        """Let a paused server go on. Idempotent."""
        return self._ask("resume", region=region_of(region, self.names))

    def down(self) -> DownReport:
        """End this lab; see ``down``."""
        return down(self.dir)

    def _ask(self, command: str, **arguments: Any) -> LabStatus:
        answer: Mapping[str, Any] = control.request(self.state.control_port, self.state.token, command, **arguments)
        return LabStatus(
            dir=self.dir,
            mode=self.mode,
            server_version=self.server_version,
            keeper_pid=self.keeper_pid,
            link=answer["link"],
            latency_ms=answer["latency_ms"],
            regions=tuple(RegionStatus(**region) for region in answer["regions"]),
            links=tuple(LinkStatus(**link) for link in answer["links"]),
        )


def _dsn(role: str, password: str, port: int) -> str:
    """A URL; the passwords are made of characters that need no escape in one."""
    return f"postgresql://{role}:{password}@{HOST}:{port}/{DATABASE}"


def find(folder: Path | None = None) -> Lab:
    """The lab that runs in ``folder`` (the default folder when None).

    Raises AccountdbError, with what to do, when none runs there.
    """
    where = state.resolved(folder)
    record = state.read(where)
    if record is None:
        raise AccountdbError(f"no lab at {where}", hint=UP_HINT)
    if not process.alive(record.keeper):
        raise AccountdbError(
            f"the lab at {where} is dead: its keeper was killed", hint=f"{UP_HINT} (it cleans up first)"
        )
    if record.phase != "kept":
        doing = "going down" if record.phase == "stopping" else "still being started"
        raise AccountdbError(f"the lab at {where} is {doing}", hint="try again in a few seconds")
    return Lab(where, record)


def down(folder: Path | None = None) -> DownReport:
    """End the lab in ``folder`` and remove everything of it, also when its keeper is dead.

    Nothing to do is fine. Raises UsageError for a folder that is not a lab's (it is not touched).
    """
    where = state.resolved(folder)
    state.require_ours(where)
    record = state.read(where)
    was_running = _end_keeper(record)
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    while True:
        try:
            lock = state.DirLock.take(where, create=False)
            break
        except FileNotFoundError:
            return DownReport(where, was_running, cleaned=False)
        except state.BusyError:
            # A keeper that has not written its record yet, or has just removed it.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
            was_running = _end_keeper(state.read(where)) or was_running
    left = state.read(where)
    cleaned = leftovers.clean(lock) or left is not None
    lock.release(remove_folder=left is not None and left.created_dir)
    return DownReport(where, was_running, cleaned)


def _end_keeper(record: LabState | None) -> bool:
    """Ask the keeper to end and wait for it; one that does not is killed. Whether it was alive."""
    if record is None:
        return False
    try:
        keeper = process.Handle(record.keeper)
    except ProcessLookupError:
        return False
    try:
        keeper.send(signal.SIGTERM)
        if not keeper.wait(_DOWN_TIMEOUT_S):
            keeper.send(signal.SIGKILL)
            keeper.wait(_DOWN_TIMEOUT_S)
    finally:
        keeper.close()
    return True
