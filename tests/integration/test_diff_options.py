"""What diff is asked for, and what it refuses: one clear error, the right exit status, nothing written."""

from __future__ import annotations

import json
import re

import pytest
from psycopg.conninfo import conninfo_to_dict

from accountdb.lab import Lab
from accountdb.pg.connect import connect
from accountdb.pg.dsn import with_params
from tests.conftest import Databases, as_role, rows, run_sql
from tests.integration.comparing import A, B, Told, Two, assert_refused, told

TABLES = """
    CREATE TABLE one (id int PRIMARY KEY, v text, level int DEFAULT 0, n int DEFAULT 0);
    CREATE TABLE two (id int PRIMARY KEY, v text);
    CREATE SCHEMA other;
    CREATE TABLE other.one (id int PRIMARY KEY, v text);
    CREATE TABLE schema_migrations (version bigint PRIMARY KEY);
    INSERT INTO one (id, v, level) SELECT i, 'v' || i, i FROM generate_series(1, 9) AS i;
    INSERT INTO two SELECT i, 'v' || i FROM generate_series(1, 9) AS i;
    INSERT INTO other.one VALUES (1, 'x');
    CREATE SCHEMA tools;
    CREATE TABLE tools.written (id int);
    CREATE FUNCTION tools.write() RETURNS boolean LANGUAGE sql AS 'INSERT INTO tools.written VALUES (1); SELECT true';
"""


@pytest.fixture(scope="module")
def two(databases: Databases) -> Two:
    """Some tables: row 1 of each differs, and row 9 of public.one in two columns. Not to be changed."""
    made = Two(databases.empty(), databases.empty())
    made.both(TABLES)
    made.there("UPDATE one SET v = 'other' WHERE id = 1; UPDATE one SET v = 'nine', level = 99 WHERE id = 9")
    made.there("UPDATE two SET v = 'other' WHERE id = 1; UPDATE other.one SET v = 'y'")
    made.there("INSERT INTO schema_migrations VALUES (7)")
    return made


@pytest.fixture
def own(databases: Databases) -> Two:
    """Two databases that a test may fill as it likes."""
    return Two(databases.empty(), databases.empty())


def spoken(item: object) -> str:
    """Arguments as a test's name."""
    return " ".join(text for text in item if isinstance(text, str)) if isinstance(item, list) else "told"


def named(outcome: Told) -> list[tuple[str, str]]:
    """Table and key of each row in a JSON document."""
    assert outcome.status in (0, 1), outcome.err
    return [(row["table"], row["key"]["id"]) for row in json.loads(outcome.out)["rows"]]


# -- what is compared --

ONE = [("public.one", "1"), ("public.one", "9")]
TWO = [("public.two", "1")]
OTHER = [("other.one", "1")]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ONE + TWO),
        (["--table=one"], ONE),
        (["--table=public.two", "--table=other.one"], TWO + OTHER),
        (["--exclude=one"], TWO),
        (["--exclude=public.one"], TWO),
        (["--table=one", "--table=two", "--exclude=two"], ONE),
        (["--table=one", "--where=level > 5 -- of nine"], ONE[1:]),
        (["--table=one", "--where=v LIKE 'v%' AND level % 2 = 1 /* odd */"], ONE),
        (["--table=one", "--where=n = 0 AND t.id < 5"], ONE[:1]),
        (["--table=one", "--where=id IN (SELECT id FROM public.two WHERE v = 'other')"], ONE[:1]),
        (["--table=one", "--where=v = ANY ('{v1,v0}') OR v = '{nine}'"], ONE[:1]),
        (["--table=one", "--columns=level"], ONE[1:]),
        (["--table=one", "--columns= n , id"], []),
        (["--jobs=4", "--hash=sha256"], ONE + TWO),
        (["--settle=0.2"], ONE + TWO),
    ],
    ids=spoken,
)
def test_only_what_is_asked_for_is_compared(two: Two, arguments: list[str], expected: list[tuple[str, str]]) -> None:
    outcome = two.diff("--json", *arguments)
    assert named(outcome) == expected
    assert outcome.status == (1 if expected else 0)
    assert json.loads(outcome.out)["equal"] is not bool(expected)


def test_a_condition_that_one_copy_meets_brings_up_both(two: Two) -> None:
    (row,) = json.loads(two.diff("--json", "--table=one", "--where=level > 50").out)["rows"]
    assert row["regions"] == [A, B]
    assert row["values"]["level"] == {A: "9", B: "99"}


def test_the_default_settles_nothing_where_there_are_no_streams(two: Two) -> None:
    assert "once more" not in two.diff().err


# -- what is refused --


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (["--table=nowhere"], "no such table in here and there: nowhere"),
        (["--table=one", "--table=no.where"], "no such table in here and there: no.where"),
        (["--table=One"], "no such table in here and there: One"),
        (["--exclude=nowhere"], "no such table in here and there: nowhere"),
        (["--exclude=one", "--exclude=two"], "no table to compare"),
        (["--columns=level,nowhere", "--table=one"], "public.one has no column nowhere"),
        (["--columns=level"], "public.two has no column level"),
        (["--columns="], "--columns"),
        (["--columns= , "], "--columns"),
        (["--where=nowhere > 1", "--table=one"], '--where on public.one: column "nowhere" does not exist'),
        (["--where=level >", "--table=one"], "--where on public.one: syntax error"),
        (["--where=", "--table=one"], "--where on public.one: syntax error"),
        (["--where=/* level", "--table=one"], "--where on public.one: unterminated /* comment"),
        (["--where=level", "--table=one"], "must be type boolean"),
        (["--where=level > $1", "--table=one"], "--where on public.one:"),
        (["--where=true); DELETE FROM public.one; SELECT (true", "--table=one"], "multiple commands"),
        (["--settle=nan"], "--settle"),
        (["--settle=inf"], "--settle"),
        (["--settle=-1"], "--settle"),
        (["--settle=soon"], "--settle"),
        (["--jobs=0"], "--jobs"),
        (["--hash=sha"], "--hash"),
    ],
    ids=spoken,
)
def test_a_wrong_option_is_told_before_a_row_is_read(two: Two, arguments: list[str], fact: str) -> None:
    assert_refused(two.diff("--json", *arguments), 2, fact)


def test_a_condition_that_writes_writes_nothing(two: Two) -> None:
    outcome = two.diff("--table=one", "--where=tools.write()")
    assert_error(outcome, 3, "read-only transaction")
    assert [rows(dsn, "SELECT * FROM tools.written") for dsn in (two.a, two.b)] == [[], []]


def assert_error(outcome: Told, status: int, fact: str) -> None:
    """One line of error, perhaps with a hint."""
    assert (outcome.status, outcome.out) == (status, "")
    assert re.fullmatch(r"error: .*\n(hint: .*\n)?", outcome.err)
    assert fact in outcome.err


@pytest.mark.parametrize(
    ("here", "there", "status", "fact"),
    [
        ("CREATE TABLE t (id int)", "CREATE TABLE t (id int)", 2, "without a primary key rows cannot be told apart"),
        ("CREATE TABLE t (id int PRIMARY KEY)", "SELECT 1", 2, "public.t is not in there"),
        ("SELECT 1", "CREATE TABLE t (id int PRIMARY KEY)", 2, "public.t is not in here"),
        ("SELECT 1", "SELECT 1", 2, "there is no table to compare"),
        (
            "CREATE TABLE t (id int PRIMARY KEY)",
            "CREATE TABLE t (id int)",
            4,
            "public.t: the primary key is id in here, nothing in there",
        ),
        (
            "CREATE TABLE t (a int, b int, PRIMARY KEY (a, b))",
            "CREATE TABLE t (a int, b int, PRIMARY KEY (b, a))",
            4,
            "public.t: the primary key is a, b in here, b, a in there",
        ),
        (
            "CREATE TABLE t (id int PRIMARY KEY, a int)",
            "CREATE TABLE t (id int PRIMARY KEY, b int)",
            4,
            "  - public.t: column a is not in there\n  - public.t: column b is not in here\n",
        ),
        (
            "CREATE TABLE t (id int PRIMARY KEY, a int)",
            "CREATE TABLE t (id int PRIMARY KEY, a bigint)",
            4,
            "public.t: column a is integer in here, bigint in there",
        ),
        (
            "CREATE TABLE t (id int PRIMARY KEY, a text)",
            "CREATE TABLE t (id text PRIMARY KEY, a text)",
            4,
            "public.t: column id is integer in here, text in there",
        ),
    ],
)
def test_tables_that_cannot_be_compared_are_named(own: Two, here: str, there: str, status: int, fact: str) -> None:
    own.here(here)
    own.there(there)
    assert_refused(own.diff(), status, fact)


def test_a_column_that_only_one_region_has_can_be_left_out(own: Two) -> None:
    own.here("CREATE TABLE t (id int PRIMARY KEY, a int, more int); INSERT INTO t VALUES (1, 1, 1)")
    own.there("CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t VALUES (1, 2)")
    outcome = own.diff("--columns=a")
    assert (outcome.status, outcome.lines[0].split(";")[0]) == (1, "public.t id=1 differs in a (here '1' | there '2')")


def test_lengths_of_types_need_not_agree(own: Two) -> None:
    own.here("CREATE TABLE t (id varchar(5) PRIMARY KEY, a numeric(5, 2)); INSERT INTO t VALUES ('x', 1)")
    own.there("CREATE DOMAIN short AS varchar(9); CREATE TABLE t (id short PRIMARY KEY, a numeric(7, 2))")
    own.there("INSERT INTO t VALUES ('x', 1), ('y', 1)")
    assert own.diff().lines[0].startswith("public.t id=y only in there")


def test_no_timeout_of_the_server_ends_a_comparison(own: Two) -> None:
    own.both("CREATE TABLE t (id int PRIMARY KEY)")
    own.there("INSERT INTO t VALUES (1)")
    limits = ("statement_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout", "transaction_timeout")
    own.set_on_first(dict.fromkeys(limits, "100ms"))
    own.set_on_second(dict.fromkeys(limits, "100ms"))
    compared = own.compare("t", where="pg_catalog.pg_sleep(0.3) IS NOT NULL")
    assert [finding.why for finding in compared.findings] == [f"only in {B}"]


def test_text_in_another_encoding_is_not_compared(databases: Databases) -> None:
    utf8, latin1 = databases.empty(), databases.empty()
    name = conninfo_to_dict(latin1)["dbname"]
    with connect(utf8, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE {name}".encode())
        conn.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING latin1 LOCALE 'C'".encode())
    outcome = Two(utf8, latin1).diff()
    assert_refused(outcome, 4, "here stores text as UTF8, there as LATIN1")


# -- one database twice --


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_one_database_given_twice_is_refused(two: Two, host: str) -> None:
    outcome = told(f"--node=here={two.a}", f"--node=there={with_params(two.a, host=host)}")
    assert_refused(outcome, 4, "here and there are the same database")


# -- no right to read --


@pytest.fixture(scope="module")
def guarded(databases: Databases, native_lab: Lab) -> tuple[Two, Two]:
    """Two databases as their administrator, and as a role that may not read everything in the second."""
    admin = Two(databases.empty(), databases.empty())
    admin.both("""
        CREATE TABLE open (id int PRIMARY KEY, v text);
        CREATE TABLE closed (id int PRIMARY KEY, v text);
        CREATE TABLE half (id int PRIMARY KEY, v text);
        CREATE TABLE hidden (id int PRIMARY KEY, v text);
        CREATE TABLE own (id int PRIMARY KEY, v text);
        CREATE SCHEMA closed;
        CREATE TABLE closed.t (id int PRIMARY KEY);
        INSERT INTO hidden SELECT i FROM generate_series(1, 3) AS i;
        INSERT INTO own SELECT i FROM generate_series(1, 3) AS i;
        ALTER TABLE own OWNER TO account;
        GRANT SELECT ON ALL TABLES IN SCHEMA public TO account;
        GRANT USAGE ON SCHEMA closed TO account;
        GRANT SELECT ON closed.t TO account
    """)
    admin.there("REVOKE SELECT ON closed, half FROM account; GRANT SELECT (id) ON half TO account")
    admin.there("ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON hidden USING (id < 3)")
    admin.there("ALTER TABLE own ENABLE ROW LEVEL SECURITY; ALTER TABLE own FORCE ROW LEVEL SECURITY")
    admin.there("REVOKE USAGE ON SCHEMA closed FROM account")
    ordinary = native_lab.region("cn").app_dsn
    return admin, Two(as_role(admin.a, ordinary), as_role(admin.b, ordinary))


@pytest.mark.parametrize(
    ("table", "fact"),
    [
        ("closed", "not allowed to read: there: public.closed"),
        ("half", "not allowed to read: there: public.half (v)"),
        ("hidden", 'there: query would be affected by row-level security policy for table "hidden"'),
        ("own", 'there: query would be affected by row-level security policy for table "own"'),
        ("closed.t", "there: permission denied for schema closed"),
    ],
)
def test_what_may_not_be_read_is_not_called_different(guarded: tuple[Two, Two], table: str, fact: str) -> None:
    assert_refused(guarded[1].diff(f"--table={table}"), 4, fact)


def test_the_administrator_may_read_it_all(guarded: tuple[Two, Two]) -> None:
    assert guarded[0].diff().status == 0


def test_all_that_may_not_be_read_is_named_at_once(guarded: tuple[Two, Two]) -> None:
    outcome = guarded[1].diff("--table=closed", "--table=half")
    assert_refused(
        outcome, 4, "not allowed to read, 2 problems:\n  - there: public.closed\n  - there: public.half (v)\n"
    )


def test_a_region_that_does_not_answer_is_named(two: Two) -> None:
    outcome = two.diff(b="postgresql://account:QXZW-geheim@127.0.0.1:1/account")
    assert_refused(outcome, 3, "--there: cannot connect to")
    assert "QXZW" not in outcome.err


def test_a_table_is_read_while_others_write_to_it(own: Two) -> None:
    own.both("CREATE TABLE t (id int PRIMARY KEY)")
    with connect(own.a) as conn:
        conn.execute("INSERT INTO t VALUES (1)")
        assert own.diff().status == 0
    run_sql(own.b, "INSERT INTO t VALUES (1)")
    assert own.diff().status == 0
