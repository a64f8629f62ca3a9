"""migratectl metrics."""

from __future__ import annotations

from typing import Annotated

import typer

from accountdb.cli import options
from accountdb.render import output
from accountdb.web import extra


def metrics(
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    node: options.Nodes = None,
    listen: Annotated[
        str, typer.Option("--listen", metavar="ADDRESS:PORT", help="Where they are served.")
    ] = "127.0.0.1:9187",
    interval: Annotated[
        float, typer.Option("--interval", metavar="SECONDS", min=1, max=3600, help="How often the regions are read.")
    ] = 15,
    once: Annotated[bool, typer.Option("--once", help="Read once, print the metrics, end.")] = False,
    no_beat: Annotated[bool, typer.Option("--no-beat", help="Write no beats: the regions are only read.")] = False,
) -> int:
    """Prometheus metrics at /metrics, with /healthz and /readyz; until SIGTERM or Ctrl-C."""
    regions = options.regions(cn, global_, node, least=1)
    extra.require()
    from accountdb.web.running import measure, serve_metrics

    if once:
        output.say(measure(regions, beats=not no_beat).rstrip("\n"))
        return 0
    return serve_metrics(regions, listen, interval, output.tell, beats=not no_beat)
