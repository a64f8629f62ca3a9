"""What the tests of a fix share: a structure with rows, single changes of it, and dumps to compare."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from psycopg import sql

from accountdb.drift.fix.model import Facts, Fix
from accountdb.drift.fix.running import read_queries
from accountdb.drift.read import read_structure
from accountdb.drift.structure import Structure
from accountdb.pg import dsn as dsns
from accountdb.pg.connect import Connection, connect
from accountdb.pg.dsn import with_params
from tests.conftest import run_sql
from tests.integration.conftest_drift import program

READER, ODD_ROLE = "fix_reader", 'fix "odd".角色'
ROLES = f"""
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{READER}') THEN CREATE ROLE {READER}; END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'fix "odd".角色') THEN CREATE ROLE "fix ""odd"".角色"; END IF;
END $$
"""
_HERE = Path(__file__)
BASE = _HERE.with_name("fixing_base.sql").read_text(encoding="utf-8")
_PARTS = re.split(r"(?m)^-- (.+) --$", _HERE.with_name("fixing_changes.sql").read_text(encoding="utf-8"))
CHANGES = dict(zip(_PARTS[1::2], _PARTS[2::2], strict=True))
"""Single changes of ``BASE``, by name."""


class Copies:
    """Databases that are copies of one another, on one server."""

    def __init__(self, admin_dsn: str) -> None:
        """``admin_dsn`` leads to the server as a superuser."""
        self._admin = admin_dsn
        self._made = 0

    def of(self, template: str | None = None) -> str:
        """The DSN of a new database: a copy of the one at ``template``, empty for None."""
        self._made += 1
        source = "template1" if template is None else str(dsns.parse(template)["dbname"])
        name = f"fix{os.getpid()}_{self._made}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(source))
        run_sql(self._admin, statement.as_string())
        return with_params(self._admin, dbname=name)

    def drop(self, *copies: str) -> None:
        """Drop databases: each has its files, and there are hundreds."""
        for copy in copies:
            name = sql.Identifier(str(dsns.parse(copy)["dbname"]))
            run_sql(self._admin, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name).as_string())


def make(conn: Connection, script: str) -> None:
    """Run ``script``, a statement at a time."""
    conn.execute("SET search_path = public")
    for statement in split(script):
        conn.execute(statement.encode())
    # ALTER DOMAIN ... DROP CONSTRAINT alone leaves a transaction in which newer servers refuse savepoints.
    conn.execute("CREATE TEMPORARY TABLE made (); DROP TABLE pg_temp.made")


def split(script: str) -> Iterator[str]:
    """The statements of a script; semicolons stand only between them."""
    yield from (part for part in script.split(";") if part.strip())


def structure(dsn: str) -> Structure:
    """The structure of a database."""
    with connect(dsn, autocommit=True) as conn:
        return read_structure(conn)


def facts(conn: Connection) -> Facts:
    """What a plan after this database knows of it beyond its structure."""
    return Facts(queries=read_queries(conn, read_structure(conn)))


def run(conn: Connection, fix: Fix) -> None:
    """Run a fix as its file does: what commits by itself first, then the rest in one transaction."""
    conn.execute("SET search_path = pg_catalog")
    conn.execute("SET check_function_bodies = off")
    for one in (one for one in fix.statements if one.alone):
        conn.execute(one.sql.encode())
    with conn.transaction():
        for one in (one for one in fix.statements if not one.alone):
            conn.execute(one.sql.encode())


def dump(dsn: str) -> list[str]:
    """What pg_dump writes of a structure, as a sorted list: one entry for each statement.

    Only what is no structure is evened out: the order of statements, the order of columns and
    constraints in CREATE TABLE.
    """
    words = [program("pg_dump", dsn), "--schema-only", "--no-owner", dsn]
    text = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
    text = re.sub(r"(?m)^(?:--.*|\\(?:un)?restrict .*)?\n", "", text)
    return sorted(_evened(statement) for statement in re.split(r";\n", text))


def _evened(statement: str) -> str:
    """CREATE TABLE with its lines in order of the text."""
    head, opening, rest = statement.partition(" (\n")
    if not opening or "CREATE" not in head or "TABLE" not in head:
        return statement
    body, closing, tail = rest.rpartition("\n)")
    return head + "\n".join(sorted(line.rstrip(",") for line in body.split("\n"))) + closing + tail


# What the oracle has no word for, in a database that only it is going to read.
STRIP = """
DO $$ DECLARE found record; BEGIN
    FOR found IN SELECT format('DROP RULE %I ON %I.%I', rulename, schemaname, tablename) AS it FROM pg_rules
                  WHERE schemaname = 'public' AND rulename <> '_RETURN'
        UNION ALL SELECT format('DROP STATISTICS %I.%I', 'public', stxname) FROM pg_statistic_ext
        UNION ALL SELECT 'DROP AGGREGATE ' || oid::regprocedure FROM pg_proc
                   WHERE prokind = 'a' AND pronamespace = 'public'::regnamespace
                     AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
        UNION ALL SELECT format('ALTER TABLE %s NO INHERIT %s', inhrelid::regclass, inhparent::regclass)
                    FROM pg_inherits
                    JOIN pg_class AS c ON c.oid = inhrelid WHERE c.relkind = 'r' AND NOT c.relispartition
    LOOP EXECUTE found.it; END LOOP;
END $$
"""


def oracle(reference: str, mended: str) -> str:
    """What pgmig would still do to make ``mended`` equal to ``reference``. Both are stripped and spoilt by it."""
    import pgmig

    for dsn in (reference, mended):
        run_sql(dsn, STRIP)
    return pgmig.generate(source=_url(mended), target=_url(reference), include_grants=True)


def _url(dsn: str) -> str:
    found = dsns.parse(dsn)
    return f"postgresql://{found['user']}:{found['password']}@{found['host']}:{found['port']}/{found['dbname']}"
