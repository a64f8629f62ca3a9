"""migratectl lab: throw-away regions on this machine, two or more."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from accountdb import lab
from accountdb.cli import options
from accountdb.render import output
from accountdb.setup.ready import make_ready

app = typer.Typer(help="Throw-away regions on this machine: two, or up to five.", no_args_is_help=True)

Dir = Annotated[
    Path | None,
    typer.Option("--dir", envvar="ACCOUNTDB_LAB_DIR", metavar="DIR", help="The lab's folder.", show_default=False),
]


Between = Annotated[
    list[str] | None,
    typer.Option(
        "--region",
        metavar="REGION",
        help="Only the links of this region; given twice, only the link between the two.",
        show_default=False,
    ),
]


@app.command()
def up(
    mode: Annotated[str, typer.Option("--mode", metavar="MODE", help="native, pglogical or pgsync.")] = "native",
    directory: Dir = None,
    ready: Annotated[bool, typer.Option("--ready", help="Migrate, init and join the regions as well.")] = False,
    owner_pid: Annotated[
        int | None, typer.Option("--owner-pid", metavar="PID", help="End the lab when this process ends.")
    ] = None,
    regions: Annotated[
        int | None,
        typer.Option("--regions", metavar="N", help="How many: 2 (the default) to 5.", show_default=False),
    ] = None,
    bin_dir: Annotated[
        Path | None, typer.Option("--bin-dir", metavar="DIR", help="The programs of another PostgreSQL.")
    ] = None,
) -> int:
    """Start two servers or more, each with an empty database ``account``."""
    chosen = lab.mode_of(options.mode(mode).value)
    starting = lab.up(directory, chosen, owner_pid=owner_pid, bin_dir=bin_dir, regions=regions, on_progress=output.tell)
    with starting as pending:
        if ready:
            make_ready(pending.lab, output.tell)
        running = pending.keep()
    state = "runs" if pending.started else "was running already"
    output.tell(f"the lab {state} in {running.dir}: PostgreSQL {running.server_version}, mode {running.mode}")
    where = f" --dir {shlex.quote(str(running.dir))}" if directory else ""
    output.tell(f'hint: eval "$(migratectl lab env{where})"')
    return 0


@app.command()
def down(directory: Dir = None) -> int:
    """End the lab and remove everything of it."""
    found = lab.down(directory)
    what = (
        "is down"
        if found.was_running
        else ("was dead, its left-overs are removed" if found.cleaned else "was not running")
    )
    output.tell(f"the lab in {found.dir} {what}")
    return 0


@app.command()
def status(directory: Dir = None, json: options.Json = False) -> int:
    """The state of the servers and of the links between them; exit status 1 unless all of it works."""
    found = lab.find(directory).status()
    if json:
        output.say(output.as_json(found))
    else:
        output.say(f"mode {found.mode}, PostgreSQL {found.server_version}, link {found.link}")
        for region in found.regions:
            output.say(f"{region.name}: {region.server}, port {region.port}, link port {region.link_port}")
        for (one, other), state in found.between().items() if found.link == "partly" else ():
            output.say(f"link between {one} and {other}: {state}")
    return 0 if found.link == "up" and all(r.server == "running" for r in found.regions) else 1


@app.command()
def env(directory: Dir = None) -> int:
    """Print the variables by which every command finds the regions: eval "$(migratectl lab env)"."""
    for name, value in lab.find(directory).env().items():
        output.say(f"export {name}={shlex.quote(value)}")
    return 0


@app.command()
def cut(
    directory: Dir = None,
    region: Between = None,
    hang: Annotated[
        bool, typer.Option("--hang", help="Let connections stand and pass nothing, as a firewall does.")
    ] = False,
) -> int:
    """Cut the links between the regions; clients of each region are not touched."""
    output.tell(f"link: {lab.find(directory).cut(*region or (), hang=hang).link}")
    return 0


@app.command()
def heal(directory: Dir = None, region: Between = None) -> int:
    """Let the links work again."""
    output.tell(f"link: {lab.find(directory).heal(*region or ()).link}")
    return 0
