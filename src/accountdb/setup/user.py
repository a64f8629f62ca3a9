"""``migratectl create-user``: the business role, with what it needs and no more."""

from __future__ import annotations

import psycopg
from psycopg import sql

from accountdb.errors import AccountdbError, MissingRightError
from accountdb.pg.connect import connect, told
from accountdb.setup.init import check_same_database, grant, has_pglogical, prepare_pglogical
from accountdb.setup.report import Report
from accountdb.sql import block


def create_user(dsn: str, name: str, password: str, *, admin_dsn: str | None = None) -> Report:
    """Make the login role ``name``, or give it a new password, and grant it the account tables.

    The password leaves this process only as a SCRAM verifier, so no server log can hold it.
    Raises MissingRightError for a role without CREATEROLE.
    """
    report = Report()
    with connect(admin_dsn or dsn, name="--admin-dsn" if admin_dsn else "--dsn") as conn:
        if admin_dsn:
            check_same_database(conn, dsn)
        verifier = conn.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
        row = conn.execute(block("setup.sql", "role_exists"), {"role": name}).fetchone()
        verb = "ALTER" if row and row[0] else "CREATE"
        try:
            conn.execute(
                sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(
                    sql.SQL(verb), sql.Identifier(name), sql.Literal(verifier)
                )
            )
            conn.execute(
                sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                    sql.Identifier(conn.info.dbname), sql.Identifier(name)
                )
            )
        except psycopg.errors.ReservedName as error:
            raise AccountdbError(
                told(error).message, hint="another --user: names with pg_ are PostgreSQL's own"
            ) from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise MissingRightError(
                f"role {conn.info.user} may not make roles: {told(error).message}",
                hint="name an administrator: --admin-dsn, or DB_ADMIN_USER and DB_ADMIN_PASS",
            ) from error
        report.done("role", f"{name} {'changed' if verb == 'ALTER' else 'created'}")
        grant(conn, name, report)
        if has_pglogical(conn):
            prepare_pglogical(conn, name, report)
    return report
