"""Snapshots as a user takes them and brings them in, and databases to do it with."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from psycopg import sql

from accountdb.catalog.tables import read_tables
from accountdb.compare.content import TableContent, read_content
from accountdb.pg.connect import connect
from tests.conftest import CONTRACT, migratectl, run_sql

ACCOUNT = ("users", "identities", "sessions", "admin_settings", "subscriptions")
COUNTS = ("inserted", "updated", "unchanged", "kept", "left_out")


def export(dsn: str, output: Path | str, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """``migratectl export``, with this exit status."""
    done = migratectl("export", "--dsn", dsn, "--output", str(output), *arguments)
    assert done.returncode == status, done.stderr
    return done


def bring(dsn: str, file: Path | str, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """``migratectl import``, with this exit status. An error is one line, with at most one hint."""
    done = migratectl("import", "--dsn", dsn, "--file", str(file), *arguments)
    assert done.returncode == status, done.stderr
    if status > 1:
        lines = done.stderr.splitlines()
        assert [line.split(":")[0] for line in lines] in (["error"], ["error", "hint"]), done.stderr
    return done


def brought(dsn: str, file: Path | str, *arguments: str, status: int = 0) -> dict[str, Any]:
    """What ``import --json`` says."""
    found: dict[str, Any] = json.loads(bring(dsn, file, "--json", *arguments, status=status).stdout)
    return found


def counts(found: dict[str, Any], table: str = "users") -> tuple[int, ...]:
    """Inserted, updated, unchanged, kept, left out."""
    return tuple(found["tables"][table][name] for name in COUNTS)


def left_out(found: dict[str, Any]) -> list[tuple[str, str, str, int]]:
    """Table, reason, detail and number of what was left out."""
    return [(one["table"], one["reason"], one["detail"], one["count"]) for one in found["left_out"]]


def content(dsn: str) -> dict[str, TableContent]:
    """All tables of public, as count and hash."""
    with connect(dsn, autocommit=True) as conn:
        return read_content(conn, read_tables(conn))


def state(dsn: str) -> list[Any]:
    """The content, and where each row stands: whatever was written shows."""
    with connect(dsn, autocommit=True) as conn:
        tables = [*read_tables(conn), *read_tables(conn, "accountdb")]
        places = [
            conn.execute(
                sql.SQL("SELECT ctid::text, xmin::text FROM {} ORDER BY 1").format(table.identifier)
            ).fetchall()
            for table in tables
        ]
        return [read_content(conn, tables), places]


def make_table(dsn: str, name: str, columns: str) -> None:
    """A table of one's own under the row contract."""
    with connect(dsn) as conn:
        table = sql.Identifier("public", name)
        conn.execute(sql.SQL("CREATE TABLE {} (" + CONTRACT + ", " + columns + ")").format(table))
        for function in ("set_updated_at", "bump_version"):
            conn.execute(
                sql.SQL("CREATE TRIGGER {} BEFORE UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION {}()").format(
                    sql.Identifier(function), table, sql.Identifier("public", function)
                )
            )


def register(dsn: str, number: int, *, children: bool = True) -> str:
    """A user ``u<number>`` with an email, an identity, a session and a subscription. Returns the uuid."""
    uuid = f"00000000-0000-4000-8000-{number:012d}"
    run_sql(
        dsn,
        "INSERT INTO users (uuid, username, password, email, created_at, updated_at)"
        " VALUES (%s, %s, 'secret', %s, '2026-01-01', '2026-01-01')",
        uuid,
        f"u{number}",
        f"u{number}@x.com",
    )
    if children:
        run_sql(dsn, "INSERT INTO identities (provider, external_id, user_uuid) VALUES ('p', %s, %s)", uuid, uuid)
        run_sql(dsn, "INSERT INTO sessions (token, expires_at, user_uuid) VALUES (%s, 'infinity', %s)", uuid, uuid)
        run_sql(
            dsn,
            "INSERT INTO subscriptions (user_uuid, provider, payment_method, external_id) VALUES (%s, 'p', 'm', 'e')",
            uuid,
        )
    return uuid
