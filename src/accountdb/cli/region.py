"""migratectl init and migratectl region: taking part in replication."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from accountdb.cli import options, report
from accountdb.cli.merge import tell_receipt
from accountdb.cli.slotguard import slot_guard
from accountdb.errors import UsageError
from accountdb.pg import dsn as dsns
from accountdb.render.progress import meter
from accountdb.replication.model import JoinRequest
from accountdb.setup import join as joining
from accountdb.setup import leave as leaving
from accountdb.setup.init import InitRequest
from accountdb.setup.init import init as prepare
from accountdb.setup.leave import LeaveRequest
from accountdb.setup.offering import refresh as offer_own
from accountdb.setup.password import new_password
from accountdb.setup.resync import resync_from, resync_regions
from accountdb.setup.user import create_user as make_user

app = typer.Typer(help="Join a region to another, leave it, pause and resume its streams.", no_args_is_help=True)


def init(
    dsn: options.Dsn = None,
    mode: Annotated[
        str,
        typer.Option("--mode", envvar="REPLICATION_MODE", metavar="MODE", help="pgsync, pglogical or native."),
    ] = "pgsync",
    node: Annotated[str | None, typer.Option("--node", metavar="NAME", help="This region's node name.")] = None,
    admin_dsn: Annotated[
        str | None,
        typer.Option("--admin-dsn", metavar="DSN", help="A superuser, for what an ordinary role may not do."),
    ] = None,
    grant_to: Annotated[
        str | None,
        typer.Option("--grant-to", metavar="ROLE", help="The business role: what it needs, no more."),
    ] = None,
) -> int:
    """Prepare a database for a mode: schema, row contract, extension, guards, rights.

    Run by an ordinary role it does all that this role may, says what is missing and what an
    administrator must run, and can be run again. DB_ADMIN_USER and DB_ADMIN_PASS in the
    environment stand for --admin-dsn.
    """
    target = options.one(dsn)
    request = InitRequest(target, options.mode(mode), node, admin_dsn or _admin_from_environment(target), grant_to)
    report.show(prepare(request))
    return 0


def create_user(
    dsn: options.Dsn = None,
    user: Annotated[str, typer.Option("--user", envvar="DB_USER", metavar="NAME", help="The business role.")] = "",
    admin_dsn: Annotated[
        str | None, typer.Option("--admin-dsn", metavar="DSN", help="A role that may make roles.")
    ] = None,
) -> int:
    """Make the business role, or change its password, and grant it the account tables.

    The password comes from the environment variable DB_PASS.
    """
    target = options.one(dsn)
    password = os.environ.get("DB_PASS", "")
    if not user or not password:
        raise UsageError("the role's name or password is missing", hint="--user NAME, and DB_PASS in the environment")
    admin = admin_dsn or _admin_from_environment(target)
    report.show(make_user(target, user, password, admin_dsn=admin))
    return 0


def _admin_from_environment(dsn: str) -> str | None:
    user = os.environ.get("DB_ADMIN_USER")
    if not user:
        if os.environ.get("DB_ADMIN_PASS"):
            raise UsageError("DB_ADMIN_PASS is set and DB_ADMIN_USER is not", hint="set both, or neither")
        return None
    password = os.environ.get("DB_ADMIN_PASS")
    return dsns.with_params(dsn, user=user, **({"password": password} if password else {}))


@app.command()
def join(
    node: Annotated[str, typer.Option("--node", envvar="NODE_NAME", metavar="NAME", help="This region's node name.")],
    node_dsn: Annotated[
        str,
        typer.Option("--node-dsn", envvar="NODE_DSN", metavar="DSN", help="How the other region reaches this one."),
    ],
    subscription: Annotated[
        str,
        typer.Option(
            "--subscription",
            envvar="SUBSCRIPTION_NAME",
            metavar="NAME",
            help="The subscription to make here.",
        ),
    ],
    provider_dsn: Annotated[
        str,
        typer.Option("--provider-dsn", envvar="PROVIDER_DSN", metavar="DSN", help="How this region reaches the other."),
    ],
    dsn: options.Dsn = None,
    mode: Annotated[
        str | None,
        typer.Option("--mode", metavar="MODE", help="pglogical or native; the mode of init when left out."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="TABLE", help="A table of public that is not replicated."),
    ] = None,
) -> int:
    """Follow another region, after a check of both. Copies no rows; joining twice changes nothing."""
    request = JoinRequest(node, node_dsn, subscription, provider_dsn, tuple(exclude or ()))
    report.show(joining.join(options.one(dsn), request, options.mode(mode) if mode else None))
    return 0


@app.command()
def leave(
    gone_node: Annotated[
        str | None, typer.Argument(metavar="NODE", help="With --gone: which node is gone, where there are several.")
    ] = None,
    dsn: options.Dsn = None,
    subscription: options.Subscription = None,
    gone: Annotated[
        bool,
        typer.Option(
            "--gone", help="The other side will never come back: drop its slots here, do not wait for it. Not undoable."
        ),
    ] = False,
    drop_guards: Annotated[
        bool, typer.Option("--drop-guards", help="Take the guards off too: deletes are not noted any more.")
    ] = False,
) -> int:
    """Stop following, and stop offering changes when nobody follows any more."""
    request = LeaveRequest(subscription, gone, gone_node, drop_guards)
    report.show(leaving.leave(options.one(dsn), request))
    return 0


@app.command()
def resync(
    dsn: options.Dsn = None,
    subscription: options.Subscription = None,
    provider_dsn: Annotated[
        str | None,
        typer.Option(
            "--provider-dsn",
            envvar="PROVIDER_DSN",
            metavar="DSN",
            help="How this region reaches the other; the subscription's own when left out, for an administrator.",
        ),
    ] = None,
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    node: options.Nodes = None,
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="NAME", help="The one region whose subscriptions are made anew."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every stream between them: after a region was restored from a backup.")
    ] = False,
) -> int:
    """After a lost or dropped slot: a new stream, then a merge; exit status 1 when rows still differ.

    Of two regions or more (--cn and --global, --node) it finds the streams that cannot go on by itself.
    """
    regions = options.regions(cn, global_, node) if region or every else options.some(dsn, cn, global_, node)
    with meter() as watch:
        if "" in regions:
            done = resync_from(regions[""], provider_dsn, subscription, watch)
        else:
            done = resync_regions(regions, region, watch, every=every)
    report.show(done.report)
    if done.receipt:
        tell_receipt(done.regions, done.receipt)
    return 0 if done.equal else 1


@app.command()
def pause(dsn: options.Dsn = None, subscription: options.Subscription = None) -> int:
    """Stop applying; the provider keeps what comes, until resume."""
    report.show(joining.pause(options.one(dsn), subscription))
    return 0


@app.command()
def resume(dsn: options.Dsn = None, subscription: options.Subscription = None) -> int:
    """Apply again, at once, also where a failed worker waits before its next try."""
    report.show(joining.resume(options.one(dsn), subscription))
    return 0


@app.command()
def password(
    provider_dsn: Annotated[
        str,
        typer.Option(
            "--provider-dsn",
            envvar="PROVIDER_DSN",
            metavar="DSN",
            help="Your own connection to the provider, now.",
        ),
    ],
    dsn: options.Dsn = None,
    subscription: options.Subscription = None,
) -> int:
    """After the provider's password was changed: put the new one into a subscription, and have it try at once.

    Host, port and all else by which the server reaches its provider stay. The new password is the one that
    --provider-dsn connects with, or that in the variable PEER_PASSWORD.
    """
    report.show(new_password(options.one(dsn), subscription, provider_dsn))
    return 0


@app.command()
def refresh(cn: options.CnDsn = None, global_: options.GlobalDsn = None, node: options.Nodes = None) -> int:
    """Have each region offer accountdb's own tables that it does not yet, and the others follow them."""
    report.show(offer_own(options.regions(cn, global_, node)))
    return 0


app.command("slot-guard")(slot_guard)
