"""One schema is one structure: on 15 and 17, and after a dump and restore within and across them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from accountdb.drift.canonical import load_canonical
from accountdb.drift.compare import Drift, compare
from accountdb.drift.kinds import KINDS
from accountdb.drift.read import read_structure
from accountdb.drift.scope import alike
from accountdb.drift.structure import Structure, identity
from accountdb.sql import block, text
from tests.integration.conftest_drift import program

pytest_plugins = ("tests.integration.conftest_drift",)

ODD_ROLE = "we'ird \"r.%"
TORTURE = Path(__file__).with_name("test_drift_torture.sql").read_text(encoding="utf-8")


@pytest.fixture(params=["schema.sql", "torture"])
def schema(request: pytest.FixtureRequest) -> str:
    return text("schema.sql") if request.param == "schema.sql" else TORTURE


def made(dsn: str, schema: str) -> Structure:
    with psycopg.connect(dsn, autocommit=True) as conn:
        make_role(conn)
        conn.execute(schema.encode())
    return read(dsn)


def make_role(conn: psycopg.Connection) -> None:
    """The role with an odd name that the torture grants to; roles are the server's and in no dump."""
    if conn.execute("SELECT FROM pg_roles WHERE rolname = %s", (ODD_ROLE,)).fetchone() is None:
        conn.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(ODD_ROLE)))


def differences(one: Structure, other: Structure) -> list[Drift]:
    """What `migratectl check` would tell."""
    sides, _ = alike({"one": one, "other": other})
    return compare(sides["one"], sides["other"])


def read(dsn: str) -> Structure:
    with psycopg.connect(dsn) as conn:
        return read_structure(conn)


def copied(source: str, target: str) -> Structure:
    """The structure of ``target`` after ``pg_dump --schema-only | psql``."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    dump = subprocess.run(
        [program("pg_dump", source), "--schema-only", "--no-owner", "--dbname", source],
        check=True, capture_output=True, text=True, env=environment,
    ).stdout  # fmt: skip
    with psycopg.connect(target, autocommit=True) as conn:
        make_role(conn)
    # psql goes on after the settings that an older server does not know; all else must work.
    wanted = "\n".join(line for line in dump.splitlines() if not line.startswith("SET transaction_timeout"))
    subprocess.run(
        [program("psql", target), "-X", "-q", "-v", "ON_ERROR_STOP=1", "--dbname", target],
        check=True, capture_output=True, text=True, input=wanted, env=environment,
    )  # fmt: skip
    return read(target)


@pytest.mark.pglogical
def test_15_and_17_give_the_same_structure(database: str, database_15: str, schema: str) -> None:
    on_15, on_17 = made(database_15, schema), made(database, schema)
    assert differences(on_15, on_17) == []


def test_a_restored_dump_gives_the_same_structure(database: str, second_database: str, schema: str) -> None:
    assert differences(made(database, schema), copied(database, second_database)) == []


@pytest.mark.pglogical
def test_a_dump_of_15_restored_on_17_gives_the_same_structure(
    database: str,
    database_15: str,
    schema: str,
) -> None:
    assert differences(made(database_15, schema), copied(database_15, database)) == []


@pytest.mark.pglogical
def test_a_dump_of_15_restored_on_15_gives_the_same_structure(
    database: str,
    database_15: str,
) -> None:
    expected = made(database_15, TORTURE)
    copied(database_15, database)
    with psycopg.connect(database_15, autocommit=True) as conn:
        conn.execute('DROP SUBSCRIPTION "sub.1"')
        conn.execute(
            'DROP SCHEMA public CASCADE; DROP SCHEMA accountdb CASCADE; DROP PUBLICATION pub2, pub3, pub4, "pub.1"'
        )
        conn.execute("CREATE SCHEMA public AUTHORIZATION pg_database_owner; GRANT USAGE ON SCHEMA public TO PUBLIC")
        conn.execute("COMMENT ON SCHEMA public IS 'standard public schema'")
    assert differences(expected, copied(database, database_15)) == []


@pytest.mark.pglogical
@pytest.mark.parametrize("kind", ["publication", "subscription"])
def test_what_is_asked_of_servers_before_15_can_be_asked_of_15(database_15: str, kind: str) -> None:
    made(database_15, TORTURE)
    with psycopg.connect(database_15) as conn:
        conn.execute(block("drift/session.sql", "pin").encode())
        older = conn.execute(block(f"drift/{kind}.sql", "read_before_150000").encode()).fetchall()
        expected = {one: found for one, found in read_structure(conn).objects.items() if one.kind == kind}
    assert len(older) == len(expected)
    for schema, owner, name, definition, _, _ in older:
        found = expected[identity(kind, schema, owner, name)]
        # What 15 has more are a publication's columns, row filters and schemas, and newer options.
        assert {each: found[each] for each in definition if not each.startswith("table ")}.items() <= definition.items()


@pytest.mark.parametrize("version", [pytest.param(15, marks=pytest.mark.pglogical), 17])
def test_the_packaged_schema_equals_the_canonical_structure(version: int, request: pytest.FixtureRequest) -> None:
    dsn = request.getfixturevalue("database" if version == 17 else "database_15")
    assert differences(load_canonical(), made(dsn, text("schema.sql"))) == []
    # Running it again changes nothing.
    assert differences(load_canonical(), made(dsn, text("schema.sql"))) == []


def test_the_torture_covers_every_kind(database: str) -> None:
    # A replication set needs pglogical: see tests/acceptance/test_check.py.
    assert set(made(database, TORTURE).counts()) == set(KINDS) - {"replication_set"}
