"""The two programs of this room: from options to a server that runs until a signal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from accountdb.errors import Refused
from accountdb.web import access, listening, metrics
from accountdb.web.dashboard import application
from accountdb.web.serving import metrics_application
from accountdb.web.site import Site
from accountdb.web.watching import Watch

_DASHBOARD_EVERY_S = 5.0


@dataclass(frozen=True)
class DashboardOptions:
    """What was asked for. ``hosts`` are names by which a proxy serves the page."""

    listen: str
    token_file: Path | None
    hosts: tuple[str, ...]
    read_only: bool = False
    read_open: bool = False
    allow_remote: bool = False


def run_dashboard(dsns: Mapping[str, str], options: DashboardOptions, tell: Callable[[str], None]) -> int:
    """Serve the dashboard until a signal. Raises Refused for an address that other machines reach."""
    wanted = listening.address(options.listen)
    if not wanted.loopback and not options.allow_remote:
        raise Refused(
            f"--listen {wanted.text} is reached by other machines, and the page shows accounts without encryption",
            hint="--allow-remote allows it; better: leave it on 127.0.0.1, behind a proxy with TLS, with --host NAME",
        )
    socket, address = listening.bound(wanted)
    token = access.token_in(options.token_file) if options.token_file else access.made_token()
    site = Site(
        dsns,
        access.Sessions(token),
        access.hosts(address.text, address.port, options.hosts),
        access.cookie_name(address.port),
        Watch(dsns, _DASHBOARD_EVERY_S, beats=not options.read_only, conflicts=True),
        read_open=options.read_open,
        read_only=options.read_only,
    )
    site.watch.start()
    tell(f"dashboard: http://{address.text}/")
    tell(f"token: in {options.token_file}" if options.token_file else f"token: {token}")
    listening.serve(application(site), socket)
    tell("dashboard: ended")
    return 0


def serve_metrics(
    dsns: Mapping[str, str], listen: str, interval_s: float, tell: Callable[[str], None], *, beats: bool
) -> int:
    """Serve the metrics until a signal."""
    socket, address = listening.bound(listening.address(listen))
    watch = Watch(dsns, interval_s, beats=beats, conflicts=False)
    watch.start()
    tell(f"metrics: http://{address.text}/metrics")
    listening.serve(metrics_application(watch), socket)
    tell("metrics: ended")
    return 0


def measure(dsns: Mapping[str, str], *, beats: bool) -> str:
    """The metrics of one reading made now, as Prometheus text."""
    watch = Watch(dsns, 5.0, beats=beats, conflicts=False)
    watch.once()
    return metrics.text(watch.latest)
