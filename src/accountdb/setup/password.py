"""``migratectl region password``: what a subscription's connection needs after its provider's password was changed."""

from __future__ import annotations

import os

from accountdb.errors import MissingRightError, Refused, UsageError
from accountdb.pg import dsn as dsns
from accountdb.pg import session
from accountdb.pg.connect import connect
from accountdb.setup.report import Report
from accountdb.setup.subscriptions import await_stream, chosen

# The password itself, where the operator's own connection has another user's.
VARIABLE = "PEER_PASSWORD"


def new_password(dsn: str, subscription: str | None, provider_dsn: str) -> Report:
    """Put the password by which ``provider_dsn`` connects into a subscription; all else of its connection stays.

    Where PEER_PASSWORD is set, it is that. Raises UsageError where the two are of different users, MissingRightError
    where this role may not read the connection.
    """
    report = Report()
    with connect(dsn, name="--dsn", autocommit=True) as conn:
        engine, names = chosen(conn, subscription, need=True)
        if len(names) > 1:
            raise UsageError(
                f"this region has {len(names)} subscriptions", hint=f"--subscription is one of: {', '.join(names)}"
            )
        (name,) = names
        stored = engine.provider_dsn(conn, name)
        if stored is None:
            raise MissingRightError(
                f"role {conn.info.user} may not read how {name} reaches its provider",
                hint="run it as a superuser; or region join again, with the whole --provider-dsn",
            )
        with connect(provider_dsn, name="--provider-dsn", autocommit=True) as provider:
            if session.same_database(conn, provider):
                raise Refused(
                    "--dsn and --provider-dsn lead to the same database", hint="--provider-dsn names the other region"
                )
            password = os.environ.get(VARIABLE) or _password(name, stored, provider.info.user, provider.info.password)
        wanted = dsns.with_params(stored, password=password)
        if wanted == dsns.with_params(stored):
            report.unchanged("password", f"{name} has it already")
        else:
            engine.redirect(conn, name, wanted)
            report.done("password", f"{name} connects to {dsns.shown(wanted)} with the new one")
        engine.resume(conn, name)
        await_stream(conn, engine, name, report)
    return report


def _password(name: str, stored: str, user: str, password: str) -> str:
    theirs = dsns.parse(stored).get("user")
    if theirs and theirs != user:
        raise UsageError(
            f"{name} connects as {theirs}, --provider-dsn as {user}",
            hint=f"a --provider-dsn of {theirs}, or its password in the variable {VARIABLE}",
        )
    if not password:
        raise UsageError("--provider-dsn connects without a password", hint=f"the variable {VARIABLE} may have it")
    return password
