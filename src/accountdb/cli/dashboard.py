"""migratectl dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accountdb.cli import options
from accountdb.render import output
from accountdb.web import extra


def dashboard(
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    node: options.Nodes = None,
    listen: Annotated[
        str, typer.Option("--listen", metavar="ADDRESS:PORT", help="Where it is served.")
    ] = "127.0.0.1:8420",
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help="The token to sign in with; made where it is not there."),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Write nothing: resolve no conflict, and make no beats.")
    ] = False,
    read_open: Annotated[
        bool, typer.Option("--read-open", help="Show the pages to all users of this machine, without the token.")
    ] = False,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Listen on an address that other machines reach.")
    ] = False,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="NAME[:PORT]", help="A name by which a proxy serves it; may be given again."),
    ] = None,
) -> int:
    """A page with the state of the regions and the conflict inbox; until SIGTERM or Ctrl-C."""
    regions = options.regions(cn, global_, node, least=1)
    extra.require()
    from accountdb.web.running import DashboardOptions, run_dashboard

    chosen = DashboardOptions(
        listen, token_file, tuple(host or ()), read_only=read_only, read_open=read_open, allow_remote=allow_remote
    )
    return run_dashboard(regions, chosen, output.tell)
