"""How a structure is read: alone or in a caller's transaction, whatever the session is set to."""

from __future__ import annotations

import threading

import psycopg
import pytest

from accountdb.drift.read import read_structure
from accountdb.drift.structure import Identity, Structure
from accountdb.drift.verify import compare_regions

pytest_plugins = ("tests.integration.conftest_drift",)

TABLE = """
CREATE SCHEMA accountdb;
CREATE TABLE accountdb.node (name text NOT NULL);
CREATE TYPE public.mood AS ENUM ('a\\b', 'é');
CREATE TABLE public."Odd.Name" ("Col.umn" mood, at timestamptz DEFAULT '2020-01-01 00:00:00+02',
    raw bytea DEFAULT '\\x00ff', half double precision DEFAULT 0.1, "order" interval DEFAULT '1 day 2 hours',
    word text DEFAULT 'back\\slash');
CREATE INDEX "Odd.Index" ON public."Odd.Name" ("Col.umn");
"""
UNUSUAL = """
SET search_path = public, accountdb; SET TimeZone = 'Asia/Shanghai'; SET DateStyle = 'German';
SET IntervalStyle = 'iso_8601'; SET bytea_output = 'escape'; SET quote_all_identifiers = on;
SET extra_float_digits = -5; SET standard_conforming_strings = off; SET client_encoding = 'LATIN1';
"""


def prepare(dsn: str) -> Structure:
    with psycopg.connect(dsn) as conn:
        conn.execute(TABLE.encode())
        conn.commit()
        return read_structure(conn)


def test_names_come_out_qualified_and_odd_names_stay_apart(database: str) -> None:
    objects = prepare(database).objects
    column = objects[Identity("column", "public", '"Odd.Name"."Col.umn"')]
    assert column == {"type": "public.mood", "not_null": False}
    index = objects[Identity("index", "public", '"Odd.Name"."Odd.Index"')]
    assert index["definition"] == 'CREATE INDEX "Odd.Index" ON public."Odd.Name" USING btree ("Col.umn")'


def test_the_settings_of_the_session_do_not_matter(database: str) -> None:
    expected = prepare(database)
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(UNUSUAL.encode())
        assert read_structure(conn) == expected


def test_the_settings_of_the_session_are_given_back(database: str) -> None:
    prepare(database)
    names = ("search_path", "TimeZone", "bytea_output", "client_encoding", "transaction_isolation")
    with psycopg.connect(database) as conn:
        conn.execute(UNUSUAL.encode())
        conn.commit()
        for _ in range(2):  # idle, then inside a transaction
            before = [conn.execute("SELECT current_setting(%s)", (name,)).fetchone() for name in names]
            read_structure(conn)
            after = [conn.execute("SELECT current_setting(%s)", (name,)).fetchone() for name in names]
            assert after == before


def test_alone_it_reads_in_one_read_only_snapshot(database: str) -> None:
    statements: list[str] = []
    with psycopg.connect(database, autocommit=True) as conn:
        execute = conn.execute

        def noted(query: bytes, *rest: object) -> object:
            result = execute(query, *rest)  # type: ignore[call-overload]
            row = execute("SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')")
            statements.append(" ".join(row.fetchone() or ()))
            return result

        conn.execute = noted  # type: ignore[method-assign, assignment]
        read_structure(conn)
        assert set(statements) == {"repeatable read on"}
        assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_inside_a_transaction_it_sees_what_is_not_committed(database: str, second_database: str) -> None:
    with psycopg.connect(database) as a, psycopg.connect(second_database) as b:
        a.execute("CREATE TABLE public.users (id integer)")
        b.execute("CREATE TABLE public.users (id bigint)")
        (drift,) = compare_regions(a, b)
        assert (drift.name, drift.differences[0].expected, drift.differences[0].found) == (
            "users.id",
            "integer",
            "bigint",
        )
        b.execute("ALTER TABLE public.users ALTER id TYPE integer")
        assert compare_regions(a, b) == []
        a.rollback()
        assert [each.change for each in compare_regions(a, b)] == ["extra"]


def test_only_the_named_schemas_are_read(database: str) -> None:
    prepare(database)
    with psycopg.connect(database) as conn:
        assert {one.schema for one in read_structure(conn, ["accountdb"]).objects} == {"accountdb", ""}
        assert set(read_structure(conn, ["nowhere"]).objects) == {Identity("extension", "", "plpgsql")}


def test_an_ordinary_role_reads_the_same(database: str) -> None:
    expected = prepare(database)
    with psycopg.connect(database) as conn:
        conn.execute("CREATE ROLE drift_reader")
        conn.execute("SET ROLE drift_reader")
        assert read_structure(conn) == expected
        conn.rollback()


def test_reading_while_objects_come_and_go(database: str) -> None:
    prepare(database)
    stop = threading.Event()
    rounds: list[int] = []

    def churn() -> None:
        with psycopg.connect(database, autocommit=True) as conn:
            while not stop.is_set():
                conn.execute("CREATE TABLE public.passing (id serial PRIMARY KEY, word text CHECK (word <> ''))")
                conn.execute("CREATE INDEX passing_word ON public.passing (lower(word))")
                conn.execute("CREATE VIEW public.seen AS SELECT id FROM public.passing")
                conn.execute("CREATE MATERIALIZED VIEW public.kept AS SELECT id FROM public.passing")
                conn.execute("CREATE STATISTICS public.spread ON (id + 1), word FROM public.passing")
                conn.execute("CREATE POLICY own ON public.passing TO account USING (id IN (SELECT 1))")
                conn.execute("CREATE RULE also AS ON DELETE TO public.passing DO ALSO SELECT 1 FROM public.passing")
                conn.execute("CREATE PUBLICATION sent FOR TABLE public.passing (id) WHERE (id > 1)")
                conn.execute("GRANT SELECT (id) ON public.passing TO account")
                conn.execute("CREATE TYPE public.pair AS (a public.passing, b public.mood)")
                conn.execute("DROP PUBLICATION sent")
                conn.execute("DROP TYPE public.pair")
                conn.execute("DROP TABLE public.passing CASCADE")
                stop.wait(0.01)
                rounds.append(1)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        with psycopg.connect(database, autocommit=True) as conn:
            for _ in range(100):
                names = {one.name for one in read_structure(conn).objects if one.kind == "table"}
                assert {"node", "Odd.Name"} <= names
    finally:
        stop.set()
        thread.join()
    assert len(rounds) > 10, "the other session has stopped"


@pytest.mark.parametrize("count", [300])
def test_a_large_structure_is_read_in_a_moment(database: str, count: int) -> None:
    import time

    with psycopg.connect(database) as conn:
        for number in range(count):
            conn.execute(
                f"CREATE TABLE public.t{number} (id integer PRIMARY KEY, a text, b text, c text CHECK (c <> ''),"
                " d timestamptz DEFAULT now(), e jsonb, f uuid)".encode()
            )
            for column in "abd":
                conn.execute(f"CREATE INDEX ON public.t{number} ({column})".encode())
        conn.commit()
        begin = time.monotonic()
        structure = read_structure(conn)
        assert structure.counts() == {
            "schema": 1,
            "extension": 1,
            "table": 300,
            "column": 2100,
            "constraint": 600,
            "index": 900,
        }
        assert time.monotonic() - begin < 3
